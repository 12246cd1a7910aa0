//! Clients whose own network namespace translates what they send: host-network workloads behind kube-proxy, a mesh that
//! captures DNS, masquerading.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT,
        counted::{Counted, exactly},
    },
    faults::Fault,
    metrics::Edge,
    topology::Net,
};

const COUNT: u64 = 10;

/// The address of the service: nobody has it.
const SERVICE: [u8; 4] = [10, 96, 0, 10];

/// Queries to a service's address, which the client's own rules send to another address and port from another port, are
/// answered: at the service where the socket is connected to it, and else at the backend.
pub(in super::super) fn by_its_own_rules(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (connected, captured, open, pod) =
        (net.pod("connected")?, net.pod("captured")?, net.pod("open")?, net.pod("server")?);
    let _servers = [pod.answer_dns(pod.at(PORT), &[])?, pod.answer_dns(pod.at(1053), &[])?];
    let mut rules = Vec::new();
    for (client, port) in [(&connected, PORT), (&captured, 1053), (&open, PORT)] {
        client.run("ip", &["route", "add", "10.96.0.0/16", "dev", "eth0"], "")?;
        let rule = format!("ip daddr 10.96.0.10 udp dport 53 dnat ip to {}:{port}", pod.v4);
        rules.push(Fault::translate(client, "output", &rule)?);
        rules.push(Fault::translate(client, "postrouting", "meta l4proto udp masquerade fully-random")?);
    }
    let service = (SERVICE, PORT).into();
    for client in [&connected, &captured] {
        let outcome = client.ask_dns(service, &["--count", "10", "--connected"])?;
        ensure!(outcome.count("answers") == COUNT, "{outcome:?}");
    }
    let outcome = open.ask_dns(service, &["--count", "10"])?;
    ensure!(outcome.count("answers") == COUNT, "{outcome:?}");

    let counted = Counted::of(&[("A", COUNT)], &[("NOERROR", COUNT)]);
    agent.until("every query has its answer", |metrics| {
        for client in [&connected, &captured] {
            counted.expect_at_client(metrics, &Edge::at_client(client, SERVICE, PORT))?;
            // Both directions are on one edge.
            let edge = Edge::source(client);
            exactly(metrics, "netcause_udp_sent_datagrams_total", &edge, COUNT)?;
            exactly(metrics, "netcause_udp_received_datagrams_total", &edge, COUNT)?;
            let edge = Edge::at_client(client, SERVICE, PORT);
            exactly(metrics, "netcause_udp_sent_datagrams_total", &edge, COUNT)?;
            exactly(metrics, "netcause_udp_received_datagrams_total", &edge, COUNT)?;
        }
        let edge = Ends::v4(&open, &pod, PORT).client;
        counted.expect_at_client(metrics, &edge)?;
        exactly(metrics, "netcause_udp_received_datagrams_total", &edge, COUNT)
    })
}
