//! Peers outside the known networks: one edge for all of them, at either end.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams};
use crate::lab::{
    agent::{self, Agent, Options},
    crossed::{Crossed, Ends},
    metrics::{EXTERNAL, Edge, Metrics, OPENED},
    topology::{Net, Pod},
};

/// All clients outside the known networks are one edge at either end; `known_networks` decides which are outside.
pub(super) fn clients(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    // Addresses of documentation (RFC 5737, RFC 3849) are outside, those of the pods' own network are not.
    let (near, far, server) = (net.pod("near")?, net.pod("far")?, net.pod("server")?);
    for address in ["203.0.113.11/24", "203.0.113.12/24", "2001:db8::11/64"] {
        far.also_at(address)?;
    }
    for address in ["203.0.113.1/24", "203.0.113.2/24", "2001:db8::1/64"] {
        server.also_at(address)?;
    }
    // For this agent those addresses are known, and all others are outside.
    let config = "known_networks: [\"203.0.113.0/24\", \"2001:db8::/32\"]\n";
    let inverse = Agent::start(
        name,
        "inverse",
        &Options { config: Some(config), without_dns: true, ..Options::default() },
    )?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let mut udp_echoes = Vec::new();

    let mut calls = Vec::new();
    for (client, to, from, count, bytes) in [
        (&far, "203.0.113.1", "203.0.113.11", "2", "1009"),
        (&far, "203.0.113.2", "203.0.113.12", "3", "2003"),
        (&far, "2001:db8::1", "2001:db8::11", "4", "307"),
        (&near, &server.v4.to_string(), &near.v4.to_string(), "5", "4001"),
        (&near, &server.v6.to_string(), &near.v6.to_string(), "6", "503"),
    ] {
        let (to, from): (IpAddr, IpAddr) = (to.parse()?, from.parse()?);
        let from_text = from.to_string();
        let common = ["--from", &from_text, "--count", count];
        let args = [&common[..], &["--send", bytes, "--receive", bytes]].concat();
        let outcome = client.connect((to, 8080).into(), &args)?;
        ensure!(outcome.count("broken") == 0 && outcome.count("connected") > 0, "{outcome:?}");
        // Bound to its address, so that answers come from it.
        udp_echoes.push(server.serve_udp((to, 5300).into(), &[])?);
        let args = [&common[..], &["--size", bytes], &ANSWER].concat();
        let datagrams = Datagrams::answered(&client.send_udp((to, 5300).into(), &args)?)?;
        calls.push(Call { client, to, from, crossed: Crossed::of(&outcome), datagrams });
    }
    far.wait_quiet()?;
    near.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("clients outside the known networks are one", |metrics| {
        expect(metrics, &calls, &far, &server)
    })?;
    inverse.until("the setting decides which networks are known", |metrics| {
        expect(metrics, &calls, &near, &server)
    })?;
    inverse.stop(Signal::TERM)
}

/// One client's traffic from one of its addresses.
struct Call<'a> {
    client: &'a Pod,
    to: IpAddr,
    from: IpAddr,
    crossed: Crossed,
    datagrams: Datagrams,
}

/// Fails unless the calls of the outside pod are one edge at either end, and all others have their own names.
fn expect(metrics: &Metrics, calls: &[Call<'_>], outside: &Pod, server: &Pod) -> Result<()> {
    let (outer, inner): (Vec<_>, Vec<_>) =
        calls.iter().partition(|call| call.client.workload() == outside.workload());
    for call in &outer {
        for end in [Edge::at_client(call.client, call.to, 8080), Edge::at_server(server, call.from, 8080)] {
            metrics.expect(OPENED, &end, 0)?;
        }
    }
    let sum = |calls: &[&Call<'_>]| {
        let datagrams = calls.iter().fold(Datagrams::default(), |sum, call| sum.and(call.datagrams));
        (calls.iter().fold(Crossed::default(), |sum, call| sum.and(call.crossed)), datagrams)
    };
    if let [first, ..] = inner[..] {
        let ((crossed, datagrams), ends) = (sum(&inner), |port| Ends::of(first.client, server, port));
        crossed.expect_closed(metrics, &ends(8080))?;
        datagrams.expect_answered(metrics, &ends(5300))?;
    }
    let (collapsed, datagrams) = sum(&outer);
    let ends = |port| Ends {
        client: Edge::of_client(outside, port).with("destination_workload", EXTERNAL),
        server: Edge::at_server(server, EXTERNAL, port),
    };
    collapsed.expect_closed(metrics, &ends(8080))?;
    datagrams.expect_answered(metrics, &ends(5300))
}
