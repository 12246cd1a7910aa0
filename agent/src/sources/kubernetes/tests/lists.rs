//! Lists and watches as they should be, and as old servers have them.

use serde_json::{Value, json};

use super::super::testing::{Client, TestServer, bookmark, event, list, list_end, pod};
use super::PODS;
use netcause_apiserver::{Answer, Step};
use netcause_core::enrich::objects::{Change, Kind};

#[tokio::test]
async fn a_streaming_list_becomes_a_watch() {
    let server = TestServer::start(|asked, _| match &*asked.path {
        PODS => Answer::events(
            &[
                event("ADDED", &pod("a", 1)),
                event("ADDED", &pod("b", 2)),
                list_end(7),
                event("MODIFIED", &pod("a", 8)),
                event("DELETED", &pod("b", 9)),
                event("NEWER", &json!({})),
                event("ADDED", &pod("c", 10)),
            ],
            Step::Hang,
        ),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(7).await, ["begin", "+a", "+b", "end", "+a", "-B", "+c"]);
    let asked = server.asked(PODS);
    let [first] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((first.get("resourceVersion"), first.get("resourceVersionMatch")), ("0", "NotOlderThan"));
    assert_eq!((first.get("sendInitialEvents"), first.get("allowWatchBookmarks")), ("true", "true"));
    let state = client.state(Kind::Pod).unwrap();
    assert!(state.is_complete && state.message.is_none() && state.failures.is_empty(), "{state:?}");
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::Node] {
        client.until(|client| client.state(kind).is_some_and(|state| state.is_complete)).await;
    }
}

fn paged(asked: &netcause_apiserver::Request, before: usize) -> Answer {
    match (asked.is_watch(), asked.get("continue")) {
        (true, _) if before > 3 => Answer::quiet(),
        (true, _) => Answer::events(&[event("ADDED", &pod("d", 8))], Step::Hang),
        (false, "") => Answer::json(&list(&[pod("a", 1), pod("b", 2)], 7, Some("x=/"))),
        (false, _) => Answer::json(&list(&[pod("c", 3)], 7, None)),
    }
}

