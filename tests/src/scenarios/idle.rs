//! Idle flows: they expire, and may return.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams};
use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, Ends},
    metrics::{CLOSED, OPENED},
    scaled,
    topology::Net,
};

/// Idle flows leave the table and the exposition, flows with an open connection stay, and a flow that returns counts
/// from zero.
pub(super) fn flows(name: &str) -> Result<()> {
    const PORTS: u64 = 60;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8000), &["--mode", "echo", "--ports", &PORTS.to_string()])?;
    let _kept = server.serve(server.at(7000), &["--mode", "echo"])?;
    let _udp = server.serve_udp(server.at(5300), &[])?;
    let args = [
        "--flow-idle-seconds",
        scaled("2", "10"),
        "--sweep-interval-seconds",
        "1",
        "--sweep-cpu-percent",
        "100",
    ];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;

    let mut held = client.hold(server.at(7000), &["--count", "2"])?;
    held.run_command("echo 100")?;
    let (kept, first) = (Ends::v4(&client, &server, 7000), Ends::v4(&client, &server, 8000));
    let udp = Ends::v4(&client, &server, 5300);
    let ask = |bytes: &str| -> Result<(Crossed, Datagrams)> {
        let all = PORTS.to_string();
        let args = ["--ports", &all, "--count", &all, "--send", bytes, "--receive", bytes];
        let outcome = client.connect(server.at(8000), &args)?;
        ensure!(outcome.count("connected") == PORTS && outcome.count("broken") == 0, "{outcome:?}");
        let answered = client.send_udp(server.at(5300), &[&["--size", bytes], &ANSWER[..]].concat())?;
        let each = bytes.parse()?;
        Ok((Crossed::each(1, each, each), Datagrams::answered(&answered)?))
    };
    let expect = |(crossed, datagrams): (Crossed, Datagrams)| {
        agent.until("both ends have counted the traffic since the flow came", |metrics| {
            crossed.expect_closed(metrics, &first)?;
            datagrams.expect_answered(metrics, &udp)
        })
    };
    expect(ask("1009")?)?;
    agent.until("idle flows expire", |metrics| {
        for edge in first.both().into_iter().chain(udp.both()) {
            let left = metrics.samples.iter().filter(|sample| edge.matches(sample)).count();
            ensure!(left == 0, "{left} series of {edge:?}");
        }
        Ok(())
    })?;
    let open = Crossed::each(2, 100, 100);
    agent.until("a flow with open connections stays", |metrics| open.expect_open(metrics, &kept))?;
    // From zero, so the kernel's table had no entry of them any more: one that stays goes on from where it was.
    expect(ask("517")?)?;

    held.finish()?;
    agent.until("the flow expires once its connections are closed", |metrics| {
        for edge in kept.both() {
            metrics.expect(OPENED, edge, 0)?;
            metrics.expect(CLOSED, edge, 0)?;
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
