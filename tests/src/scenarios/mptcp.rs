//! MPTCP sockets, which have their connections and accept queues in TCP sockets without a file.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::listeners;
use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, Ends, OPEN, RECEIVED, SENT},
    eventually,
    faults::Fault,
    metrics::{CLOSED, Edge, Metrics, OPENED, float},
    topology::{Net, Pod},
};

/// Connections that are older than the agent, by TCP and by MPTCP clients of an MPTCP listener, are open, have their role and
/// their bytes; accept queues and drops are as of TCP.
pub(super) fn open(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo", "--mptcp"])?;
    let _of_tcp = server.serve("[::]:8083".parse()?, &["--mode", "echo", "--mptcp"])?;
    let _tcp = server.serve(server.at(8082), &["--mode", "echo"])?;
    let _once = server.serve("[::]:61000".parse()?, &["--mode", "echo", "--accept", "2", "--mptcp"])?;
    let never = ["--mode", "never-accept", "--backlog", "4", "--mptcp"];
    let deaf = server.serve(server.at(8081), &never)?;
    let mut all = [
        client.hold(server.at_v6(8080), &["--count", "3", "--mptcp"])?,
        client.hold(server.at_v6(61000), &["--count", "2", "--mptcp"])?,
        client.hold(server.at(8083), &["--count", "2"])?,
        client.hold(server.at(8082), &["--count", "4", "--mptcp"])?,
    ];
    all.iter_mut().try_for_each(|client| client.run_command("echo 50021"))?;
    // A queue takes one more than its limit.
    let waiting = [
        client.hold(server.at(8081), &["--count", "3"])?,
        client.hold(server.at(8081), &["--count", "2", "--mptcp"])?,
    ];

    let args = ["--sweep-cpu-percent", "100", "--preexisting-connections", "lifetime"];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;
    let by_mptcp = [Subflows::new(&client, &server, 8080, 3), Subflows::new(&client, &server, 61000, 2)];
    let by_tcp = [(Ends::v4(&client, &server, 8083), 2), (Ends::v4(&client, &server, 8082), 4)];
    let expect_open = |what: &str, each: u64| {
        agent.until(what, |metrics| {
            for (ends, count) in &by_tcp {
                expect_connections(metrics, OPEN, ends, *count)?;
                Crossed::each(*count, each, each).expect_bytes(metrics, ends)?;
            }
            for subflows in &by_mptcp {
                expect_connections(metrics, OPEN, &subflows.ends, subflows.count)?;
                let wire = subflows.wire()?;
                wire.expect(metrics, &subflows.ends)?;
                wire.expect_at_least(subflows.count * each)?;
            }
            Ok(())
        })
    };
    expect_open("they are open and have carried much", 50_021)?;
    let listener = Edge::listener(&server, 8081);
    agent.until("the accept queue is full", |metrics| {
        metrics.expect("netcause_tcp_accept_queue_length", &listener, 5)?;
        metrics.expect("netcause_tcp_accept_queue_limit", &listener, 4)
    })?;
    let give_up = ["--count", "3", "--parallel", "3", "--connect-timeout-ms", "300"];
    for of in [&give_up[..], &[&give_up[..], &["--mptcp"]].concat()] {
        let outcome = client.connect(server.at(8081), of)?;
        ensure!(outcome.failed("gave_up") == 3, "{outcome:?}");
    }
    agent.until("the drops of the full queue are counted", |metrics| {
        let kernel = server.counter("TcpExt", "ListenDrops")?;
        ensure!(kernel >= 6, "{kernel} drops");
        metrics.expect("netcause_tcp_listener_discards_total", &listener, kernel)?;
        listeners::expect_drops(metrics, &server)
    })?;

    all.iter_mut().try_for_each(|client| client.run_command("echo 1"))?;
    expect_open("they are open and have carried one byte more", 50_022)?;
    let wires = [by_mptcp[0].wire()?, by_mptcp[1].wire()?];
    for client in all {
        let outcome = client.finish()?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
    }
    agent.until("they are closed, and nothing counts twice", |metrics| {
        for (ends, count) in &by_tcp {
            expect_connections(metrics, CLOSED, ends, *count)?;
            Crossed::each(*count, 50_022, 50_022).expect_bytes(metrics, ends)?;
        }
        for (subflows, wire) in by_mptcp.iter().zip(&wires) {
            expect_connections(metrics, CLOSED, &subflows.ends, subflows.count)?;
            wire.expect_closed(metrics, &subflows.ends)?;
        }
        Ok(())
    })?;
    deaf.finish()?;
    waiting.into_iter().try_for_each(|client| client.finish().map(drop))?;
    agent.stop(Signal::TERM)
}

