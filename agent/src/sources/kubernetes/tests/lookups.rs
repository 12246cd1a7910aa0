//! Owners, and addresses that are wanted.

use std::sync::atomic::{AtomicU32, Ordering};

use hyper::header::ACCEPT;
use serde_json::{Value, json};

use super::super::Scope;
use super::super::testing::{Client, TestServer, event, list, list_end, pod};
use super::PODS;
use netcause_apiserver::{Answer, Step};
use netcause_core::enrich::objects::Kind;

const JOB: &str = "/apis/batch/v1/namespaces/shop/jobs/nightly-28";

fn owned(name: &str, version: &str, kind: &str, owner: &str) -> Value {
    let mut pod = pod(name, 1);
    pod["metadata"]["ownerReferences"] = owners(version, kind, owner);
    pod
}

fn owners(version: &str, kind: &str, name: &str) -> Value {
    json!([
        {"apiVersion": "x/v1", "kind": "Other", "name": "no", "uid": "1"},
        {"apiVersion": version, "kind": kind, "name": name, "uid": "2", "controller": true},
    ])
}

fn of(version: &str, kind: &str, name: &str) -> Answer {
    Answer::json(&json!({"kind": "PartialObjectMetadata", "metadata": {
        "name": "x", "namespace": "shop", "ownerReferences": owners(version, kind, name)}}))
}

#[tokio::test]
async fn an_owner_is_asked_for_once() {
    let pods = [
        owned("a", "batch/v1", "Job", "nightly-28"),
        owned("b", "batch/v1", "Job", "nightly-28"),
        owned("c", "apps/v1", "StatefulSet", "db"),
    ];
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => {
            let events: Vec<_> = pods.iter().map(|pod| event("ADDED", pod)).chain([list_end(7)]).collect();
            Answer::events(&events, Step::Hang)
        }
        (JOB, _) => of("batch/v1", "CronJob", "nightly"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    let mut told = client.pods(6).await;
    // A pod that comes when the answer is there brings it along.
    while !told.iter().any(|one| one == "end") {
        told.extend(client.pods(1).await);
    }
    told.sort();
    told.dedup();
    assert_eq!(told, ["+a", "+b", "+c", "begin", "end", "nightly-28>CronJob/nightly"]);
    let asked = server.asked(JOB);
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].header(&ACCEPT).unwrap(),
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    );
}

#[tokio::test]
async fn the_top_is_what_counts_and_failures_are_overcome() {
    const SET: &str = "/apis/apps/v1/namespaces/shop/replicasets/odd";
    const MIDDLE: &str = "/apis/x.io/v1/namespaces/shop/middles/m";
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(
            &[event("ADDED", &owned("a", "apps/v1", "ReplicaSet", "odd")), list_end(7)],
            Step::Hang,
        ),
        (SET, 0) => Answer::status(500, "later"),
        (SET, _) => of("x.io/v1", "Middle", "m"),
        (MIDDLE, 0) => Answer { retry_after: Some(0), ..Answer::status(429, "later") },
        (MIDDLE, _) => of("argoproj.io/v1alpha1", "Rollout", "web"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    let told = client.pods(4).await;
    assert!(told.contains(&"odd>Rollout/web".to_owned()), "{told:?}");
    assert_eq!((client.failures("server_error"), client.failures("throttled")), (1, 1));
}

#[tokio::test]
async fn a_kind_that_is_refused_is_asked_for_until_it_is_granted() {
    let things = "/apis/x.io/v1/namespaces/shop/things/";
    let refusals = AtomicU32::new(0);
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(
            &[
                event("ADDED", &owned("a", "x.io/v1", "Thing", "one")),
                event("ADDED", &owned("b", "x.io/v1", "Thing", "two")),
                event("ADDED", &owned("c", "batch/v1", "Job", "nightly-28")),
                list_end(7),
            ],
            Step::Hang,
        ),
        (JOB, _) => of("batch/v1", "CronJob", "nightly"),
        (path, _) if path.starts_with(things) => match refusals.fetch_add(1, Ordering::Relaxed) {
            0..3 => Answer::status(403, "things is forbidden"),
            _ => of("x.io/v1", "Set", "all"),
        },
        (path, _) if path.contains("/sets/") => Answer::status(404, "gone"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    let told = client.pods(8).await;
    for known in ["nightly-28>CronJob/nightly", "one>Set/all", "two>Set/all"] {
        assert!(told.contains(&known.to_owned()), "{told:?}");
    }
    assert_eq!(client.failures("forbidden"), 3);
    assert!(client.state(Kind::Pod).unwrap().message.is_none());
}

#[tokio::test]
async fn wanted_addresses_are_looked_up_until_nobody_wants_them() {
    const AGAIN: &str = "/api/v1/namespaces/shop/pods/far";
    let mut shared = pod("host", 4);
    shared["spec"] = json!({"nodeName": "n2", "hostNetwork": true});
    let mut far = pod("far", 5);
    far["spec"]["nodeName"] = json!("n2");
    let server = TestServer::start(move |asked, before| match (&*asked.path, asked.get("fieldSelector")) {
        (PODS, "status.podIP=10.0.0.1") => {
            Answer::json(&list(&[shared.clone(), pod("mine", 3), far.clone()], 9, None))
        }
        (PODS, "status.podIP=2001:db8::1") => Answer::json(&list(&[], 9, None)),
        (PODS, "spec.nodeName=n1") => Answer::events(&[list_end(7)], Step::Hang),
        (AGAIN, _) if before < 2 => Answer::json(&far),
        (AGAIN, _) => Answer::status(404, "gone"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.scope = Scope::Node;
        options.node = Some("n1".to_owned());
        options.timing.burst = 1;
        options.timing.recheck = std::time::Duration::from_millis(200);
    });
    let address = "10.0.0.1".parse().unwrap();
    client.wanted.send("2001:db8::1".parse().unwrap()).await.unwrap();
    client.wanted.send("127.0.0.1".parse().unwrap()).await.unwrap();
    client.wanted.send(address).await.unwrap();
    assert_eq!(client.pods(1).await, ["+far"]);
    // Looked at again by name, then, as it is not there, by address.
    for _ in 0..3 {
        let before = server.asked(AGAIN).len();
        while server.asked(AGAIN).len() == before {
            client.wanted.send(address).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(client.pods(1).await, ["+far"]);
    }
    let by_address = server.asked(PODS);
    let by_address = by_address.iter().filter(|asked| asked.get("fieldSelector") == "status.podIP=10.0.0.1");
    assert!(by_address.clone().all(|asked| asked.get("resourceVersion") == "0"));
    assert!(by_address.count() >= 2);
    // Nobody wants it: it is forgotten.
    while client.pods(1).await != ["-FAR"] {}
}
