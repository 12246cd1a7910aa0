//! Lists: <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks> and
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.

use serde_json::{Value, json};

use super::{
    Lab,
    client::{Client, get, get_with},
    pod,
};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[test]
fn a_list_has_its_kind_and_version_and_its_items_have_none() {
    let lab = Lab::with_pods();
    let (status, list) = get(&lab, "/api/v1/pods");
    assert_eq!((status, &list["kind"], &list["apiVersion"]), (200, &json!("PodList"), &json!("v1")));
    assert_eq!(text(&list, "/metadata/resourceVersion"), Some(&*lab.version().to_string()));
    assert!(list["metadata"].get("continue").is_none());
    assert_eq!(names(&list), ["pod-0", "pod-1", "pod-2", "pod-3", "pod-4"]);
    for item in list["items"].as_array().unwrap() {
        assert!(item.get("kind").is_none() && item.get("apiVersion").is_none());
        let version: u64 = text(item, "/metadata/resourceVersion").unwrap().parse().unwrap();
        assert!(version <= lab.version());
    }
    let (_, slices) = get(&lab, "/apis/discovery.k8s.io/v1/endpointslices");
    assert_eq!((&slices["kind"], &slices["items"]), (&json!("EndpointSliceList"), &json!([])));
    let (_, nodes) = get(&lab, "/api/v1/nodes?resourceVersion=0");
    assert_eq!((&nodes["kind"], names(&nodes)), (&json!("NodeList"), vec!["n1"]));
    let (_, one) = get(&lab, "/api/v1/namespaces/b/pods");
    assert_eq!(names(&one), ["pod-2", "pod-3", "pod-4"]);
}

