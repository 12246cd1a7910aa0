//! Services: the edge has the service and the workload behind it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context as _, Result, ensure};

use super::{Cluster, Member, PORT, handover::Draw};
use crate::{
    apiserver::objects::{endpoint_slice, service},
    lab::{
        crossed::Crossed,
        metrics::{FAILURES, OPENED},
    },
};

/// The address of the service, which only the client's rules know.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 77));
/// The port of the service.
const ASKED: u16 = 80;

/// An edge has the service that the client connected to, by its own address or its backend's, and the workload behind
/// it.
pub(in crate::scenarios) fn one_backend(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let namespace = cluster.namespace.as_str();
    let (server, client) = (cluster.stateful("db")?, cluster.deployed("web")?);
    cluster.api.put(&service(namespace, "database", &[ADDRESS], &[(ASKED, None)]))?;
    let endpoints = [(&server.object, IpAddr::V4(server.pod.v4))];
    cluster.api.put(&endpoint_slice(namespace, "database", PORT, &endpoints))?;
    let rules = format!(
        "table ip nat {{\n chain output {{\n  type nat hook output priority -100\n  \
         ip daddr {ADDRESS} tcp dport {ASKED} dnat to {}:{PORT}\n }}\n}}\n",
        server.pod.v4
    );
    client.pod.run("ip", &["route", "add", "10.96.0.0/16", "dev", "eth0"], "")?;
    client.pod.run("nft", &["-f", "-"], &rules)?;
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    let args = ["--count", "6", "--send", "1009", "--receive", "1009"];
    let outcome = client.pod.connect((ADDRESS, ASKED).into(), &args)?;
    ensure!(outcome.count("broken") == 0 && outcome.count("connected") == 6, "{outcome:?}");
    let by_service = Crossed::of(&outcome);
    let direct = client.call(&server, 4, 503)?;
    server.pod.wait_quiet()?;
    agent.until("the service and its backend are both on the edge", |metrics| {
        let asked = super::ends(client.name(), server.name(), ASKED);
        let service = asked.client.with("destination_service", "database");
        metrics.expect(OPENED, &service, by_service.connections)?;
        metrics.expect(OPENED, &asked.client, by_service.connections)?;
        // With load balancing in the socket the backend's address is all that there is to see: its endpoint says which
        // service it serves.
        let ends = client.ends(&server);
        metrics.expect(OPENED, &ends.client.with("destination_service", "database"), direct.connections)?;
        metrics.expect(OPENED, &ends.server, by_service.and(direct).connections)
    })?;
    cluster.end(&agent)
}

/// Where a service leads, one after the other: numbers of its backends.
const LEADS: [&[usize]; 6] = [&[0], &[1], &[], &[0], &[0, 1], &[1]];

/// A service leads from workload to workload, and nothing waits until the agent knows: each has the connections that were made
/// while the service led to it. As with kube-proxy the rules follow the endpoint slice, and some clients are new each time.
pub(in crate::scenarios) fn leads_elsewhere(name: &str) -> Result<()> {
    let seed = u64::from(std::process::id());
    moves(name, &mut Draw::new(seed)).with_context(|| format!("the seed is {seed}"))
}

fn moves(name: &str, draw: &mut Draw) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let namespace = cluster.namespace.as_str();
    let backends = [cluster.stateful("blue")?, cluster.stateful("green")?];
    let old = cluster.deployed("old")?;
    cluster.api.put(&service(namespace, "shop", &[ADDRESS], &[(ASKED, None)]))?;
    let agent = cluster.agent_that_knows(name, 3)?;
    let _servers = [backends[0].serve()?, backends[1].serve()?];
    let mut right: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
    let mut clients = vec![old];
    for (number, leads) in LEADS.into_iter().enumerate() {
        let to: Vec<&Member> = leads.iter().map(|backend| &backends[*backend]).collect();
        let endpoints: Vec<_> = to.iter().map(|to| (&to.object, IpAddr::V4(to.pod.v4))).collect();
        cluster.api.put(&endpoint_slice(namespace, "shop", PORT, &endpoints))?;
        draw.wait(300, 1500);
        clients.push(cluster.deployed(&format!("client-{number}"))?);
        for client in &clients {
            let made = reach(client, to.first().copied(), 1 + draw.below(5))?;
            let reached = match to[..] {
                [] => "unknown",
                [one] => &one.workload,
                _ => "several",
            };
            let kind = if to.is_empty() { FAILURES } else { OPENED };
            *right.entry((client.workload.clone(), reached.to_owned(), kind)).or_default() += made;
        }
        draw.wait(1000, 2500);
    }
    agent.until("each workload has what the service led to it", |metrics| {
        for ((client, reached, kind), made) in &right {
            let at = (namespace, reached.as_str());
            let edge = super::ends((namespace, client), at, ASKED).client;
            metrics.expect(kind, &edge.with("destination_service", "shop"), *made)?;
        }
        Ok(())
    })?;
    cluster.end(&agent)
}

/// Has the client's rules lead to a backend, or refuse, and connects so many times to the service's address.
fn reach(client: &Member, to: Option<&Member>, count: u64) -> Result<u64> {
    let _ = client.pod.run("ip", &["route", "add", "10.96.0.0/16", "dev", "eth0"], "");
    let verdict = match to {
        Some(to) => format!("dnat to {}:{PORT}", to.pod.v4),
        None => "reject with icmp port-unreachable".to_owned(),
    };
    let chain = if to.is_some() {
        "type nat hook output priority -100"
    } else {
        "type filter hook output priority 0"
    };
    let rules = format!(
        "table ip shop\ndelete table ip shop\n\
         table ip shop {{\n chain output {{\n  {chain}\n  ip daddr {ADDRESS} tcp dport {ASKED} {verdict}\n }}\n}}\n"
    );
    client.pod.run("nft", &["-f", "-"], &rules)?;
    let args = ["--count", &count.to_string(), "--send", "101", "--receive", "101"];
    let outcome = client.pod.connect((ADDRESS, ASKED).into(), &args)?;
    let opened = if to.is_some() { count } else { 0 };
    ensure!(outcome.count("broken") == 0 && outcome.count("connected") == opened, "{outcome:?}");
    client.pod.wait_quiet()?;
    Ok(count)
}
