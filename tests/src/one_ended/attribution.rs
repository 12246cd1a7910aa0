//! What the rules of `deploy/prometheus` make of two real nodes: a real Prometheus scrapes the agents of both machines while the path
//! between them loses frames.
//!
//! A second pod of the server's machine is on a third node, as names have it, and the path loses nothing of it: one pair of nodes is
//! bad, and another one is good at the same time.

use std::{
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use super::{
    cases::Machines,
    stage::{End, NODES, Stage, address_of, names},
};
use crate::{
    lab::promql::{Api, Prometheus},
    render::{self, Choice},
};

/// The node of the good pair.
const THIRD: &str = "node-c";
/// Once all pairs have rates: nothing may be named meanwhile.
const WELL: Duration = Duration::from_secs(45);
/// From the begin of the loss until the rules name it, and how long they stay with it.
const LIMIT: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(30);
/// How long both agents have to be scraped twice.
const SCRAPED: Duration = Duration::from_secs(90);
const EVERY: Duration = Duration::from_secs(3);

/// What the rules can name.
const NAMED: &str = "{__name__=~\"netcause:(node_pair|node|zone_pair|zone|cluster)_loss:named\"}";
/// The tables that show it, with the number of rows that they have when one pair is named.
const TABLES: [(&str, &str, usize); 6] = [
    ("nodes", "Zones that explain loss", 0),
    ("nodes", "Nodes that explain loss", 0),
    ("nodes", "Pairs of nodes that explain loss", 1),
    ("incident", "Zones", 0),
    ("incident", "Nodes", 0),
    ("incident", "Pairs of nodes", 1),
];

/// `netcause-lab attribution`
#[derive(Args)]
pub(crate) struct Attribution {
    #[command(flatten)]
    machines: Machines,
    /// Where the agent of each machine is reached
    #[arg(long, value_name = "HOST:PORT", num_args = 2, required = true)]
    scrape: Vec<SocketAddr>,
    /// Draw the dashboards into this directory at the end
    #[arg(long, value_name = "DIRECTORY")]
    render: Option<PathBuf>,
}

impl Attribution {
    pub(crate) fn run(self) -> Result<()> {
        let pods = names(&["bad", "good"]);
        let server = format!("addresses: [{}]", address_of(End::B, 2));
        let third: Vec<String> = pods
            .lines()
            .map(|line| if line.contains(&server) { line.replace(NODES[1], THIRD) } else { line.to_owned() })
            .collect();
        let mut stage = self.machines.stage(&third.join("\n"), true)?;
        for number in [1, 2] {
            stage.set(number, 2)?;
            stage.serve(8080, "server --mode sink")?;
            stage.connect(8080, "--count 1000000 --parallel 1 --send 60000 --interval-ms 300")?;
        }
        let agents: Vec<(&str, SocketAddr)> = NODES.into_iter().zip(self.scrape).collect();
        let prometheus = Prometheus::start_of_nodes("attribution", &agents)?;
        let outcome = play(&mut stage, prometheus.api());
        if let Some(directory) = &self.render {
            let drawn = render::all(prometheus.api(), &choice()?, directory)?;
            println!("{}", drawn.summary);
        }
        outcome
    }
}

fn play(stage: &mut Stage, api: Api) -> Result<()> {
    let began = Instant::now();
    let sent = "netcause:node_pair_sent_segments:rate5m >= 500 / 300";
    while pairs(api, sent)?.len() < 2 {
        ensure!(began.elapsed() < SCRAPED, "no rates of both pairs: {:?}", pairs(api, sent)?);
        thread::sleep(EVERY);
    }
    println!("rates of both pairs after {:.0} s: {:?}", began.elapsed().as_secs_f64(), pairs(api, sent)?);
    let began = Instant::now();
    while began.elapsed() < WELL {
        thread::sleep(EVERY);
        let named = api.query(NAMED)?;
        ensure!(named.is_empty(), "named while nothing was lost: {named:?}");
    }
    stage.treat(&format!("forward lose=0.03 only={}", address_of(End::B, 1)))?;
    let (began, mut named_since) = (Instant::now(), None);
    loop {
        thread::sleep(EVERY);
        let named = api.query(NAMED)?;
        for (labels, share) in &named {
            let is_pair = labels["__name__"] == "netcause:node_pair_loss:named"
                && labels["node"] == NODES[0]
                && labels["peer_node"] == NODES[1];
            ensure!(is_pair, "named beside the pair that loses: {labels} {share}");
        }
        let is_named = !named.is_empty();
        if is_named && named_since.is_none() {
            println!("named after {:.0} s of loss: {named:?}", began.elapsed().as_secs_f64());
            named_since = Some(Instant::now());
        }
        ensure!(is_named || named_since.is_none(), "named no longer");
        if named_since.is_some_and(|since| since.elapsed() > SETTLE) {
            break;
        }
        ensure!(
            began.elapsed() < LIMIT,
            "not named; votes: {:?}",
            api.query("netcause:node_pair_loss:vote")?
        );
    }
    let loss = api.query("netcause:node_pair_loss:ratio_rate5m")?;
    println!("loss of pairs with five or more segments sent again: {loss:?}");
    let alerts = api.query("ALERTS{alertname=\"NetcauseNodePairLoss\"}")?;
    let [(alert, _)] = &alerts[..] else { bail!("one alert of the pair is due, not {alerts:?}") };
    println!("alert: {alert}");
    for (dashboard, table, expected) in TABLES {
        let rows = render::answers_of(api, &choice()?, dashboard, table)?;
        println!("{dashboard}, {table}: {} rows", rows.len());
        ensure!(rows.len() == expected, "{dashboard}, {table}: {rows:?}");
    }
    let cells = render::answers_of(api, &choice()?, "nodes", "Loss, node by node")?;
    let worst = cells.iter().max_by(|a, b| value(a).total_cmp(&value(b))).context("an empty matrix")?;
    println!("worst cell of the matrix: {worst}");
    ensure!(
        worst["metric"]["node"] == NODES[0] && worst["metric"]["peer_node"] == NODES[1],
        "another cell of the matrix is the worst: {worst}"
    );
    Ok(())
}

fn value(sample: &Value) -> f64 {
    sample["value"].as_f64().unwrap_or_default()
}

/// The pairs that a query returns, but those to the node of the client.
fn pairs(api: Api, promql: &str) -> Result<Vec<String>> {
    let name = |labels: &Value, key: &str| labels[key].as_str().unwrap_or_default().to_owned();
    let all = api.query(promql).unwrap_or_default();
    let pairs = all.iter().map(|(labels, _)| (name(labels, "node"), name(labels, "peer_node")));
    let from_client = pairs.filter(|(node, peer)| node == NODES[0] && [NODES[1], THIRD].contains(&&**peer));
    Ok(from_client.map(|(node, peer)| format!("{node} to {peer}")).collect())
}

fn choice() -> Result<Choice> {
    Ok(Choice {
        variables: [("cluster".to_owned(), ".*".to_owned())].into(),
        rate_interval: "1m".to_owned(),
        seconds: 240.0,
        until: render::now()?,
        prefix: String::new(),
    })
}
