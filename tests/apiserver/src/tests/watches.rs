//! Watches: <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>, bookmarks and
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>.

use serde_json::json;

use super::{
    Lab,
    client::{get, watch},
    pod,
};

#[test]
fn what_changes_is_told_once_and_in_order() {
    let lab = Lab::with_pods();
    let from = lab.version();
    let seventh = lab.put(&pod("c", 7));
    let mut client = watch(&lab, &format!("/api/v1/pods?watch=true&resourceVersion={from}"));
    let again = lab.put(&pod("c", 7).labelled("x", "y"));
    lab.tell(json!({"put": super::node("n2", [10, 0, 0, 2].into(), "z")}));
    let gone = lab.delete(&pod("a", 0));
    for (what, name, version) in
        [("ADDED", "pod-7", seventh), ("MODIFIED", "pod-7", again), ("DELETED", "pod-0", gone)]
    {
        let event = client.event().unwrap().unwrap();
        let object = &event["object"];
        assert_eq!((&event["type"], &object["metadata"]["name"]), (&json!(what), &json!(name)));
        assert_eq!(object["metadata"]["resourceVersion"], version.to_string());
        assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("Pod"), &json!("v1")));
    }
}

#[test]
fn without_a_version_a_watch_begins_with_all() {
    let lab = Lab::with_pods();
    for query in ["", "&resourceVersion=0"] {
        let mut client = watch(&lab, &format!("/api/v1/namespaces/a/pods?watch=1{query}&timeoutSeconds=1"));
        assert_eq!([client.told(), client.told()], ["ADDED pod-0", "ADDED pod-1"]);
        // The end of the time is the end of the answer, and no more.
        assert_eq!(client.event(), Ok(None));
    }
}

#[test]
fn a_streaming_list_ends_with_its_bookmark() {
    let lab = Lab::with_pods();
    let target = "/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=spec.nodeName%3Dn0";
    let mut client = watch(&lab, target);
    assert_eq!([client.told(), client.told(), client.told()], ["ADDED pod-0", "ADDED pod-2", "ADDED pod-4"]);
    let event = client.event().unwrap().unwrap();
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("BOOKMARK"), &json!("Pod")));
    let metadata = &event["object"]["metadata"];
    assert_eq!(metadata["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(metadata["resourceVersion"], lab.version().to_string());
    lab.put(&pod("c", 8));
    assert_eq!(client.told(), "ADDED pod-8");
    lab.tell(json!({"set": {"watch_list": false}}));
    let (status, refused) = get(&lab, target);
    assert_eq!((status, &refused["reason"]), (422, &json!("Invalid")));
}

#[test]
fn an_object_that_is_no_longer_selected_is_gone() {
    let lab = Lab::with_pods();
    let target =
        format!("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1&resourceVersion={}", lab.version());
    let mut client = watch(&lab, &target);
    lab.put(&pod("a", 6).pending());
    lab.put(&pod("a", 6).on_node("n1"));
    lab.put(&pod("a", 1).labelled("x", "y"));
    lab.put(&pod("b", 3).on_node("n0"));
    assert_eq!(
        [client.told(), client.told(), client.told()],
        ["ADDED pod-6", "MODIFIED pod-1", "DELETED pod-3"]
    );
}

#[test]
fn bookmarks_come_to_those_who_take_them() {
    let lab = Lab::with_pods();
    let from = lab.version();
    lab.tell(json!({"set": {"bookmark_milliseconds": 30}}));
    let target = format!("/api/v1/pods?watch=true&resourceVersion={from}&timeoutSeconds=1");
    let mut without = watch(&lab, &target);
    let mut with = watch(&lab, &format!("{target}&allowWatchBookmarks=true"));
    // Versions go on without pods, and bookmarks tell.
    lab.tell(json!({"put": super::node("n3", [10, 0, 0, 3].into(), "z")}));
    let event = loop {
        let event = with.event().unwrap().unwrap();
        assert_eq!(event["type"], "BOOKMARK");
        if event["object"]["metadata"]["resourceVersion"] == json!((from + 1).to_string()) {
            break event;
        }
    };
    assert!(event["object"]["metadata"].get("annotations").is_none());
    assert_eq!(without.event(), Ok(None));
}

#[test]
fn too_old_a_version_is_410_in_either_form() {
    let lab = Lab::with_pods();
    let target = format!("/api/v1/pods?watch=true&resourceVersion={}", lab.version() - 1);
    lab.tell("compact");
    let mut client = watch(&lab, &target);
    let event = client.event().unwrap().unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!((&event["object"]["kind"], &event["object"]["reason"]), (&json!("Status"), &json!("Expired")));
    assert_eq!(client.event(), Ok(None));
    lab.tell(json!({"set": {"expired_as_event": false}}));
    let (status, body) = get(&lab, &target);
    assert_eq!((status, &body["reason"]), (410, &json!("Expired")));
}

#[test]
fn a_running_watch_outlives_compaction() {
    let lab = Lab::with_pods();
    let mut client = watch(&lab, "/api/v1/pods?watch=true");
    for _ in 0..5 {
        client.told();
    }
    lab.put(&pod("c", 7));
    assert_eq!(client.told(), "ADDED pod-7");
    lab.tell("compact");
    lab.put(&pod("c", 8));
    assert_eq!(client.told(), "ADDED pod-8");
}

#[test]
fn running_watches_obey_orders() {
    let lab = Lab::with_pods();
    let target =
        format!("/api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion={}", lab.version());
    let order = |what: &str| {
        let mut client = watch(&lab, &target);
        // It must be running to obey.
        while lab.tell("account")["watches"] != json!(["pods"]) {
            std::thread::yield_now();
        }
        lab.tell(json!({"watches": {"resource": "nodes", "do": "cut"}}));
        lab.tell(json!({"watches": {"resource": "pods", "do": what}}));
        let first = client.event();
        // Nothing comes after an end.
        let ended = if matches!(&first, Ok(Some(event)) if event["type"] == "ERROR") {
            client.event()
        } else {
            Ok(None)
        };
        drop(client);
        while lab.tell("account")["watches"] != json!([]) {
            std::thread::yield_now();
        }
        (
            first.map(|event| event.map(|event| (event["type"].clone(), event["object"]["code"].clone()))),
            ended,
        )
    };
    assert_eq!(order("bookmark").0, Ok(Some((json!("BOOKMARK"), json!(null)))));
    assert_eq!(order("expire"), (Ok(Some((json!("ERROR"), json!(410)))), Ok(None)));
    assert_eq!(order("fail"), (Ok(Some((json!("ERROR"), json!(500)))), Ok(None)));
    assert_eq!(order("end").0, Ok(None));
}
