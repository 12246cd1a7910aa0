//! DNS over TCP: after truncation, several messages in one connection, messages in several segments, and lost segments.

use anyhow::{Result, ensure};

use super::Pair;
use crate::lab::{
    agent,
    dns::{
        PORT,
        clients::{ONE_TRY, dig, dnsperf},
        counted::Counted,
        server::{Options, Server},
    },
    faults::Fault,
    metrics::{CLOSED, Edge},
    scaled,
    topology::Net,
};

/// A truncated answer and the query repeated over TCP are counted; with EDNS nothing is truncated.
pub(in super::super) fn truncated(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let ask = |to, more: &[&str]| dig(&client, to, &[&ONE_TRY[..], more, &["big.lab.test", "TXT"]].concat());
    for to in [pod.at(PORT), pod.at_v6(PORT)] {
        let dug = ask(to, &["+noedns"])?;
        ensure!((dug.truncated, dug.answers.get("NOERROR")) == (1, 1), "{dug:?}");
        let dug = ask(to, &["+bufsize=1232"])?;
        ensure!((dug.truncated, dug.answers.get("NOERROR")) == (0, 1), "{dug:?}");
    }
    let log = server.finish()?;
    ensure!((log.queries.get("TXT"), log.answers.get("NOERROR")) == (6, 6), "the server says {log:?}");

    let counted = Counted { truncated: 1, ..Counted::of(&[("TXT", 3)], &[("NOERROR", 3)]) };
    let pair = Pair { client: &client, server: &pod, v4: counted.clone(), v6: counted };
    agent.until("truncated answers and repeated queries are counted", |metrics| pair.expect(metrics))
}

/// Every message of a connection is counted, with answers that span several segments.
pub(in super::super) fn many_messages(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    // The answer with the long text has three segments.
    client.run("ip", &["route", "add", &format!("{}/32", pod.v4), "dev", "eth0", "advmss", "300"], "")?;
    let server = Server::start(&pod)?;
    let rounds = 3;
    let round = [
        "-q",
        "web.lab.test",
        "-t",
        "A",
        "-q",
        "big.lab.test",
        "-t",
        "TXT",
        "-q",
        "nowhere.lab.test",
        "-t",
        "AAAA",
    ];
    let before = client.counter("Tcp", "ActiveOpens")?;
    let dug =
        dig(&client, pod.at(PORT), &[&ONE_TRY[..], &["+tcp", "+keepopen"], &round.repeat(rounds)].concat())?;
    let rounds = rounds as u64;
    dug.expect(&[("NOERROR", 2 * rounds), ("NXDOMAIN", rounds)])?;
    let opened = client.counter("Tcp", "ActiveOpens")? - before;
    ensure!(opened == 1, "{opened} connections, not one");
    let log = server.finish()?;
    ensure!(log.queries.all() == 3 * rounds, "the server says {log:?}");

    let v4 = Counted::of(
        &[("A", rounds), ("TXT", rounds), ("AAAA", rounds)],
        &[("NOERROR", 2 * rounds), ("NXDOMAIN", rounds)],
    );
    let pair = Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("every message of the connection is counted", |metrics| {
        pair.expect(metrics)?;
        metrics.expect(CLOSED, &Edge::at_client(&client, pod.v4, PORT), 1)
    })
}

/// Pipelined queries over a few TCP connections are all counted.
pub(in super::super) fn pipelined(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = Server::start_with(&pod, &Options { silent: true, ..Options::default() })?;
    let count = scaled(5000, 500);
    let load = dnsperf(&client, pod.at_v6(PORT), count, &["-m", "tcp", "-c", "3", "-q", "60", "-t", "60"])?;
    ensure!((load.sent, load.completed, load.lost) == (count, count, 0), "{load:?}");

    let v6 = Counted::of(&[("A", count)], &[("NOERROR", count)]);
    let pair = Pair { client: &client, server: &pod, v4: Counted::default(), v6 };
    agent.until("every message is counted", |metrics| pair.expect(metrics))
}

/// Queries in retransmitted segments are counted once.
pub(in super::super) fn lost_segments(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    // Drops every third segment with payload; a retransmitted one may be dropped again.
    let rule = "tcp dport 53 meta length > 80 numgen inc mod 3 == 1 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    let count = 12;
    let questions = ["web.lab.test"].repeat(count);
    let before = client.retransmitted()?;
    let dug = dig(&client, pod.at(PORT), &[&ONE_TRY[..], &["+tcp", "+keepopen"], &questions].concat())?;
    dug.expect(&[("NOERROR", count as u64)])?;
    ensure!(client.retransmitted()? > before, "nothing was lost");
    let log = server.finish()?;
    ensure!(log.queries.get("A") == count as u64, "the server says {log:?}");

    let v4 = Counted::of(&[("A", count as u64)], &[("NOERROR", count as u64)]);
    let pair = Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("retransmitted queries are counted once", |metrics| pair.expect(metrics))
}

/// Queries whose segment also completes the handshake, because the ACK was lost, are counted, although at that moment
/// they belong to the listening socket.
pub(in super::super) fn completes_handshake(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, pod) = Net::pair(name)?;
    let _server = Server::start_with(&pod, &Options { silent: true, ..Options::default() })?;
    // Drops every pure ACK: answers are acknowledged by the next queries and by the FIN.
    let bare = "tcp dport 53 tcp flags & (syn|fin|rst|psh|ack) == ack counter drop";
    let fault = Fault::on_path(&net, &client, &[bare])?;
    let (connections, count) = (8, 40);
    let at_once = connections.to_string();
    for to in [pod.at(PORT), pod.at_v6(PORT)] {
        let load = dnsperf(&client, to, count, &["-m", "tcp", "-c", &at_once, "-q", &at_once, "-t", "60"])?;
        ensure!((load.sent, load.completed, load.lost) == (count, count, 0), "{load:?}");
    }
    let lost: u64 = fault.counted()?.iter().sum();
    ensure!(lost >= 2 * connections, "{lost} acknowledgements were lost, of {connections} connections twice");

    let counted = Counted::of(&[("A", count)], &[("NOERROR", count)]);
    let pair = Pair { client: &client, server: &pod, v4: counted.clone(), v6: counted };
    agent.until("queries that complete handshakes count", |metrics| pair.expect(metrics))
}
