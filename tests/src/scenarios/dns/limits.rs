//! Full tables and an agent that does not read: every query passes, and every one is counted.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options, ROOM},
    crossed::Ends,
    dns::{
        PORT,
        clients::dnsperf,
        counted::{DURATION, QUERIES, RESPONSES, exactly},
        server::{self, Server},
    },
    metrics::{Metrics, OTHER, float},
    topology::Net,
};

const UNTRACKED: &str = "netcause_dns_untracked_queries_total";
const SERVER_QUERIES: &str = "netcause_dns_server_queries_total";

/// Queries beyond the limit of waiting queries count as untracked; their answers count, without latency.
pub(in super::super) fn waiting_queries(name: &str) -> Result<()> {
    const ROOM_FOR: u64 = 16;
    const ASKED: u64 = 60;
    let env = [("NETCAUSE_MAX_PENDING_DNS_QUERIES", "16"), ("NETCAUSE_DNS_TIMEOUT_SECONDS", "60"), ROOM];
    let agent = Agent::start(name, "agent", &Options { env: &env, ..Options::default() })?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let edge = Ends::v4(&client, &pod, PORT).client;
    server.pause()?;
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| dnsperf(&client, pod.at(PORT), ASKED, &["-q", "100", "-t", "200"]));
        let asked = agent.until("all queries are counted", |metrics| exactly(metrics, QUERIES, &edge, ASKED));
        server.resume()?;
        let load = load.join().map_err(|_| anyhow::anyhow!("dnsperf's thread panicked"))??;
        ensure!((load.sent, load.completed) == (ASKED, ASKED), "{load:?}");
        asked
    })?;
    agent.until("queries beyond the limit count as untracked, and their answers count", |metrics| {
        exactly(metrics, RESPONSES, &edge, ASKED)?;
        let untracked = metrics.on(UNTRACKED, &edge);
        // The machine's own queries take room as well.
        ensure!(untracked >= float(ASKED - ROOM_FOR) && untracked < float(ASKED), "{untracked} untracked");
        let durations = metrics.on(&format!("{DURATION}_count"), &edge);
        ensure!(durations + untracked == float(ASKED), "{durations} durations, {untracked} untracked");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

/// With hardly any room for DNS flows and an agent that does not read its events, the sums are conserved.
pub(in super::super) fn flows(name: &str) -> Result<()> {
    const ASKED: u64 = 500;
    let env = [("NETCAUSE_MAX_DNS_FLOWS", "3"), ROOM];
    let agent = Agent::start(name, "agent", &Options { env: &env, ..Options::default() })?;
    let net = Net::new(name)?;
    let (client, other, pod) = (net.pod("client")?, net.pod("other")?, net.pod("server")?);
    let _server = Server::start_with(&pod, &server::Options { silent: true, ..Default::default() })?;
    let count = |metrics: &Metrics| [QUERIES, SERVER_QUERIES].map(|name| metrics.sum(name, &[]));
    let before = count(&agent.scrape()?);
    agent.signal(Signal::STOP)?;
    let loads = [(&client, pod.at(PORT)), (&client, pod.at_v6(PORT)), (&other, pod.at(PORT))]
        .map(|(pod, server)| dnsperf(pod, server, ASKED, &["-q", "20", "-t", "60"]));
    agent.signal(Signal::CONT)?;
    for load in loads {
        let load = load?;
        ensure!((load.sent, load.completed) == (ASKED, ASKED), "{load:?}");
    }
    agent.until("the sums are conserved", |metrics| {
        for (is, was) in count(metrics).into_iter().zip(before) {
            // The machine asks now and then as well.
            let counted = is - was;
            ensure!((float(3 * ASKED)..float(4 * ASKED)).contains(&counted), "{counted} queries");
        }
        let folded = metrics.total(QUERIES, |sample| sample.labels.values().any(|value| value == OTHER));
        ensure!(folded > 0.0, "nothing went to `other`");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
