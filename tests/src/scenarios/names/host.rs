//! Pods on the host network: only their cgroups distinguish them, at their own end.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};

use super::{Cluster, PORT, ends};
use crate::{
    apiserver::objects::{Pod, node},
    lab::{
        crossed::Crossed,
        metrics::{OPENED, float},
    },
    scenarios::udp::{ANSWER, Datagrams},
};

/// Pods on the host network, which share the address of their node, have their own names at both ends where that is one of them:
/// as servers, each has its own port, and as clients on the host network. As several clients of another pod they have the name
/// of their node there, but for what came when there was one of them.
pub(in crate::scenarios) fn network(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let namespace = cluster.namespace.as_str();
    let server = cluster.stateful("db")?;
    let machine = cluster.net.pod("node")?;
    let node_name = format!("{namespace}-node");
    cluster.api.put(&node(&node_name, machine.v4.into(), "zone-0"))?;
    let mut agents = Vec::new();
    for workload in ["proxy", "exporter"] {
        let object =
            Pod::of_daemon_set(namespace, workload, 0).on_node(&node_name).on_host_network().at(machine.v4);
        let pod = cluster.net.pod_on_host(&machine, workload, &object.uid)?;
        cluster.api.put_pod(&object)?;
        agents.push((workload, pod));
    }
    let agent = cluster.agent_that_knows(name, 3)?;
    let _echo = server.serve()?;
    let mut calls = Vec::new();
    for (count, (workload, pod)) in ["3", "5"].iter().zip(&agents) {
        let args = ["--count", count, "--send", "1009", "--receive", "1009"];
        let outcome = pod.connect(server.pod.at(PORT), &args)?;
        ensure!(outcome.count("broken") == 0 && outcome.count("connected") > 0, "{outcome:?}");
        calls.push((*workload, Crossed::of(&outcome)));
    }
    // Each serves on a port of its own; who asks them is named at their end, and they are at the client's end.
    let mut served = Vec::new();
    for (port, (workload, pod)) in [9100_u16, 9101].iter().zip(&agents) {
        let running = pod.serve((Ipv4Addr::UNSPECIFIED, *port).into(), &["--mode", "echo"])?;
        let outcome = server.pod.connect(machine.at(*port), &["--send", "10", "--receive", "10"])?;
        served.push((*workload, *port, Crossed::of(&outcome), running));
    }
    // Over the node's address and over loopback, each to the other's port.
    let mut within = Vec::new();
    for (from, to, address, count) in
        [(0, 1, IpAddr::V4(machine.v4), "3"), (1, 0, Ipv4Addr::LOCALHOST.into(), "4")]
    {
        let outcome = agents[from].1.connect((address, served[to].1).into(), &["--count", count])?;
        within.push((from, to, Crossed::of(&outcome)));
    }
    // Of UDP as well: who answers at loopback, and who asks there.
    let echo = agents[0].1.serve_udp((Ipv4Addr::LOCALHOST, 9125).into(), &[])?;
    let args = [&["--count", "5", "--size", "107"], &ANSWER[..]].concat();
    let datagrams = Datagrams::answered(&agents[1].1.send_udp((Ipv4Addr::LOCALHOST, 9125).into(), &args)?)?;
    drop(echo);
    machine.wait_quiet()?;
    server.pod.wait_quiet()?;
    agent.until("each is itself, or one of several on its node", |metrics| {
        let mut all = Crossed::default();
        for (workload, crossed) in &calls {
            let own = ends((namespace, workload), server.name(), PORT);
            metrics.expect(OPENED, &own.client, crossed.connections)?;
            // What was read before the other one connected is proved to be this one's.
            metrics.expect_between(OPENED, &own.server, 0.0, float(crossed.connections))?;
            all = all.and(*crossed);
        }
        let clients = calls.iter().map(|(workload, _)| (namespace, *workload));
        let at_server = |client| metrics.on(OPENED, &ends(client, server.name(), PORT).server);
        let named: f64 = clients.chain([("", &*node_name)]).map(at_server).sum();
        ensure!(named == float(all.connections), "{named} connections of {} have a name", all.connections);
        for (workload, port, crossed, _) in &served {
            for end in ends(server.name(), (namespace, workload), *port).both() {
                metrics.expect(OPENED, end, crossed.connections)?;
            }
        }
        let (asks, answers) = ((namespace, agents[1].0), (namespace, agents[0].0));
        datagrams.expect_answered(metrics, &ends(asks, answers, 9125))?;
        for (from, to, crossed) in &within {
            let (from, to, port) = (agents[*from].0, agents[*to].0, served[*to].1);
            for end in ends((namespace, from), (namespace, to), port).both() {
                metrics.expect(OPENED, end, crossed.connections)?;
            }
        }
        Ok(())
    })?;
    cluster.end(&agent)
}