#[tokio::test]
async fn where_there_are_no_streaming_lists_it_lists_page_by_page() {
    for refusal in [400, 422] {
        let server = TestServer::start(move |asked, before| match &*asked.path {
            PODS if asked.is_streaming() => Answer::status(refusal, "sendInitialEvents is forbidden"),
            PODS => paged(asked, before),
            _ => Answer::unscripted(),
        });
        let mut client = Client::start(server.address, |_, _| {});
        assert_eq!(client.pods(6).await, ["begin", "+a", "+b", "+c", "end", "+d"]);
        let asked = server.asked(PODS);
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert_eq!((asked[1].get("limit"), asked[1].get("resourceVersion")), ("500", "0"));
        assert_eq!((asked[2].get("continue"), asked[2].has("resourceVersion")), ("x=/", false));
        assert_eq!(asked[3].get("resourceVersion"), "7");
        assert!(client.state(Kind::Pod).unwrap().failures.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_ignores_streaming_lists_is_noticed() {
    // It tells what there is, then what happens, and a bookmark like any other.
    let server = TestServer::start(|asked, before| match &*asked.path {
        PODS if asked.is_streaming() => {
            Answer::events(&[event("ADDED", &pod("a", 1)), bookmark(5)], Step::Hang)
        }
        PODS => paged(asked, before),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    let told = client.pods(8).await;
    assert_eq!(told, ["begin", "+a", "begin", "+a", "+b", "+c", "end", "+d"]);
}

#[tokio::test]
async fn a_watch_goes_on_after_the_last_bookmark() {
    let server = TestServer::start(|asked, _| match &*asked.path {
        PODS if asked.is_streaming() => Answer::events(
            &[event("ADDED", &pod("a", 1)), list_end(7), bookmark(40)],
            Step::Text(String::new()),
        ),
        PODS if asked.get("resourceVersion") == "40" => {
            Answer::events(&[event("MODIFIED", &pod("a", 41))], Step::Hang)
        }
        PODS => Answer::status(500, "the bookmark was not used"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(4).await, ["begin", "+a", "end", "+a"]);
    assert!(client.state(Kind::Pod).unwrap().failures.is_empty());
}

#[tokio::test]
async fn an_expired_continue_token_begins_the_list_anew() {
    let server = TestServer::start(|asked, before| match &*asked.path {
        PODS if asked.is_streaming() => Answer::status(422, ""),
        PODS if asked.has("continue") && before < 3 => {
            Answer::status(410, "The provided continue parameter is too old")
        }
        PODS => paged(asked, before),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(8).await, ["begin", "+a", "+b", "begin", "+a", "+b", "+c", "end"]);
    assert_eq!(client.failures("expired"), 1);
    // The newest there is, not what the cache has.
    assert_eq!(server.asked(PODS)[3].get("resourceVersion"), "");
    assert!(server.asked(PODS)[3].has("resourceVersion"));
}

#[tokio::test]
async fn a_malformed_object_is_skipped_and_counted() {
    let bad = |name: &str, version: u64| {
        let mut bad = pod(name, version);
        bad["spec"]["hostNetwork"] = json!([1]);
        bad
    };
    let no_uid = json!({"metadata": {"name": "x", "namespace": "shop", "resourceVersion": "3"}});
    let streaming = [
        event("ADDED", &bad("x", 1)),
        event("ADDED", &no_uid),
        event("ADDED", &json!(7)),
        event("ADDED", &pod("a", 2)),
        list_end(7),
        event("MODIFIED", &bad("a", 20)),
    ];
    let server = TestServer::start(move |asked, before| match &*asked.path {
        PODS if asked.is_streaming() => {
            let mut answer = Answer::events(&streaming, Step::Text(String::new()));
            let at = answer.steps.len() - 1;
            answer.steps.insert(at, Step::Text("{\"type\":\"ADDED\",\n".to_owned()));
            answer
        }
        // After the object that could not be read: it is not told again.
        PODS if before == 1 && asked.get("resourceVersion") == "20" => Answer::status(410, "too old"),
        PODS => Answer::status(500, "the version was not used"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(5).await, ["begin", "+a", "end", "begin", "+a"]);
    assert!(client.failures("malformed") >= 5);

    let server = TestServer::start(move |asked, _| match &*asked.path {
        PODS if asked.is_streaming() => Answer::status(422, ""),
        PODS if asked.is_watch() => Answer::quiet(),
        PODS => Answer::json(&list(&[pod("a", 1), bad("x", 2), Value::from(vec![1]), pod("b", 3)], 7, None)),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(4).await, ["begin", "+a", "+b", "end"]);
    assert_eq!(client.failures("malformed"), 2);
}

#[tokio::test]
async fn a_huge_list_waits_for_who_takes_it() {
    // More than the channel holds, in one answer.
    let all: Vec<Value> = (0..5000).map(|number| pod(&format!("p{number}"), number)).collect();
    let server = TestServer::start(move |asked, _| match &*asked.path {
        PODS if asked.is_streaming() => Answer::status(422, ""),
        PODS if asked.is_watch() => Answer::quiet(),
        PODS => Answer::json(&list(&all, 7000, None)),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    let told = client.pods(5002).await;
    assert_eq!((&*told[1], &*told[5000], &*told[5001]), ("+p0", "+p4999", "end"));
}

#[tokio::test]
async fn in_the_mode_of_a_node_what_is_gone_is_told_one_by_one() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(
            &[event("ADDED", &pod("a", 1)), event("ADDED", &pod("b", 2)), list_end(7)],
            Step::Text(String::new()),
        ),
        (PODS, 1) => Answer::status(410, "too old"),
        (PODS, _) => Answer::events(
            &[event("ADDED", &pod("b", 2)), event("ADDED", &pod("c", 9)), list_end(9)],
            Step::Hang,
        ),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.scope = super::super::Scope::Node;
        options.node = Some("n1".to_owned());
    });
    assert_eq!(client.pods(5).await, ["+a", "+b", "+b", "+c", "-A"]);
    assert!(server.asked(PODS).iter().all(|asked| asked.get("fieldSelector") == "spec.nodeName=n1"));
    assert!(server.asked("/apis/discovery.k8s.io/v1/endpointslices").is_empty());
    let begins = Change::Init(Kind::Node);
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.next(Kind::Node).await, begins);
}
