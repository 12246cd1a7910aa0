//! Slow answers: within the timeout of the agent and after it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::Pair;
use crate::lab::{
    agent::{self, Agent, Options, ROOM},
    crossed::Ends,
    dns::{
        PORT,
        clients::{Dig, ONE_TRY},
        counted::{Counted, DURATION, QUERIES, SERVER_DURATION, Served, TIMEOUTS, exactly},
        server::Server,
    },
    metrics::{Edge, float},
    topology::Net,
};

/// The time that a paused server takes to answer shows in the latency at the client and at the server.
pub(in super::super) fn delayed(name: &str) -> Result<()> {
    const STANDSTILL: Duration = Duration::from_millis(400);
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let ends = Ends::v4(&client, &pod, PORT);
    server.pause()?;
    let began = Instant::now();
    let dig = Dig::start(&client, pod.at(PORT), &[&ONE_TRY[..], &["web.lab.test"]].concat())?;
    agent.until("the query is sent", |metrics| exactly(metrics, QUERIES, &ends.client, 1))?;
    thread::sleep(STANDSTILL);
    server.resume()?;
    let dug = dig.finish()?;
    let most = began.elapsed();
    dug.expect(&[("NOERROR", 1)])?;
    // dig reads a coarse clock after it has sent the query.
    let felt = Duration::from_millis(dug.took_ms.iter().sum());
    ensure!(felt + Duration::from_millis(20) >= STANDSTILL, "{dug:?}");

    let v4 = Counted::of(&[("A", 1)], &[("NOERROR", 1)]);
    let pair = Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("the answer took as long as it did", |metrics| {
        pair.expect(metrics)?;
        let at_client = metrics.on(&format!("{DURATION}_sum"), &ends.client);
        let at_server = metrics.on(&format!("{SERVER_DURATION}_sum"), &Edge::listener(&pod, PORT));
        ensure!(
            STANDSTILL.as_secs_f64() <= at_server
                && at_server <= at_client
                && at_client <= most.as_secs_f64(),
            "{at_server} s at the server, {at_client} s at the client, {felt:?} by dig, {most:?} in all"
        );
        Ok(())
    })
}

/// Answers after the timeout of the agent count as timeouts and as late answers.
pub(in super::super) fn late(name: &str) -> Result<()> {
    let agent = Agent::start(
        name,
        "agent",
        &Options { env: &[("NETCAUSE_DNS_TIMEOUT_SECONDS", "1"), ROOM], ..Options::default() },
    )?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let ends = Ends::v4(&client, &pod, PORT);
    server.pause()?;
    let questions = ["web.lab.test", "nowhere.lab.test"];
    let digs =
        questions.map(|question| Dig::start(&client, pod.at(PORT), &[&ONE_TRY[..], &[question]].concat()));
    agent.until("two timeouts", |metrics| exactly(metrics, TIMEOUTS, &ends.client, 2))?;
    server.resume()?;
    let mut answers = 0;
    for dig in digs {
        answers += dig?.finish()?.answers.all();
    }
    ensure!(answers == 2, "{answers} answers");

    let codes = [("NOERROR", 1), ("NXDOMAIN", 1)];
    let counted = Counted { timeouts: 2, late: 2, ..Counted::of(&[("A", 2)], &codes) };
    // The agent gives a server longer than a client's timeout, so nothing is unanswered.
    let served = Served::to(&counted);
    agent.until("two late answers", |metrics| {
        counted.expect_at_client(metrics, &ends.client)?;
        served.expect_at_server(metrics, &Edge::listener(&pod, PORT))?;
        let waited = metrics.on(&format!("{DURATION}_sum"), &ends.client);
        ensure!(waited >= float(2), "two answers after more than a second each took {waited} s");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
