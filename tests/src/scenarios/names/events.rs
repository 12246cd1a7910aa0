//! Findings as Kubernetes Events on the pods that they hurt.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Cluster, Member, PORT, wait_known};
use crate::apiserver::objects;
use crate::lab::{metrics::Metrics, scaled, topology::Client};

/// Events by outcome.
const EVENTS: &str = "netcause_kubernetes_events_total";

/// A finding becomes an Event on the pod that it hurts. Without permission the log says which manifest grants it, and what is found
/// after that is written.
pub(in crate::scenarios) fn on_pods(name: &str) -> Result<()> {
    let within = Duration::from_secs(scaled(60, 120));
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let node = "node-of-events";
    let of_node = objects::Pod::of_deployment(&cluster.namespace, "web", 0).on_node(node);
    let web = cluster.run(of_node, "web")?;
    let agent = cluster.agent(name, &format!("kubernetes_events: true\nnode_name: {node}\n"))?;
    wait_known(&agent, 2)?;
    let first = refused(&web, &server, PORT)?;
    agent.until_within(within, "an Event is refused", |metrics| expect_any(metrics, "failed"))?;
    ensure!(agent.log().contains("deploy/overlays/events"), "no word of the missing right:\n{}", agent.log());
    drop(first);
    cluster.api.allow("events", &["create"])?;
    // It was right to ask, since it was told to.
    cluster.api.forget()?;
    let _second = refused(&web, &server, PORT + 1)?;
    agent.until_within(within, "an Event is written", |metrics| expect_any(metrics, "written"))?;
    let events = cluster.api.account()?.events;
    let event = events.first().context("the server has no Event")?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ensure!(
        text("/reason") == "ConnectionRefused"
            && text("/regarding/name") == &*web.object.name
            && text("/regarding/uid") == &*web.object.uid
            && text("/reportingInstance") == node
            && text("/note").contains("nobody listens"),
        "{event:#}"
    );
    cluster.end(&agent)
}

/// Connects that nobody listens for, until dropped.
fn refused(web: &Member, server: &Member, port: u16) -> Result<Client> {
    let args = ["--count", "100000", "--send", "10", "--interval-ms", "100"];
    web.pod.start_client(server.pod.at(port), &args)
}

fn expect_any(metrics: &Metrics, outcome: &str) -> Result<()> {
    let labels = [("outcome", outcome)];
    ensure!(metrics.sum(EVENTS, &labels) >= 1.0, "none {outcome}");
    Ok(())
}
