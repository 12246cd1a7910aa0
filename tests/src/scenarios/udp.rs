//! Datagrams, to the byte, at both ends.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    crossed::Ends,
    kernel_is_before,
    metrics::{Edge, Metrics, OTHER, float},
    namespace::own_counter,
    topology::{Net, Outcome},
};

pub(super) const UDP_SENT: &str = "netcause_udp_sent_bytes_total";
const RECEIVED: &str = "netcause_udp_received_bytes_total";
pub(super) const UDP_SENT_DATAGRAMS: &str = "netcause_udp_sent_datagrams_total";
const RECEIVED_DATAGRAMS: &str = "netcause_udp_received_datagrams_total";
const DROPS: &str = "netcause_udp_receive_drops_total";

/// How long a client waits for an answer: none is lost in these scenarios.
pub(super) const ANSWER: [&str; 2] = ["--answer-ms", "5000"];

/// Datagrams and their payload.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Datagrams {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Datagrams {
    /// What a client sent, all of which was answered.
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
                (RECEIVED_DATAGRAMS, self.count),
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

/// Empty, small and fragmented, connected and not, IPv4, IPv6 and IPv4 through an IPv6 socket, of several clients.
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
            expected.push((Ends::v4(client, &server, port), v4));
            expected.push((Ends::v6(client, &server, port), v6));
        }
    }
    let outcome = echo.finish()?;
    let is = ["datagrams_received", "bytes_received"].map(|count| outcome.count(count));
    ensure!(is == [all.count, all.bytes], "clients sent {all:?}, the server says {outcome:?}");
    agent.until("both ends have counted every datagram", |metrics| {
        expected.iter().try_for_each(|(ends, datagrams)| datagrams.expect_answered(metrics, ends))
    })
}

/// Both ends in one pod, over loopback.
pub(super) fn loopback(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let pod = net.pod("pod")?;
    let _echo = pod.serve_udp("[::]:5300".parse()?, &[])?;
    let sizes = [&["--count", "6", "--size", "0", "--size", "40001"], &ANSWER[..]].concat();
    let mut expected = Vec::new();
    for (to, from) in [("127.0.0.1:5300", "127.0.0.1"), ("[::1]:5300", "::1")] {
        let datagrams = Datagrams::answered(&pod.send_udp(to.parse()?, &sizes)?)?;
        let address: std::net::IpAddr = from.parse()?;
        let ends = Ends {
            client: Edge::at_client(&pod, address, 5300),
            server: Edge::at_server(&pod, address, 5300),
        };
        expected.push((ends, datagrams));
    }
    agent.until("every datagram has two ends", |metrics| {
        expected.iter().try_for_each(|(ends, datagrams)| datagrams.expect_answered(metrics, ends))
    })
}

/// A server that does not read: what arrived is counted, and what of it found the buffer full, as the kernel says.
pub(super) fn receive_drops(name: &str) -> Result<()> {
    overflow(name, false)
}

/// The same over IPv6, where kernels before 6.6 have no tracepoint for it.
pub(super) fn receive_drops_v6(name: &str) -> Result<()> {
    overflow(name, true)
}

fn overflow(name: &str, v6: bool) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let at = |port| if v6 { server.at_v6(port) } else { server.at(port) };
    let ends = if v6 { Ends::v6 } else { Ends::v4 }(&client, &server, 5300);
    let late = server.serve_udp(at(5300), &["--mode", "read-late", "--receive-buffer", "4096"])?;
    // One at a time finds its neighbour: a burst would lose what waits for that.
    client.send_udp(at(9), &[])?;
    client.send_udp(at(5300), &["--count", "100", "--size", "500"])?;
    let read = late.finish()?.count("datagrams_received");
    let full = server.counter(if v6 { "Udp6" } else { "Udp" }, "InErrors")?;
    ensure!(
        read > 0 && full > 0 && read + full == 100,
        "100 sent, {read} read, {full} dropped by the kernel"
    );
    agent.until("drops are the kernel's", |metrics| {
        for (edge, datagrams, bytes) in
            [(&ends.client, UDP_SENT_DATAGRAMS, UDP_SENT), (&ends.server, RECEIVED_DATAGRAMS, RECEIVED)]
        {
            metrics.expect_between(datagrams, edge, 100.0, 100.0)?;
            metrics.expect_between(bytes, edge, 50_000.0, 50_000.0)?;
        }
        let listener = Edge::listener(&server, 5300);
        if v6 && kernel_is_before(6, 12) && metrics.on(DROPS, &listener) == 0.0 {
            // They do not tell those of IPv6.
            return Ok(());
        }
        metrics.expect(DROPS, &listener, full)?;
        // Kernels before 6.10 do not say whose the datagram was.
        let unknown = Edge::at_server(&server, "unknown", 5300);
        let named = metrics.on(DROPS, &ends.server) + metrics.on(DROPS, &unknown);
        ensure!(named == metrics.on(DROPS, &listener), "{named} drops of the client, or of nobody known");
        metrics.expect(DROPS, &ends.client, 0)
    })
}

/// Tables that are full and a ring that nobody reads: every datagram passes, and every one is counted.
pub(super) fn whatever_happens(name: &str) -> Result<()> {
    const PORTS: u64 = 30;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let own =
        || Ok::<_, anyhow::Error>(own_counter("Udp", "OutDatagrams")? + own_counter("Udp6", "OutDatagrams")?);
    let own_before = own()?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { args: &["--max-udp-flows", "4", "--event-ring-bytes", "4096"], ..Options::default() },
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
        let noise = own()? - own_before;
        for reporter in ["source", "destination"] {
            for (name, value) in [(UDP_SENT_DATAGRAMS, all.count), (RECEIVED_DATAGRAMS, all.count)] {
                let sum = metrics.sum(name, &[("reporter", reporter)]);
                ensure!(
                    (float(value)..=float(value + noise)).contains(&sum),
                    "{name} of reporter {reporter} is {sum} in all, not {value} (and up to {noise} of the machine's own)"
                );
            }
            for (name, value) in [(UDP_SENT, all.bytes), (RECEIVED, all.bytes)] {
                let sum = metrics.sum(name, &[("reporter", reporter)]);
                ensure!(
                    sum == float(value) || (noise > 0 && sum > float(value)),
                    "{name} of reporter {reporter} is {sum} in all, not {value}"
                );
            }
        }
        let other = metrics.total(UDP_SENT, |sample| sample.labels.values().any(|value| value == OTHER));
        ensure!(other > 0.0, "nothing went to `other`");
        let entries = metrics.sum("netcause_map_entries", &[("map", "udp_flows")]);
        ensure!(entries <= 4.0, "{entries} entries in a table of 4");
        let folded = metrics.sum("netcause_flow_table_overflows_total", &[]);
        ensure!(folded > 0.0, "the full table is not said");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
