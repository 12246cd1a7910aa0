//! Tokens, rights, discovery, and the account of what was asked.

use serde_json::{Value, json};

use super::{
    Lab,
    client::{get, get_with},
};
use crate::objects::owner;

#[test]
fn a_token_is_wanted_and_rotates() {
    let lab = Lab::with_pods();
    lab.tell(json!({"tokens": ["token-1"]}));
    let with =
        |token: &str| get_with(&lab, "/api/v1/pods?limit=1", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(with("token-1").0, 200);
    let (status, body) = get(&lab, "/api/v1/pods");
    assert_eq!(status, 401);
    assert_eq!(
        body,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
        })
    );
    lab.tell(json!({"tokens": ["token-2"]}));
    assert_eq!((with("token-1").0, with("token-2").0), (401, 200));
    assert_eq!(get(&lab, "/apis").0, 401);
    let told = lab.tell("account").to_string();
    assert!(!told.contains("token-1") && !told.contains("token-2"), "tokens are not for the account");
}

#[test]
fn the_role_is_the_least_that_is_needed() {
    let lab = Lab::with_pods();
    lab.tell(
        json!({"put": owner("apps/v1", "ReplicaSet", "a", "web-5d", Some(("apps/v1", "Deployment", "web")))}),
    );
    let (status, set) = get(&lab, "/apis/apps/v1/namespaces/a/replicasets/web-5d");
    assert_eq!((status, &set["metadata"]["ownerReferences"][0]["name"]), (200, &json!("web")));
    let (status, refused) = get(&lab, "/apis/apps/v1/replicasets");
    assert_eq!((status, &refused["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        refused["message"],
        "replicasets.apps is forbidden: User \"system:serviceaccount:netcause:netcause\" cannot list resource \
         \"replicasets\" in API group \"apps\" at the cluster scope"
    );
    assert_eq!(refused["details"], json!({"group": "apps", "kind": "replicasets"}));
    // A kind that the role does not have may be asked for, in vain.
    assert_eq!(get(&lab, "/apis/example.com/v1/namespaces/a/databases/main").0, 403);
    assert_eq!(lab.tell("account")["violations"], json!(["list replicasets.apps"]));
    assert_eq!(get(&lab, "/api/v1/secrets").0, 403);
    assert_eq!(get(&lab, "/api/v1/namespaces/a/secrets/db").0, 403);
    assert_eq!(get(&lab, "/apis/apps/v1/namespaces/a/gadgets/x").0, 404);
    let violations = lab.tell("account")["violations"].as_array().unwrap().len();
    assert_eq!(violations, 4);
}

#[test]
fn rights_change() {
    let lab = Lab::with_pods();
    lab.tell(json!({"forbid": {"resource": "services", "verbs": ["list", "watch"]}}));
    assert_eq!(get(&lab, "/api/v1/services").0, 403);
    assert_eq!(lab.tell("account")["violations"], json!([]), "what the role grants may be asked for");
    lab.tell(json!({"allow": {"resource": "services", "verbs": ["list", "watch"]}}));
    assert_eq!(get(&lab, "/api/v1/services").0, 200);
}

#[test]
fn what_was_asked_is_told() {
    let lab = Lab::with_pods();
    get(&lab, "/api/v1/pods?limit=2&fieldSelector=spec.nodeName%3Dn1");
    get(&lab, "/api/v1/namespaces/a/pods/none");
    let accept = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json\r\n";
    get_with(&lab, "/apis/batch/v1/namespaces/a/jobs/none", accept);
    let asked: Vec<(Value, Value, Value, Value)> = lab.tell("account")["asked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["verb"].clone(), one["resource"].clone(), one["code"].clone(), one["partial"].clone())
        })
        .collect();
    let expected = [("list", "pods", 200, false), ("get", "pods", 404, false), ("get", "jobs", 404, true)];
    assert_eq!(asked, expected.map(|(a, b, c, d)| (json!(a), json!(b), json!(c), json!(d))));
    assert_eq!(lab.tell("account")["asked"][0]["parameters"]["fieldSelector"], "spec.nodeName=n1");
    lab.tell("forget");
    assert_eq!(lab.tell("account")["asked"], json!([]));
}
