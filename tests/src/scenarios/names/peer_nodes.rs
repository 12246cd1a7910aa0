//! TCP by the node at the other end.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use super::{Cluster, PORT};
use crate::{
    apiserver::objects::{Pod, node},
    lab::{
        eventually,
        faults::Fault,
        metrics::{Metrics, float},
    },
    scenarios::edges::json,
};

/// Loss on the path to one node shows at that node and at no other; refused connections do, too.
pub(in crate::scenarios) fn lossy(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let namespace = cluster.namespace.as_str();
    let [near, far] = ["near", "far"].map(|node| format!("{namespace}-{node}"));
    for (number, name) in (1..).zip([&near, &far]) {
        cluster.api.put(&node(name, Ipv4Addr::new(192, 0, 2, number).into(), &format!("zone-{number}")))?;
    }
    let pod =
        |workload, node| cluster.run(Pod::of_deployment(namespace, workload, 0).on_node(node), workload);
    let (client, local, distant) = (pod("client", &near)?, pod("local", &near)?, pod("distant", &far)?);
    let agent = cluster.agent_that_knows(name, 3)?;
    let _servers = [local.serve()?, distant.serve()?];
    let lossy = format!("ip daddr {} meta length > 200 numgen inc mod 5 == 1 drop", distant.pod.v4);
    let _loss = Fault::on_path(&cluster.net, &client.pod, &[&lossy])?;
    client.call(&local, 3, 20_000)?;
    client.call(&distant, 5, 20_000)?;
    let refused = client.pod.connect(distant.pod.at(PORT + 1), &["--count", "4"])?;
    ensure!(refused.failed("ECONNREFUSED") == 4, "{refused:?}");
    agent.until("each node has what was with its pods", |metrics| {
        let of = |node: &str, zone: &str, what: &str| {
            metrics
                .sum(&format!("netcause_peer_node_tcp_{what}"), &[("peer_node", node), ("peer_zone", zone)])
        };
        // The client's end of three connections on its own node, and the servers' ends of all of them.
        let opened =
            (of(&near, "zone-1", "connections_opened_total"), of(&far, "zone-2", "connections_opened_total"));
        ensure!(opened == (float(3 + 3 + 5), float(5)), "{opened:?} connections opened");
        let retransmitted = of(&far, "zone-2", "retransmitted_segments_total");
        ensure!(retransmitted >= 5.0, "{retransmitted} segments retransmitted to the lossy node");
        let at_edges = to(metrics, "distant", "netcause_tcp_retransmitted_segments_total");
        ensure!(retransmitted == at_edges, "{retransmitted} segments retransmitted, {at_edges} at the edges");
        let elsewhere = of(&near, "zone-1", "retransmitted_segments_total");
        ensure!(elsewhere == 0.0, "{elsewhere} segments retransmitted to the other node");
        let failures = of(&far, "zone-2", "connect_failures_total");
        ensure!(failures == 4.0, "{failures} connects failed");
        let measured = of(&far, "zone-2", "rtt_seconds_count");
        let at_edges = to(metrics, "distant", "netcause_tcp_rtt_seconds_count");
        ensure!(measured == at_edges && measured >= 5.0, "{measured} round trips, {at_edges} at the edges");
        Ok(())
    })?;
    eventually("the last minutes have the same", || {
        let answer = json(&agent, "/api/v1/node?window=10m")?;
        let rows = answer["peer_nodes"]["rows"].as_array().context("no nodes")?;
        let row = rows.iter().find(|row| row["peer_node"] == *far).with_context(|| answer.to_string())?;
        let failures = &row["tcp"]["connect_failures"]["refused"];
        ensure!(row["peer_zone"] == "zone-2" && *failures == 4, "{row}");
        let shown = agent.scrape()?;
        let retransmitted =
            shown.sum("netcause_peer_node_tcp_retransmitted_segments_total", &[("peer_node", &far)]);
        ensure!(
            row["tcp"]["retransmitted_segments"].as_f64() == Some(retransmitted),
            "{retransmitted}: {row}"
        );
        Ok(())
    })?;
    cluster.end(&agent)
}

/// What the client's end of the edges to a server has.
fn to(metrics: &Metrics, server: &str, counter: &str) -> f64 {
    metrics.sum(counter, &[("reporter", "source"), ("destination_workload", server)])
}
