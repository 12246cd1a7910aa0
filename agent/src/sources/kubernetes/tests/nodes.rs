//! Nodes that are looked up, and what that saves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::testing::{Client, TestServer, list, list_end, pod};
use super::super::{Scope, testing};
use super::PODS;
use netcause_apiserver::objects::node;
use netcause_apiserver::{Answer, Server, Settings, Step};
use netcause_core::enrich::objects::{Change, Kind};

const NODES: &str = "/api/v1/nodes";

#[tokio::test]
async fn the_node_at_an_address_is_the_one_that_its_pods_name() {
    let mut shared = pod("proxy", 4);
    shared["spec"] = json!({"nodeName": "n7", "hostNetwork": true});
    let looked = AtomicU32::new(0);
    let server = TestServer::start(move |asked, _| match (&*asked.path, asked.get("fieldSelector")) {
        (PODS, "status.podIP=192.0.2.7") => Answer::json(&list(std::slice::from_ref(&shared), 9, None)),
        (PODS, _) => Answer::events(&[list_end(7)], Step::Hang),
        (NODES, "metadata.name=n7") if looked.fetch_add(1, Ordering::Relaxed) < 2 => {
            Answer::json(&list(&[node("n7", [192, 0, 2, 7].into(), "eu-1a")], 9, None))
        }
        (NODES, "metadata.name=n7" | "metadata.name=n1") => Answer::json(&list(&[], 9, None)),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.scope = Scope::Node;
        options.nodes = Some(Scope::Node);
        options.node = Some("n1".to_owned());
    });
    // This node is looked up before anything else, and is not there.
    assert_eq!(client.next(Kind::Node).await, Change::Delete(Kind::Node, "n1".into()));
    let mut next = async || {
        loop {
            client.wanted.send("192.0.2.7".parse().unwrap()).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(20), client.next(Kind::Node)).await;
            match next {
                Ok(Change::Delete(_, name)) if &*name == "n1" => {}
                Ok(change) => break change,
                Err(_) => {}
            }
        }
    };
    for _ in 0..2 {
        let Change::ApplyNode(found) = next().await else { panic!("no node") };
        assert_eq!((&*found.name, found.zone.as_deref()), ("n7", Some("eu-1a")));
    }
    // The address is the node's by now: no pod was asked for again.
    let by_address = |server: &TestServer| {
        server.asked(PODS).iter().filter(|asked| asked.get("fieldSelector").starts_with("status.")).count()
    };
    assert_eq!(by_address(&server), 1);
    assert_eq!(next().await, Change::Delete(Kind::Node, "n7".into()));
    assert!(server.asked(NODES).iter().all(|asked| asked.get("resourceVersion") == "0" && !asked.is_watch()));
    assert!(client.state(Kind::Node).unwrap().is_complete);
}

#[tokio::test]
async fn a_role_without_nodes_leaves_pods_as_they_are() {
    let server = TestServer::start(move |asked, _| match (&*asked.path, asked.get("fieldSelector")) {
        (PODS, "status.podIP=10.0.0.1") => {
            let mut far = pod("far", 5);
            far["spec"]["nodeName"] = json!("n2");
            Answer::json(&list(&[far], 9, None))
        }
        (PODS, _) => Answer::events(&[list_end(7)], Step::Hang),
        (NODES, _) => Answer::status(403, "nodes is forbidden"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.scope = Scope::Node;
        options.nodes = Some(Scope::Node);
        options.node = Some("n1".to_owned());
        options.timing.refused = testing::TIMEOUT;
    });
    client.until(|client| client.state(Kind::Node).is_some_and(|state| state.code.is_some())).await;
    client.wanted.send("10.0.0.1".parse().unwrap()).await.unwrap();
    assert_eq!(client.pods(1).await, ["+far"]);
    assert_eq!(client.state(Kind::Node).unwrap().code.map(|code| code.label()), Some("forbidden"));
}

/// Bytes of nodes, and requests for them, that an agent of a cluster of 100 nodes costs the server which has connections with
/// pods of four others, while each kubelet reports its status once.
async fn cost(nodes: Option<Scope>) -> (u64, usize) {
    let server = Server::start(([127, 0, 0, 1], 0).into(), Settings::default()).unwrap();
    let tell = |command: Value| {
        let said = server.command(&command.to_string());
        assert!(said.get("error").is_none(), "{said}");
        said
    };
    tell(json!({"generate": {"pods": 400, "nodes": 100}}));
    let mut client = Client::start(server.address, |options, _| {
        options.scope = Scope::Node;
        options.nodes = nodes;
        options.node = Some("node-0".to_owned());
        options.timing.recheck_node = testing::TIMEOUT;
    });
    for number in 1..=4 {
        client.wanted.send([10, 128, 0, number].into()).await.unwrap();
    }
    let names = async |client: &mut Client, count: usize| {
        let mut names = Vec::new();
        while names.len() < count {
            if let Change::ApplyNode(node) = client.next(Kind::Node).await {
                names.push(node.name.into_string());
            }
        }
        names.sort();
        names
    };
    match nodes {
        Some(Scope::All) => drop(names(&mut client, 100).await),
        Some(Scope::Node) => {
            let expected = ["node-0", "node-1", "node-2", "node-3", "node-4"];
            assert_eq!(names(&mut client, 5).await, expected);
        }
        None => client.until(|_| server.command("\"account\"")["asked"].as_array().unwrap().len() > 4).await,
    }
    for number in 0..100_u8 {
        tell(json!({"put": node(&format!("node-{number}"), [172, 16, 0, number].into(), "zone-9")}));
    }
    if nodes == Some(Scope::All) {
        names(&mut client, 100).await;
    } else {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let account = tell(json!("account"));
    let asked: Vec<&Value> =
        account["asked"].as_array().unwrap().iter().filter(|asked| asked["resource"] == "nodes").collect();
    (asked.iter().map(|asked| asked["bytes"].as_u64().unwrap()).sum(), asked.len())
}

#[tokio::test]
async fn nodes_cost_what_is_used_of_them() {
    let (watched, of_watch) = cost(Some(Scope::All)).await;
    let (looked_up, lookups) = cost(Some(Scope::Node)).await;
    println!(
        "all watched: {watched} bytes, {of_watch} requests; looked up: {looked_up} bytes, {lookups} requests"
    );
    assert_eq!((of_watch, lookups), (1, 5));
    // Once at the start, and once a status, of 100; once of 5.
    assert!(looked_up * 39 < watched && watched < looked_up * 41, "{looked_up} against {watched}");
    assert_eq!(cost(None).await, (0, 0));
}
