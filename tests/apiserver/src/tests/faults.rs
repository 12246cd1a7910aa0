//! Faults are what they say, and go away again.

use std::{net::TcpStream, time::Instant};

use serde_json::{Value, json};

use super::{
    Lab,
    client::{Client, get, watch},
    pod,
};

#[test]
fn throttling_says_when_to_come_again() {
    let lab = Lab::with_pods();
    for plain in [false, true] {
        lab.tell(json!({"fault": {"resource": "pods", "verb": "list", "times": 1,
            "do": {"throttle": {"retry_after": 3, "plain": plain}}}}));
        let mut client = Client::of(&lab);
        client.ask("/api/v1/pods", "");
        let head = client.head().unwrap();
        assert_eq!((head.status, head.header("retry-after")), (429, Some("3")));
        let body = client.body(&head).unwrap();
        let status = serde_json::from_slice::<Value>(&body);
        assert_eq!(status.is_err(), plain);
        if let Ok(status) = status {
            assert_eq!(
                (&status["reason"], &status["details"]["retryAfterSeconds"]),
                (&json!("TooManyRequests"), &json!(3))
            );
        }
        assert_eq!(get(&lab, "/api/v1/pods").0, 200, "once");
    }
}

#[test]
fn failures_are_of_one_resource_until_taken_back() {
    let lab = Lab::with_pods();
    lab.tell(json!({"fault": {"resource": "pods", "do": {"status": {"code": 503}}}}));
    for _ in 0..3 {
        let (status, body) = get(&lab, "/api/v1/pods");
        assert_eq!((status, &body["kind"], &body["code"]), (503, &json!("Status"), &json!(503)));
    }
    assert_eq!(get(&lab, "/api/v1/nodes").0, 200);
    lab.tell(json!({"clear": "pods"}));
    assert_eq!(get(&lab, "/api/v1/pods").0, 200);
}

#[test]
fn connections_end_in_the_middle() {
    let lab = Lab::with_pods();
    lab.tell(json!({"fault": {"verb": "list", "times": 1, "do": {"cut": {"after": 5000}}}}));
    let mut client = Client::of(&lab);
    client.ask("/api/v1/pods", "");
    let head = client.head().unwrap();
    assert_eq!((head.status, client.body(&head)), (200, None));
    lab.tell(json!({"fault": {"verb": "list", "times": 1, "do": "close"}}));
    let mut client = Client::of(&lab);
    client.ask("/api/v1/pods", "");
    assert!(client.head().is_none());
    let mut client = watch(&lab, &format!("/api/v1/pods?watch=true&resourceVersion={}", lab.version()));
    while lab.tell("account")["watches"] != json!(["pods"]) {
        std::thread::yield_now();
    }
    lab.tell(json!({"watches": {"do": "cut"}}));
    let half = client.chunk().unwrap();
    assert!(half.starts_with(b"{\"type\":\"MODIFIED\"") && !half.ends_with(b"\n"));
    assert_eq!(client.event(), Err(()));
}

#[test]
fn a_slow_body_is_slow_and_whole() {
    let lab = Lab::with_pods();
    lab.tell(json!({"fault": {"verb": "list", "times": 1, "do": {"slow": {"bytes_per_second": 60_000}}}}));
    let start = Instant::now();
    let (_, list) = get(&lab, "/api/v1/pods");
    assert_eq!(list["items"].as_array().unwrap().len(), 5);
    let bytes = list.to_string().len();
    assert!(bytes > 18_000 && start.elapsed().as_millis() >= 300, "{bytes} bytes in {:?}", start.elapsed());
}

#[test]
fn a_server_that_hangs_answers_nothing_until_it_lets_go() {
    let lab = Lab::with_pods();
    lab.tell(json!({"fault": {"resource": "pods", "times": 1, "do": "hang"}}));
    let mut client = Client::of(&lab);
    client.ask("/api/v1/pods", "");
    while lab.tell("account")["asked"] == json!([]) {
        std::thread::yield_now();
    }
    assert_eq!(get(&lab, "/api/v1/nodes").0, 200);
    lab.tell(json!({ "clear": Value::Null }));
    assert!(client.head().is_none());
    assert_eq!(get(&lab, "/api/v1/pods").0, 200);
}

#[test]
fn a_server_that_is_away_comes_back_on_its_port() {
    let lab = Lab::with_pods();
    let mut client = watch(&lab, &format!("/api/v1/pods?watch=true&resourceVersion={}", lab.version()));
    lab.tell(json!({"listen": false}));
    assert_eq!(client.event(), Err(()));
    assert!(TcpStream::connect(lab.0.address).is_err());
    lab.put(&pod("c", 7));
    lab.tell(json!({"listen": true}));
    assert_eq!(get(&lab, "/api/v1/pods").1["items"].as_array().unwrap().len(), 6);
}

#[test]
fn objects_are_malformed_where_wanted() {
    let lab = Lab::with_pods();
    let malform = |verb: &str, how: &str| {
        lab.tell(json!({"fault": {"resource": "pods", "verb": verb, "times": 1,
            "do": {"malformed": {"how": how, "name": "pod-1"}}}}));
    };
    malform("list", "status");
    let (_, list) = get(&lab, "/api/v1/pods");
    assert_eq!(
        (list["items"][1]["status"].clone(), list["items"][0]["status"].is_object()),
        (json!("fine"), true)
    );
    for how in ["truncated", "not_utf8"] {
        malform("list", how);
        let mut client = Client::of(&lab);
        client.ask("/api/v1/pods", "");
        let head = client.head().unwrap();
        let body = client.body(&head).unwrap();
        assert!(serde_json::from_slice::<Value>(&body).is_err());
        assert_eq!(get(&lab, "/api/v1/pods").1["items"].as_array().unwrap().len(), 5);
    }
    malform("watch", "name");
    malform("watch", "truncated");
    let mut client = watch(&lab, &format!("/api/v1/pods?watch=true&resourceVersion={}", lab.version()));
    lab.put(&pod("a", 0).labelled("x", "y"));
    lab.put(&pod("a", 1).labelled("x", "y"));
    lab.put(&pod("a", 1));
    lab.put(&pod("a", 1).labelled("x", "z"));
    assert_eq!(client.told(), "MODIFIED pod-0");
    assert_eq!(client.event().unwrap().unwrap()["object"]["metadata"]["name"], 7);
    assert_eq!(client.event(), Err(()), "not JSON");
    assert_eq!(client.told(), "MODIFIED pod-1");
}
