//! The dashboards: every query of them, put to a Prometheus that scraped the lab while everything it shows happened.

use std::{
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{
    agent::{Agent, Options},
    dns::{
        PORT,
        clients::{Resolver, dig},
        server::{self, Server},
    },
    eventually_within,
    faults::Fault,
    metrics::Sample,
    promql::Prometheus,
    scaled,
    topology::{Net, Pod},
};
use crate::render::{self, Choice};

const DASHBOARDS: [&str; 5] = [
    include_str!("../../../../deploy/grafana/incident.json"),
    include_str!("../../../../deploy/grafana/edges.json"),
    include_str!("../../../../deploy/grafana/dns.json"),
    include_str!("../../../../deploy/grafana/nodes.json"),
    include_str!("../../../../deploy/grafana/agents.json"),
];

/// Panels of what does not happen in this scenario, by dashboard: their queries are put, and may have no answer.
const QUIET: [(&str, &[&str]); 5] = [
    // Rules are not installed, and the server of DNS has no failures of its own.
    ("netcause-incident", &["Zones", "Nodes", "Pairs of nodes", "DNS without success"]),
    ("netcause-edges", &["UDP errors"]),
    ("netcause-dns", &["Servers: queries dropped or left", "Refused, abandoned, cut off"]),
    // There are no other nodes and no rules, and this node is well.
    (
        "netcause-nodes",
        &[
            "Loss, node by node",
            "Round-trip time, node by node",
            "Loss: worst pairs",
            "Loss: from node to zone",
            "Failed connects: worst pairs",
            "Zones that explain loss",
            "Nodes that explain loss",
            "Pairs of nodes that explain loss",
            "Packets dropped by full backlogs",
            "Receive work cut short",
            "Bytes that wait in queueing disciplines",
            "Neighbours: faults",
            "Changes of routes and addresses",
            "Packets dropped by queueing disciplines",
            "Packets dropped by devices",
            "Errors of devices",
            "Connection tracking: used",
            "Connection tracking: faults",
        ],
    ),
    // There is no Kubernetes, hence no source of names and no Events. Nothing is lost, and nothing exported.
    (
        "netcause-agents",
        &[
            "Lost by the kernel side",
            "Folded",
            "Not understood",
            "Lost lines and windows",
            "OTLP: lost",
            "OTLP: fullest queue",
            "OTLP: exported, and failed requests",
            "Events of findings",
            "Sources of names: oldest",
            "Sources of names: failures",
            "Objects that names come from",
        ],
    ),
];

/// The dashboard whose panels are best when they show zero.
const ITSELF: &str = "netcause-agents";

/// Panels of other dashboards that may show zero.
const ZERO: [&str; 3] = ["For the network and the nodes", "For the platform and DNS", "For applications"];

/// What the variable `failures` is where the recording rules are not installed; the drawn dashboards use the rules.
const FAILURES: &str = "netcause_tcp_connect_failures_total|netcause_tcp_retransmitted_segments_total|netcause_tcp_resets_total|netcause_dns_timeouts_total";

/// The first three bytes of addresses that the pods of this scenario have alone.
const OWN_NETWORK: &str = "10.95.7";

/// The lines that Kubernetes writes into a pod's `resolv.conf`.
const KUBERNETES: &str =
    "search here.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:60";

/// A query of a dashboard.
#[derive(Debug)]
struct Query {
    /// The dashboard and the title of its panel.
    panel: String,
    promql: String,
    expected: Expected,
}

/// What a query must be answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// No error.
    Answer,
    /// A number.
    Number,
    /// A number above zero.
    Positive,
}

