//! Services: the edge has the service and the workload behind it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};

use super::{Cluster, PORT};
use crate::{
    apiserver::objects::{endpoint_slice, service},
    lab::{crossed::Crossed, metrics::OPENED},
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
