//! Datagrams and their bytes at both ends, exactly.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    crossed::Ends,
    faults::Fault,
    kernel_is_before,
    metrics::{Edge, Metrics, float},
    sample::Sample,
    topology::{Net, Outcome},
    witness::Witness,
};

pub(super) const UDP_SENT: &str = "netcause_udp_sent_bytes_total";
const RECEIVED: &str = "netcause_udp_received_bytes_total";
pub(super) const UDP_SENT_DATAGRAMS: &str = "netcause_udp_sent_datagrams_total";
pub(super) const UDP_RECEIVED_DATAGRAMS: &str = "netcause_udp_received_datagrams_total";
const DROPS: &str = "netcause_udp_receive_drops_total";

/// The longest wait for an answer: none is lost in these scenarios.
pub(super) const ANSWER: [&str; 2] = ["--answer-ms", "5000"];

/// Datagrams and their payload.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Datagrams {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Datagrams {
    /// The datagrams that a client sent; fails unless all were answered.
    pub(super) fn answered(outcome: &Outcome) -> Result<Self> {
        let [count, bytes, back, bytes_back] =
            ["datagrams_sent", "bytes_sent", "datagrams_received", "bytes_received"]
                .map(|name| outcome.count(name));
        ensure!(count > 0 && (count, bytes) == (back, bytes_back), "answers are missing: {outcome:?}");
        Ok(Self { count, bytes })
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }

    /// Fails unless both ends have counted them and as many answers.
    pub(super) fn expect_answered(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        for edge in ends.both() {
            for (name, value) in [
                (UDP_SENT_DATAGRAMS, self.count),
                (UDP_RECEIVED_DATAGRAMS, self.count),
                (UDP_SENT, self.bytes),
                (RECEIVED, self.bytes),
                (DROPS, 0),
            ] {
                metrics.expect_between(name, edge, float(value), float(value))?;
            }
        }
        Ok(())
    }
}

/// Empty, small and fragmented datagrams of several clients are counted to the byte at both ends: connected or not,
/// IPv4, IPv6 and v4-mapped.
pub(super) fn both_ways(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let server = net.pod("server")?;
    let clients = [net.pod("one")?, net.pod("two")?];
    let echo = server.serve_udp("[::]:5300".parse()?, &["--ports", "2"])?;
    let sizes = ["--count", "10", "--size", "0", "--size", "1", "--size", "1009", "--size", "5003"];
    let mut all = Datagrams::default();
    let mut expected = Vec::new();
    for client in &clients {
        for port in [5300, 5301] {
            let how: &[&str] = if port == 5300 { &["--sockets", "2"] } else { &["--unconnected"] };
            let ask = |to, more: &[&str]| {
                Datagrams::answered(&client.send_udp(to, &[&sizes, &ANSWER[..], how, more].concat())?)
            };
            let v4 = ask(server.at(port), &[])?.and(ask(server.at(port), &["--mapped"])?);
            let v6 = ask(server.at_v6(port), &[])?;
            all = all.and(v4).and(v6);
            // Where both ends have names, both families are one edge.
            expected.push((Ends::of(client, &server, port), v4.and(v6)));
        }
    }
    let outcome = echo.finish()?;
    let is = ["datagrams_received", "bytes_received"].map(|count| outcome.count(count));
    ensure!(is == [all.count, all.bytes], "clients sent {all:?}, the server says {outcome:?}");
    agent.until("both ends have counted every datagram", |metrics| {
        expected.iter().try_for_each(|(ends, datagrams)| datagrams.expect_answered(metrics, ends))
    })
}

/// A datagram within one pod over loopback is counted at two ends, which have the names of both.
pub(super) fn loopback(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let pod = net.pod("pod")?;
    let _echo = pod.serve_udp("[::]:5300".parse()?, &[])?;
    let sizes = [&["--count", "6", "--size", "0", "--size", "40001"], &ANSWER[..]].concat();
    let mut all = Datagrams::default();
    for to in ["127.0.0.1:5300", "[::1]:5300"] {
        all = all.and(Datagrams::answered(&pod.send_udp(to.parse()?, &sizes)?)?);
    }
    let end = |reporter| Edge::named(reporter, pod.workload(), pod.workload(), 5300);
    let ends = Ends { client: end("source"), server: end("destination") };
    agent.until("every datagram has two ends", |metrics| all.expect_answered(metrics, &ends))?;
    // What is no DNS, at its port.
    let _other = pod.serve_udp("127.0.0.1:53".parse()?, &[])?;
    let other = Datagrams::answered(&pod.send_udp("127.0.0.1:53".parse()?, &sizes)?)?;
    let end = |reporter| Edge::named(reporter, pod.workload(), pod.workload(), 53);
    let ends = Ends { client: end("source"), server: end("destination") };
    agent.until("at the port of DNS too", |metrics| other.expect_answered(metrics, &ends))
}