#[test]
fn pages_are_of_one_moment() {
    let lab = Lab::with_pods();
    let (_, first) = get(&lab, "/api/v1/pods?limit=2");
    assert_eq!(names(&first), ["pod-0", "pod-1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    // Neither of these was there then.
    lab.put(&pod("b", 9));
    lab.delete(&pod("b", 2));
    let token = text(&first, "/metadata/continue").unwrap();
    let (_, second) = get(&lab, &format!("/api/v1/pods?limit=2&continue={token}"));
    assert_eq!(names(&second), ["pod-2", "pod-3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = text(&second, "/metadata/continue").unwrap();
    let (_, third) = get(&lab, &format!("/api/v1/pods?limit=2&continue={token}&resourceVersion=0"));
    assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["pod-4"], None));
    assert!(third["metadata"].get("remainingItemCount").is_none());
    assert_eq!(get(&lab, &format!("/api/v1/pods?continue={token}&resourceVersion=5")).0, 400);
    assert_eq!(get(&lab, "/api/v1/pods?continue=nonsense").0, 400);
}

#[test]
fn a_page_that_comes_too_late_is_410_with_a_way_on() {
    let lab = Lab::with_pods();
    let (_, first) = get(&lab, "/api/v1/pods?limit=2");
    lab.delete(&pod("b", 2));
    lab.tell("compact");
    let token = text(&first, "/metadata/continue").unwrap();
    let (status, expired) = get(&lab, &format!("/api/v1/pods?limit=2&continue={token}"));
    assert_eq!((status, &expired["reason"], &expired["code"]), (410, &json!("Expired"), &json!(410)));
    assert_eq!((&expired["kind"], &expired["status"]), (&json!("Status"), &json!("Failure")));
    let token = text(&expired, "/metadata/continue").unwrap();
    let (status, rest) = get(&lab, &format!("/api/v1/pods?continue={token}"));
    assert_eq!((status, names(&rest)), (200, vec!["pod-3", "pod-4"]));
}

#[test]
fn versions_mean_what_the_table_says() {
    let lab = Lab::with_pods();
    let then = lab.version();
    lab.put(&pod("c", 7));
    let now = lab.version();
    let count = |query: &str| {
        let (status, list) = get(&lab, &format!("/api/v1/pods?{query}"));
        (status, list["items"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(count(&format!("resourceVersion={then}&resourceVersionMatch=Exact")), (200, 5));
    assert_eq!(count(&format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan")), (200, 6));
    assert_eq!(count(&format!("resourceVersion={then}")), (200, 6));
    // "Exact" is what a limit makes of it.
    assert_eq!(count(&format!("resourceVersion={then}&limit=500")), (200, 5));
    // The cache takes no notice of a limit.
    assert_eq!(count("resourceVersion=0&limit=2"), (200, 6));
    let (status, later) = get(&lab, &format!("/api/v1/pods?resourceVersion={}", now + 50));
    assert_eq!((status, &later["reason"]), (504, &json!("Timeout")));
    assert_eq!(later["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    lab.tell("compact");
    assert_eq!(count(&format!("resourceVersion={then}&resourceVersionMatch=Exact")), (410, 0));
    assert_eq!(count(&format!("resourceVersion={then}")), (200, 6));
}

#[test]
fn selectors_narrow_lists() {
    let lab = Lab::with_pods();
    for (query, wanted) in [
        ("fieldSelector=spec.nodeName%3Dn1", vec!["pod-1", "pod-3"]),
        ("fieldSelector=status.podIP=10.1.0.4", vec!["pod-4"]),
        ("fieldSelector=metadata.name%3Dpod-2,spec.nodeName%3Dn0", vec!["pod-2"]),
    ] {
        let (_, list) = get(&lab, &format!("/api/v1/pods?{query}&limit=1"));
        assert!(list["metadata"].get("remainingItemCount").is_none(), "it is not told with a selector");
        let (_, list) = get(&lab, &format!("/api/v1/pods?{query}"));
        assert_eq!(names(&list), wanted, "{query}");
    }
    let (status, refused) = get(&lab, "/api/v1/pods?fieldSelector=spec.image%3Dx");
    assert_eq!((status, &refused["reason"]), (400, &json!("BadRequest")));
}

#[test]
fn single_objects_are_whole_or_their_metadata() {
    let lab = Lab::with_pods();
    let (status, whole) = get(&lab, "/api/v1/namespaces/a/pods/pod-0");
    assert_eq!((status, &whole["kind"], &whole["apiVersion"]), (200, &json!("Pod"), &json!("v1")));
    assert_eq!(whole["spec"]["nodeName"], "n0");
    let accept = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1\r\n";
    let (_, partial) = get_with(&lab, "/api/v1/namespaces/a/pods/pod-0", accept);
    assert_eq!(partial["kind"], "PartialObjectMetadata");
    assert_eq!(partial["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(partial["metadata"], whole["metadata"]);
    assert!(partial.get("spec").is_none());
    let (status, missing) = get(&lab, "/api/v1/namespaces/a/pods/no");
    assert_eq!((status, &missing["reason"]), (404, &json!("NotFound")));
    assert_eq!(missing["message"], "pods \"no\" not found");
    assert_eq!(missing["details"], json!({"name": "no", "kind": "pods"}));
    assert_eq!(get_with(&lab, "/api/v1/pods", "Accept: application/yaml\r\n").0, 406);
}

#[test]
fn a_huge_list_is_all_there() {
    let lab = Lab::new();
    lab.tell(json!({"generate": {"pods": 1000, "nodes": 10}}));
    let (_, list) = get(&lab, "/api/v1/pods");
    assert_eq!(list["items"].as_array().unwrap().len(), 1000);
    let (mut token, mut seen) = (String::new(), 0);
    // Over one connection, as clients do.
    let mut client = Client::of(&lab);
    loop {
        client.ask(&format!("/api/v1/pods?limit=300&continue={token}"), "");
        let head = client.head().unwrap();
        let page: Value = serde_json::from_slice(&client.body(&head).unwrap()).unwrap();
        seen += page["items"].as_array().unwrap().len();
        match text(&page, "/metadata/continue") {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, 1000);
}

#[test]
fn a_kubelet_tells_the_pods_of_its_node() {
    let lab = Lab::with_pods();
    lab.tell(json!({"tokens": ["secret"]}));
    let (status, list) = get(&lab, "/kubelet/n1/pods");
    assert_eq!((status, &list["kind"], names(&list)), (200, &json!("PodList"), vec!["pod-1", "pod-3"]));
    assert_eq!(list["metadata"], json!({}));
    lab.tell(json!({"fault": {"resource": "kubelet", "times": 1, "do": {"status": {"code": 503}}}}));
    assert_eq!(get(&lab, "/kubelet/n1/pods").0, 503);
    assert_eq!(get(&lab, "/kubelet/n2/pods").1["items"], json!([]));
}