/// Every query returns data, with classic and with native histograms, and those of traffic more than zero, when the variables select this scenario's pods.
pub(in super::super) fn every_query(name: &str) -> Result<()> {
    let dashboards: Vec<Value> = DASHBOARDS
        .iter()
        .map(|json| serde_json::from_str(json).context("reading a dashboard"))
        .collect::<Result<_>>()?;
    // One of its own, in which no other scenario has rows.
    let agent = Agent::start(name, "agent", &Options::default())?;
    let prometheus = Prometheus::start_with_rules(name, agent.address())?;
    let native = Prometheus::start_native(&format!("{name}-native"), agent.address())?;
    let began = Instant::now();
    let net = Net::new(name)?;
    let (client, server, dns, dead) =
        (net.pod("client")?, net.pod("server")?, net.pod("dns")?, net.pod("dead")?);
    let pods = client.workload().strip_suffix("client").context("the pod has another name")?;
    let pods = format!("{pods}.*");
    let at_clients = queries(&dashboards, "source", &pods)?;
    ensure!(at_clients.len() > 130, "only {} queries were found", at_clients.len());

    // Addresses that no other pod has: before Linux 6.11 those of a dropped packet are all that is known of it.
    client.also_at(&format!("{OWN_NETWORK}.2/24"))?;
    server.also_at(&format!("{OWN_NETWORK}.3/24"))?;
    let _servers = [
        server.serve("[::]:8080".parse()?, &["--mode", "echo"])?,
        server.serve(server.at(8082), &["--mode", "never-accept", "--backlog", "2"])?,
        server.serve(server.at(8086), &["--mode", "echo", "--think-ms", "400"])?,
        server.serve_udp(server.at(8083), &[])?,
        server.serve_udp(own_address(8084)?, &["--mode", "read-late", "--receive-buffer", "4096"])?,
    ];
    let _waiting = client.hold(server.at(8082), &["--count", "3"])?;
    // One that lives longer than a sweep, without which no time to answer is observed.
    let mut asking = client.hold(server.at(8086), &["--count", "1"])?;
    let _unbound = Server::start_with(&dns, &server::Options { silent: true, ..server::Options::default() })?;
    let lossy = "tcp dport 8080 meta length > 200 numgen random mod 100 < 10 drop";
    let _faults = [Fault::on_input(&server, &[lossy])?, Fault::on_input(&dead, &["udp dport 53 drop"])?];
    let limit = Duration::from_secs(scaled(90, 600));
    eventually_within(limit, "every query of the dashboards returns data", || {
        traffic_and_faults(&client, &server, &dns, &dead)?;
        asking.run_command("echo 64")?;
        // As long as two scrapes, without which nothing has a rate.
        thread::sleep(Duration::from_secs(2));
        let mut wrong = Vec::new();
        for (kind, prometheus) in [("classic", &prometheus), ("native", &native)] {
            for query in &at_clients {
                if let Err(error) = ask(prometheus, query) {
                    wrong.push(format!("with {kind} histograms: {error:#}\n{}", exposed(&agent, query)));
                }
            }
        }
        ensure!(wrong.is_empty(), "{} queries:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    })?;
    // Seen from the other end some have no answer, such as failed connects, but all are queries.
    for query in queries(&dashboards, "destination", &pods)? {
        for prometheus in [&prometheus, &native] {
            prometheus.query(&query.promql).with_context(|| query.panel.clone())?;
        }
    }
    drawn(&prometheus, &pods, began.elapsed().as_secs_f64())
}

/// Each dashboard is drawn, and nothing in it is absurd or does not fit.
fn drawn(prometheus: &Prometheus, pods: &str, seconds: f64) -> Result<()> {
    let choice = Choice {
        variables: [("workload".to_owned(), pods.to_owned())].into(),
        rate_interval: "15s".to_owned(),
        seconds,
        until: render::now()?,
        prefix: pods.trim_end_matches(".*").to_owned(),
    };
    let given = std::env::var_os("NETCAUSE_LAB_DASHBOARDS").map(PathBuf::from);
    let own = std::env::temp_dir().join(format!("netcause-lab-{}-dashboards", std::process::id()));
    let drawn = render::all(prometheus.api(), &choice, given.as_deref().unwrap_or(&own));
    if given.is_none() {
        // In the temporary directory: a leftover does no harm.
        let _ = std::fs::remove_dir_all(own);
    }
    let drawn = drawn?;
    eprintln!("dashboards: {}", drawn.summary);
    ensure!(drawn.problems.is_empty(), "{} problems:\n{}", drawn.problems.len(), drawn.problems.join("\n"));
    Ok(())
}

/// The server at its address in [`OWN_NETWORK`].
fn own_address(port: u16) -> Result<SocketAddr> {
    Ok(format!("{OWN_NETWORK}.3:{port}").parse()?)
}

/// Makes some of everything that the dashboards show.
fn traffic_and_faults(client: &Pod, server: &Pod, dns: &Pod, dead: &Pod) -> Result<()> {
    client.connect(own_address(8080)?, &["--count", "3", "--send", "200000", "--receive", "200000"])?;
    client.connect(server.at(8080), &["--count", "2", "--end", "reset"])?;
    let refused = client.connect(server.at(8085), &["--count", "2"])?;
    ensure!(refused.failed("ECONNREFUSED") == 2, "{refused:?}");
    client.connect(server.at(8082), &["--count", "2", "--parallel", "2", "--connect-timeout-ms", "300"])?;
    client.send_udp(server.at(8083), &["--count", "20"])?;
    client.send_udp(own_address(8084)?, &["--count", "50", "--size", "500"])?;
    Resolver::new(client, &[dns.v4.into()], KUBERNETES)?.resolve_all(&["web.lab.test", "only4.lab.test"])?;
    let again = scaled("+timeout=1", "+timeout=4");
    let dug = dig(client, dead.at(PORT), &["+tries=2", again, "web.lab.test"])?;
    ensure!(dug.timed_out == 2, "{dug:?}");
    Ok(())
}

fn ask(prometheus: &Prometheus, query: &Query) -> Result<()> {
    let samples = prometheus.query(&query.promql).with_context(|| query.panel.clone())?;
    let is_data = |value: f64| value.is_finite() && (value > 0.0 || query.expected == Expected::Number);
    let is_quiet = query.expected == Expected::Answer;
    ensure!(is_quiet || samples.iter().any(|(_, value)| is_data(*value)), "{query:?} is {samples:?}");
    Ok(())
}

/// What the agent has of the metrics of a query, as lines of a message.
fn exposed(agent: &Agent, query: &Query) -> String {
    let is_of_query =
        |sample: &Sample| query.promql.contains(&format!("{}{{", sample.name)) && sample.value != 0.0;
    agent.scrape().map_or_else(|error| format!("{error:#}"), |metrics| metrics.list(is_of_query))
}

/// All queries, those of variables included, with the variables filled in as Grafana does.
fn queries(dashboards: &[Value], reporter: &str, workload: &str) -> Result<Vec<Query>> {
    let fill_in = |text: &str| -> Result<String> {
        let filled = text
            .replace("$__rate_interval", "30s")
            .replace("${reporter}", reporter)
            .replace("$reporter", reporter)
            .replace("$namespace", ".*")
            .replace("$cluster", ".*")
            .replace("$node", ".*")
            .replace("$failures", FAILURES)
            .replace("$workload", workload);
        // Of label_replace.
        ensure!(
            !filled.replace("\"$1\"", "").contains('$'),
            "a variable that the lab does not know: {filled}"
        );
        Ok(filled)
    };
    let mut found = Vec::new();
    for dashboard in dashboards {
        let list = |pointer: &str| dashboard.pointer(pointer).and_then(Value::as_array).context("no list");
        let uid = dashboard.get("uid").and_then(Value::as_str).context("no uid")?;
        for variable in list("/templating/list")? {
            let Some(query) = variable.pointer("/query/query").and_then(Value::as_str) else { continue };
            let promql = fill_in(&variable_query(query)?)?;
            let panel = format!("{uid} / variable {}", variable["name"]);
            found.push(Query { panel, promql, expected: Expected::Positive });
        }
        for panel in list("/panels")? {
            let title = panel.get("title").and_then(Value::as_str).context("a panel without a title")?;
            if panel.get("type").is_some_and(|kind| kind == "row") {
                continue;
            }
            let targets =
                panel.get("targets").and_then(Value::as_array).context("a panel without queries")?;
            for target in targets {
                let promql =
                    target.get("expr").and_then(Value::as_str).context("a target without a query")?;
                let expected = match expected(uid, title) {
                    // Without observations it is nothing, and 0 where all of a native histogram are in its first bin.
                    Expected::Positive if promql.contains("histogram_quantile") => Expected::Number,
                    expected => expected,
                };
                found.push(Query { panel: format!("{uid} / {title}"), promql: fill_in(promql)?, expected });
            }
        }
    }
    Ok(found)
}

/// What Grafana asks Prometheus for to get the values of a variable.
fn variable_query(query: &str) -> Result<String> {
    let inside = |function: &str| query.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(promql) = inside("query_result") {
        return Ok(promql.to_owned());
    }
    let Some((series, label)) = inside("label_values").and_then(|parts| parts.rsplit_once(',')) else {
        bail!("the lab does not know how to ask for {query}");
    };
    Ok(format!("count by ({}) ({series})", label.trim()))
}

fn expected(dashboard: &str, title: &str) -> Expected {
    let is_quiet = QUIET.iter().any(|(uid, titles)| *uid == dashboard && titles.contains(&title));
    match () {
        () if is_quiet => Expected::Answer,
        () if dashboard == ITSELF || ZERO.contains(&title) => Expected::Number,
        () => Expected::Positive,
    }
}
