//! Who is at the other end of connections between network namespaces of the node, where no source of names says it.
//!
//! Each scenario has addresses of its own: all others have equal ones.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams, UDP_SENT_DATAGRAMS};
use crate::lab::{
    agent::{self, Agent, Options},
    crossed::{Crossed, Ends},
    dns,
    faults::Fault,
    metrics::{Edge, OPENED},
    topology::{Net, Outcome, Pod},
};

const PORT: u16 = 8080;
const UDP_PORT: u16 = 5300;
const ECHO: [&str; 4] = ["--send", "103", "--receive", "103"];

/// Both ends of connections between two pods, of datagrams, and of queries to a DNS server have the names of both.
pub(super) fn both_ends(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let (from, to) = addresses(1, &client, &server)?;
    let _echo = server.serve(to, &["--mode", "echo"])?;
    let crossed = Crossed::of(&call(&client, from, to, "5", &[])?);
    let udp = (to.ip(), UDP_PORT).into();
    let echo = server.serve_udp(udp, &[])?;
    let source = from.to_string();
    let args = [&["--count", "5", "--size", "107", "--from", &source], &ANSWER[..]].concat();
    let datagrams = Datagrams::answered(&client.send_udp(udp, &args)?)?;
    let dns = (to.ip(), dns::PORT).into();
    let resolver = server.answer_dns(dns, &[])?;
    let mut queries = 0;
    // What a reading divides proves nothing.
    for count in ["3", "4", "5"] {
        let outcome = client.ask_dns(dns, &["--count", count, "--connected"])?;
        queries += outcome.count("answers");
    }
    ensure!(queries == 12, "{queries} answers");
    client.wait_quiet()?;
    server.wait_quiet()?;
    drop((echo, resolver));
    let asked = Edge::named("source", client.workload(), server.workload(), dns::PORT);
    agent.until("both ends are named", |metrics| {
        crossed.expect_closed(metrics, &named(&client, &server, PORT))?;
        datagrams.expect_answered(metrics, &named(&client, &server, UDP_PORT))?;
        metrics.expect_at_least(UDP_SENT_DATAGRAMS, &asked, 5)
    })
}

/// Connections that are older than the agent are named at both ends once something goes over them.
pub(super) fn older_pool(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let (from, to) = addresses(2, &client, &server)?;
    let _echo = server.serve(to, &["--mode", "echo"])?;
    let mut pool = client.hold(to, &["--from", &from.to_string(), "--count", "4"])?;
    let options = Options { args: &["--sweep-cpu-percent", "100"], without_dns: true, ..Options::default() };
    let agent = Agent::start(name, "agent", &options)?;
    pool.run_command("echo 1009")?;
    let crossed = Crossed::each(4, 1009, 1009);
    let ends = named(&client, &server, PORT);
    agent.until("both ends are named", |metrics| crossed.expect_bytes(metrics, &ends))?;
    pool.finish()?;
    agent.stop(Signal::TERM)
}

/// Two networks with the same addresses: no end is called by a name of the other network, even if their clients use the same
/// port at the same time.
pub(super) fn equal_networks(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let [one, other] = ["one", "other"].map(|network| Net::pair(&format!("{name}-{network}")));
    let networks = [one?, other?];
    let (mut servers, mut calls) = (Vec::new(), Vec::new());
    for (_, client, server) in &networks {
        let (_, to) = addresses(3, client, server)?;
        servers.push(server.serve(to, &["--mode", "echo"])?);
    }
    let (from, to) = at(3);
    // Which one it was cannot be told, unless the agent reads between the two.
    for (_, client, _) in &networks {
        call(client, from, to, "1", &["--bind-port", "45078"])?;
    }
    for ((_, client, _), count) in networks.iter().zip(["5", "7"]) {
        calls.push(call(client, from, to, count, &[])?.count("connected") + 1);
    }
    // Datagrams from one port at a time may be of either, too.
    let udp = (to.ip(), UDP_PORT).into();
    let source = from.to_string();
    for ((_, client, server), count) in networks.iter().zip(["3", "4"]) {
        servers.push(server.serve_udp(udp, &[])?);
        let args = ["--from", &source, "--from-port", "45079", "--count", count];
        Datagrams::answered(&client.send_udp(udp, &[&args[..], &ANSWER].concat())?)?;
    }
    agent.until("each has what is its own", |metrics| {
        for (number, (_, client, server)) in networks.iter().enumerate() {
            for edge in [Edge::at_client(client, to.ip(), PORT), Edge::at_server(server, from, PORT)] {
                metrics.expect(OPENED, &edge, calls[number])?;
            }
            let (_, _, elsewhere) = &networks[1 - number];
            for edge in named(client, elsewhere, PORT).both() {
                metrics.expect(OPENED, edge, 0)?;
            }
            for (edge, end) in named(client, elsewhere, UDP_PORT).both().into_iter().zip(["from", "to"]) {
                ensure!(metrics.on(UDP_SENT_DATAGRAMS, edge) == 0.0, "datagrams {end} another network");
            }
        }
        let all: f64 = networks
            .iter()
            .map(|(_, client, _)| metrics.on(UDP_SENT_DATAGRAMS, &Edge::of_client(client, UDP_PORT)))
            .sum();
        ensure!(all == 7.0, "{all} datagrams");
        Ok(())
    })
}

