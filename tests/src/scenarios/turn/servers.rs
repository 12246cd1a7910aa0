//! Whose turn it is with servers that were not written for the lab.

use anyhow::{Result, ensure};

use super::{RESPONSES, WAITING, agent, expect};
use crate::lab::{
    crossed::Ends,
    metrics::{Edge, Metrics, float},
    servers::{Haproxy, Nginx, Postgres, Redis},
    topology::{Client, Net},
};

/// The programs, each with an argument that makes it succeed.
pub(in super::super) const PROGRAMS: &[(&str, &str)] = &[
    ("postgres", "--version"),
    ("initdb", "--version"),
    ("unshare", "--version"),
    ("redis-server", "--version"),
    ("nginx", "-v"),
    ("haproxy", "-v"),
];

/// Ports of the two servers: the second one stands still as a whole.
const REDIS: u16 = 6379;
const BUSY: u16 = 6380;
/// By how much a response may differ from what its client has measured, in seconds: two ticks of the slowest kernel, and what a busy
/// machine takes to wake the client.
const SLACK: f64 = 0.05;

/// The connections of an edge wait for these and for nothing else.
fn expect_each(metrics: &Metrics, edge: &Edge, turns: &[(&str, u64)]) -> Result<()> {
    for (on, connections) in turns {
        metrics.expect(WAITING, &edge.with("on", on), *connections)?;
    }
    metrics.expect(WAITING, edge, turns.iter().map(|(_, connections)| connections).sum())
}

/// Lets all ask at the same time and waits for all answers.
fn ask_all(clients: &mut [(Client, &str)]) -> Result<()> {
    clients.iter_mut().try_for_each(|(client, request)| client.send_command(request))?;
    clients.iter().try_for_each(|(client, _)| client.wait_all_done())
}

/// PostgreSQL, Redis, and nginx behind HAProxy: who thinks and who waits, and how long answers take, by their clients' own clocks.
pub(in super::super) fn real(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, database, store) = (net.pod("client")?, net.pod("postgres")?, net.pod("redis")?);
    let (front, back) = (net.pod("haproxy")?, net.pod("nginx")?);
    let agent = agent(name)?;
    let _postgres = Postgres::start(&database)?;
    let (_redis, _busy) = (Redis::start(&store, REDIS)?, Redis::start(&store, BUSY)?);
    let _nginx = Nginx::start(&back, &[("slow", 46), ("stuck", 1)])?;
    let _haproxy = Haproxy::start(&front, back.at(Nginx::PORT))?;

    let postgres = Ends::v4(&client, &database, Postgres::PORT);
    let [redis, busy] = [REDIS, BUSY].map(|port| Ends::v4(&client, &store, port));
    let [fronts, backs] = [Ends::v4(&client, &front, Haproxy::PORT), Ends::v4(&front, &back, Nginx::PORT)];
    let at_postgres = || client.ask(database.at(Postgres::PORT), "postgres");
    let at_redis = |port| client.ask(store.at(port), "redis");
    let at_front = || client.ask(front.at(Haproxy::PORT), "http");

    let mut askers = [
        (at_postgres()?, "select pg_sleep(1.3)"),
        (at_redis(REDIS)?, "blpop nothing 1.3"),
        (at_redis(BUSY)?, "debug sleep 1.3"),
        (at_front()?, "/slow"),
    ];
    // The first request for it is answered at once.
    askers[3].0.run_command("/slow")?;
    ask_all(&mut askers)?;
    agent.until("connections are kept alive between requests", |metrics| {
        for edge in [&postgres, &redis, &busy, &fronts, &backs].iter().flat_map(|ends| ends.both()) {
            expect(metrics, edge, "idle", 1)?;
            metrics.expect_at_least(&format!("{RESPONSES}_count"), edge, 1)?;
        }
        Ok(())
    })?;
    let metrics = agent.scrape()?;

    // One of each server is asked what it does not answer for long; others are kept alive, or listen.
    let mut listens = at_redis(REDIS)?;
    listens.run_command("subscribe news")?;
    let mut hangs = [
        (at_postgres()?, "select pg_sleep(600)"),
        (at_redis(REDIS)?, "blpop nothing 600"),
        (at_redis(BUSY)?, "debug sleep 600"),
        (at_front()?, "/stuck"),
    ];
    let mut stands = at_redis(BUSY)?;
    stands.run_command("ping")?;
    for _ in 0..3 {
        askers[1].0.run_command("publish news hello")?;
        listens.run_command("")?;
    }
    hangs[3].0.run_command("/stuck")?;
    for (client, request) in &mut hangs {
        client.send_command(request)?;
    }
    // Redis takes nothing more from anybody once it sleeps.
    agent.until("servers think", |metrics| {
        for (ends, idle) in [(&postgres, 1), (&redis, 2), (&busy, 2), (&fronts, 1), (&backs, 0)] {
            expect_each(metrics, &ends.client, &[("peer_application", 1), ("idle", idle)])?;
            expect_each(metrics, &ends.server, &[("local_application", 1), ("idle", idle)])?;
        }
        Ok(())
    })?;
    stands.send_command("ping")?;
    agent.until("a server that stands still does not read", |metrics| {
        expect_each(metrics, &busy.client, &[("peer_application", 2), ("idle", 1)])?;
        expect_each(metrics, &busy.server, &[("local_application", 1), ("local_reader", 1), ("idle", 1)])
    })?;

    let all: [&[&Ends]; 4] = [&[&postgres], &[&redis], &[&busy], &[&fronts, &backs]];
    for ((asker, request), edges) in askers.into_iter().zip(all) {
        // This one has had quick answers since then, but the metrics are older.
        let took = float(asker.finish()?.count("waited_us")) / 1e6;
        for edge in edges.iter().flat_map(|ends| ends.both()) {
            let seen = metrics.on(&format!("{RESPONSES}_sum"), edge);
            ensure!((seen - took).abs() <= SLACK, "{request}: {took} s, but {seen} s: {edge:?}");
        }
    }
    Ok(())
}