/// Who is the server does not depend on ports that somebody may choose: not of a service at a high port, nor of one that
/// connects a socket to each client, nor of clients at low ports. Each has one edge, and none has an ephemeral port.
pub(super) fn any_ports(name: &str) -> Result<()> {
    const SOCKETS: u64 = 60;
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let sockets = SOCKETS.to_string();
    let (mut servers, mut edges) = (Vec::new(), Vec::new());
    for (port, mode, how) in [
        (61_001, "echo", &["--unconnected"][..]),
        (61_002, "echo", &[]),
        (61_003, "echo-each", &["--unconnected"]),
        (61_004, "echo-each", &[]),
        (5300, "echo-each", &[]),
        (5301, "echo", &["--unconnected", "--from-port", "2000"]),
        (40_000, "echo", &["--unconnected", "--from-port", "33000"]),
    ] {
        servers.push(server.serve_udp(server.at(port), &["--mode", mode])?);
        let args = [&["--count", "3", "--sockets", &sockets], &ANSWER[..], how].concat();
        let datagrams = Datagrams::answered(&client.send_udp(server.at(port), &args)?)?;
        ensure!(datagrams.count == 3 * SOCKETS, "{datagrams:?}");
        edges.push((Ends::v4(&client, &server, port), datagrams));
    }
    let count = edges.len();
    agent.until("an edge for each service at both ends", |metrics| {
        edges.iter().try_for_each(|(ends, datagrams)| datagrams.expect_answered(metrics, ends))?;
        let at_server = [("reporter", "destination"), ("destination_workload", server.workload())];
        let at_client = [("reporter", "source"), ("source_workload", client.workload())];
        for end in [at_client, at_server].map(|labels| Edge::labelled(&labels)) {
            let is_seen = |sample: &Sample| sample.name == UDP_SENT_DATAGRAMS && end.matches(sample);
            let seen = metrics.samples.iter().filter(|sample| is_seen(sample)).count();
            ensure!(seen == count, "{seen} edges, not {count}: {}", metrics.list(is_seen));
        }
        Ok(())
    })
}

/// Datagrams behind IPv6 extension headers are counted; where the headers are longer than programs can read, that is counted.
pub(super) fn extension_headers(name: &str) -> Result<()> {
    const UNREAD: &str = "netcause_ipv6_unread_packets_total";
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve_udp("[::]:5300".parse()?, &[])?;
    let mut all = Datagrams::default();
    for (how, bytes) in [(&[][..], "8"), (&["--unconnected"], "24"), (&[], "400")] {
        let args =
            [&["--count", "5", "--size", "0", "--size", "997", "--options-bytes", bytes], &ANSWER[..], how];
        all = all.and(Datagrams::answered(&client.send_udp(server.at_v6(5300), &args.concat())?)?);
    }
    let ends = Ends::v6(&client, &server, 5300);
    agent.until("both ends have counted every datagram", |metrics| all.expect_answered(metrics, &ends))?;
    let unread = agent.scrape()?.sum(UNREAD, &[]);
    let args = [&["--count", "7", "--options-bytes", "480"], &ANSWER[..]].concat();
    Datagrams::answered(&client.send_udp(server.at_v6(5300), &args)?)?;
    agent.until("what cannot be read is reported at both ends", |metrics| {
        let after = metrics.sum(UNREAD, &[]);
        ensure!(after - unread >= 14.0, "{unread} before, {after} after");
        Ok(())
    })
}

/// Datagrams that arrive at a full receive buffer are counted as received and as dropped, as many as the kernel
/// counts.
pub(super) fn receive_drops(name: &str) -> Result<()> {
    overflow(name, false)
}

/// Over IPv6 the same drops are counted, except on kernels before 6.6, which have no tracepoint for them.
pub(super) fn receive_drops_v6(name: &str) -> Result<()> {
    overflow(name, true)
}

fn overflow(name: &str, v6: bool) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let at = |port| if v6 { server.at_v6(port) } else { server.at(port) };
    let ends = if v6 { Ends::v6 } else { Ends::v4 }(&client, &server, 5300);
    let late = server.serve_udp(at(5300), &["--mode", "read-late", "--receive-buffer", "4096"])?;
    // Resolves the neighbour first: a burst would be dropped while it waits for that.
    client.send_udp(at(9), &[])?;
    client.send_udp(at(5300), &["--count", "100", "--size", "500"])?;
    let read = late.finish()?.count("datagrams_received");
    let full = server.counter(if v6 { "Udp6" } else { "Udp" }, "InErrors")?;
    ensure!(
        read > 0 && full > 0 && read + full == 100,
        "100 sent, {read} read, {full} dropped by the kernel"
    );
    agent.until("drops equal the kernel's", |metrics| {
        for (edge, datagrams, bytes) in
            [(&ends.client, UDP_SENT_DATAGRAMS, UDP_SENT), (&ends.server, UDP_RECEIVED_DATAGRAMS, RECEIVED)]
        {
            metrics.expect_between(datagrams, edge, 100.0, 100.0)?;
            metrics.expect_between(bytes, edge, 50_000.0, 50_000.0)?;
        }
        let listener = Edge::listener(&server, 5300);
        if v6 && kernel_is_before(6, 12) && metrics.on(DROPS, &listener) == 0.0 {
            // These kernels do not report the drops of IPv6.
            return Ok(());
        }
        metrics.expect(DROPS, &listener, full)?;
        // Kernels before 6.10 do not say whose the datagram was.
        let unknown = Edge::at_server(&server, "unknown", 5300);
        let named = metrics.on(DROPS, &ends.server) + metrics.on(DROPS, &unknown);
        ensure!(named == metrics.on(DROPS, &listener), "{named} drops of the client or of unknown clients");
        metrics.expect(DROPS, &ends.client, 0)
    })
}