/// Data that MPTCP sends once more, in new segments because its own acknowledgement is missing, counts as often as it was sent.
pub(super) fn reinjected(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve("[::]:8080".parse()?, &["--mptcp"])?;
    let args = ["--sweep-cpu-percent", "100"];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;
    let mut held = client.hold(server.at_v6(8080), &["--mptcp"])?;
    // After its first data a connection stays one by MPTCP, whatever the path takes off.
    held.run_command("send 100")?;
    let subflows = Subflows::new(&client, &server, 8080, 1);
    agent.until("the first data has arrived", |metrics| {
        subflows.wire()?.expect_at_least_up(100)?;
        metrics.expect_at_least(RECEIVED, &subflows.ends.server, 100)
    })?;
    let strip = "tcp sport 8080 tcp flags == ack meta length < 120 reset tcp option mptcp";
    let stripped = Fault::on_output(&server, &[strip])?;
    held.run_command("send 50021")?;
    eventually("MPTCP has sent data again", || {
        let duplicates = server.counter("MPTcpExt", "DuplicateData")?;
        ensure!(duplicates >= 2, "{duplicates} so far");
        Ok(())
    })?;
    stripped.clear()?;
    let wire = || -> Result<Wire> {
        let wire = subflows.wire()?;
        wire.expect_at_least_up(50_122)?;
        Ok(wire)
    };
    agent.until("what was sent again counts", |metrics| {
        expect_connections(metrics, OPENED, &subflows.ends, 1)?;
        expect_connections(metrics, OPEN, &subflows.ends, 1)?;
        wire()?.expect(metrics, &subflows.ends)
    })?;
    let last = wire()?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_sent") == 50_121, "{outcome:?}");
    agent.until("it is closed, and nothing counts twice", |metrics| {
        expect_connections(metrics, CLOSED, &subflows.ends, 1)?;
        last.expect_closed(metrics, &subflows.ends)
    })?;
    agent.stop(Signal::TERM)
}

fn expect_connections(metrics: &Metrics, name: &str, ends: &Ends, count: u64) -> Result<()> {
    ends.both().iter().try_for_each(|edge| metrics.expect(name, edge, count))
}

/// Open connections by MPTCP at both ends, over IPv6, with one subflow each.
struct Subflows<'a> {
    client: &'a Pod,
    server: &'a Pod,
    port: u16,
    count: u64,
    ends: Ends,
}

impl<'a> Subflows<'a> {
    fn new(client: &'a Pod, server: &'a Pod, port: u16, count: u64) -> Self {
        Self { client, server, port, count, ends: Ends::v6(client, server, port) }
    }

    /// What the kernel has counted of them: more than the programs, when MPTCP sent data again.
    fn wire(&self) -> Result<Wire> {
        let of = |pod: &Pod, end: &str| -> Result<[u64; 2]> {
            let filter = format!("{end} = :{}", self.port);
            let all = pod.run("ss", &["--tcp", "-inHO", "state", "established", &filter], "")?;
            let ours: Vec<&str> = all.lines().filter(|line| line.contains("[fd77:")).collect();
            ensure!(
                ours.len() as u64 == self.count && ours.iter().all(|line| line.contains("mptcp")),
                "not {} subflows:\n{all}",
                self.count
            );
            let words = || ours.iter().flat_map(|line| line.split_whitespace());
            let sum = |name| words().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok()).sum();
            Ok([sum("bytes_acked:"), sum("bytes_received:")])
        };
        let ([acked, down], [server_acked, up]) = (of(self.client, "dport")?, of(self.server, "sport")?);
        // The acknowledgement of a client's SYN counts as one byte.
        Ok(Wire { sent: [acked.saturating_sub(self.count), server_acked], received: [down, up] })
    }
}

/// Payload as TCP has counted it, at the client and at the server.
#[derive(Debug)]
struct Wire {
    sent: [u64; 2],
    received: [u64; 2],
}

impl Wire {
    fn expect(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        for (name, values) in [(SENT, self.sent), (RECEIVED, self.received)] {
            for (edge, value) in ends.both().into_iter().zip(values) {
                metrics.expect_amount(name, edge, value, value)?;
            }
        }
        Ok(())
    }

    /// Fails unless programs can have exchanged this much in each direction.
    fn expect_at_least(&self, bytes: u64) -> Result<()> {
        self.expect_at_least_up(bytes)?;
        ensure!(self.received[0] >= bytes, "the server's {bytes} bytes are not all in {self:?}");
        Ok(())
    }

    fn expect_at_least_up(&self, bytes: u64) -> Result<()> {
        ensure!(self.received[1] >= bytes, "the client's {bytes} bytes are not all in {self:?}");
        Ok(())
    }

    /// Of connections that are closed since. On a loaded machine MPTCP may have sent some data again meanwhile; then the two
    /// ends still agree.
    fn expect_closed(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        let [client, server] = ends.both();
        for (from, to, received) in [(client, server, self.received[1]), (server, client, self.received[0])] {
            metrics.expect_between(RECEIVED, to, float(received), float(received) * 1.9)?;
            let (sent, received) = (metrics.on(SENT, from), metrics.on(RECEIVED, to));
            ensure!(sent == received, "{sent} bytes were sent from {from:?}, {received} received at {to:?}");
        }
        Ok(())
    }
}