/// Clients behind a router that masquerades them are not called by the name of a program on the router, which has the same
/// address; and what they connect to has its address, since the server sees no connection of theirs.
pub(super) fn masqueraded(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (inner, router, server) = (net.pod("inner")?, net.pod("router")?, net.pod("server")?);
    let (from, to) = addresses(4, &router, &server)?;
    router.sysctl(&[
        "net/ipv4/ip_forward=1",
        "net/ipv4/conf/all/send_redirects=0",
        "net/ipv4/conf/eth0/send_redirects=0",
    ])?;
    inner.run("ip", &["-batch", "-"], &format!("route add {}/32 via {}\n", to.ip(), router.v4))?;
    let _masquerade = Fault::translate(&router, "postrouting", &format!("ip daddr {} masquerade", to.ip()))?;
    let _echo = server.serve(to, &["--mode", "echo"])?;
    let at_inner = Edge::of_client(&inner, PORT).with("destination_workload", &to.ip().to_string());
    let at_server = Edge::of_server(&server, PORT);
    let by_address = at_server.with("source_workload", &from.to_string());
    let by_router = at_server.with("source_workload", router.workload());

    call(&inner, inner.v4, to, "3", &[])?;
    agent.until("a masqueraded client has no name", |metrics| {
        metrics.expect(OPENED, &at_inner, 3)?;
        metrics.expect(OPENED, &by_address, 3)
    })?;
    call(&router, from, to, "2", &[])?;
    agent.until("the router's own connections are counted", |metrics| {
        metrics.expect(OPENED, &Edge::at_client(&router, to.ip(), PORT), 2)?;
        metrics.expect(OPENED, &Edge::at_server(&server, from, PORT), 5)
    })?;
    call(&inner, inner.v4, to, "4", &[])?;
    call(&router, from, to, "1", &[])?;
    agent.until("nothing of the others has its name", |metrics| {
        metrics.expect(OPENED, &at_inner, 7)?;
        metrics.expect(OPENED, &Edge::at_client(&router, to.ip(), PORT), 3)?;
        metrics.expect(OPENED, &Edge::at_server(&server, from, PORT), 10)?;
        metrics.expect_at_least(OPENED, &by_address, 7)?;
        metrics.expect_between(OPENED, &by_router, 0.0, 3.0)
    })
}

/// The addresses of a client and a server in a network of this number.
fn at(number: u8) -> (Ipv4Addr, SocketAddr) {
    (Ipv4Addr::new(10, 78, number, 2), (Ipv4Addr::new(10, 78, number, 3), PORT).into())
}

/// Gives them to these two.
fn addresses(number: u8, client: &Pod, server: &Pod) -> Result<(Ipv4Addr, SocketAddr)> {
    let (from, to) = at(number);
    client.also_at(&format!("{from}/24"))?;
    server.also_at(&format!("{}/24", to.ip()))?;
    Ok((from, to))
}

fn call(client: &Pod, from: Ipv4Addr, to: SocketAddr, count: &str, args: &[&str]) -> Result<Outcome> {
    let from = from.to_string();
    let outcome = client.connect(to, &[&["--from", &from, "--count", count], &ECHO[..], args].concat())?;
    ensure!(outcome.count("connected") > 0 && outcome.count("broken") == 0, "{outcome:?}");
    Ok(outcome)
}

/// Both ends by the names of both pods.
fn named(client: &Pod, server: &Pod, port: u16) -> Ends {
    Ends {
        client: Edge::named("source", client.workload(), server.workload(), port),
        server: Edge::named("destination", client.workload(), server.workload(), port),
    }
}