/// With full tables and a ring that the agent does not read, every datagram passes and is counted.
pub(super) fn full_tables(name: &str) -> Result<()> {
    const PORTS: u64 = 30;
    let (_net, client, server) = Net::pair(name)?;
    let witness = Witness::start(name, &[&client, &server])?;
    let agent = Agent::start(
        name,
        "agent",
        &Options {
            args: &["--max-udp-flows", "4", "--event-ring-bytes", "4096"],
            without_dns: true,
            ..Options::default()
        },
    )?;
    agent.signal(Signal::STOP)?;
    let ports = PORTS.to_string();
    let served = || -> Result<Datagrams> {
        let _echo = server.serve_udp("[::]:5300".parse()?, &["--ports", &ports])?;
        let mut all = Datagrams::default();
        for to in [server.at(5300), server.at_v6(5300)] {
            for how in ["--ports", "--sockets"] {
                let args = ["--count", &ports, "--size", "3", "--size", "2001", "--unconnected", how, &ports];
                all = all.and(Datagrams::answered(&client.send_udp(to, &[&args, &ANSWER[..]].concat())?)?);
            }
        }
        Ok(all)
    };
    let all = served();
    agent.signal(Signal::CONT)?;
    let all = all?;
    agent.until("the sums are conserved", |metrics| {
        let sums = ["source", "destination"].map(|reporter| {
            [
                (UDP_SENT_DATAGRAMS, reporter, all.count),
                (UDP_RECEIVED_DATAGRAMS, reporter, all.count),
                (UDP_SENT, reporter, all.bytes),
                (RECEIVED, reporter, all.bytes),
            ]
        });
        witness.expect_conserved(metrics, &sums.concat())?;
        witness.expect_folded(metrics, (UDP_SENT, "source", all.bytes))?;
        let entries = metrics.sum("netcause_map_entries", &[("map", "udp_flows")]);
        ensure!(entries <= 4.0, "{entries} entries in a table of 4");
        let folded = metrics.sum("netcause_flow_table_overflows_total", &[]);
        ensure!(folded > 0.0, "the full table is not reported");
        Ok(())
    })?;
    witness.stop()?;
    agent.stop(Signal::TERM)
}

/// ICMP errors count at the client's end, once each: nobody at the port, and a rule that rejects. Datagrams that are answered get none, nor do those of sockets that are not connected.
pub(super) fn icmp_errors(name: &str) -> Result<()> {
    const ERRORS: &str = "netcause_udp_icmp_errors_total";
    let agent = agent::shared()?;
    let is_seen = agent.scrape()?.sum("netcause_probe_up", &[("probe", "dns_refused")]) == 1.0;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve_udp("[::]:5300".parse()?, &[])?;
    server.sysctl(&["net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0"])?;
    let _fault = Fault::on_input(
        &server,
        &[
            "meta nfproto ipv4 udp dport 5302 reject with icmp type admin-prohibited",
            "meta nfproto ipv6 udp dport 5304 reject with icmpv6 type admin-prohibited",
        ],
    )?;
    let all = [
        (server.at(5301), "port_unreachable"),
        (server.at_v6(5303), "port_unreachable"),
        (server.at(5302), "host_unreachable"),
        (server.at_v6(5304), "prohibited"),
    ];
    let for_nobody =
        || Ok::<_, anyhow::Error>(server.counter("Udp", "NoPorts")? + server.counter("Udp6", "NoPorts")?);
    let before = for_nobody()?;
    for (to, _) in all {
        // One datagram each: what comes while an error waits to be read is another question.
        for _ in 0..3 {
            client.send_udp(to, &["--count", "1", "--answer-ms", "200"])?;
        }
        client.send_udp(to, &["--count", "2", "--unconnected"])?;
    }
    let found = for_nobody()? - before;
    ensure!(found == 10, "{found} datagrams for nobody");
    client.send_udp(server.at(5300), &[&ANSWER[..], &["--count", "20"]].concat())?;
    let each = if is_seen { 3.0 } else { 0.0 };
    agent.until("each error counts once", |metrics| {
        for (to, kind) in all {
            let edge = Edge::at_client(&client, to.ip(), to.port());
            metrics.expect_between(ERRORS, &edge.with("kind", kind), each, each)?;
            metrics.expect_between(ERRORS, &edge, each, each)?;
        }
        metrics.expect_between(ERRORS, &Edge::of_client(&client, 5300), 0.0, 0.0)
    })
}
