//! The dashboard: every query of it, put to a Prometheus that scraped the lab while everything it shows happened.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{
    agent,
    dns::{
        PORT,
        clients::{Resolver, dig},
        server::{Options, Server},
    },
    eventually_within,
    faults::Fault,
    promql::Prometheus,
    scaled,
    topology::{Net, Pod},
};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/netcause.json");

/// The row whose panels are best when they show zero.
const ITSELF: &str = "The agents themselves";

/// The lines that Kubernetes writes into a pod's `resolv.conf`.
const KUBERNETES: &str =
    "search here.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:60";

/// A query of the dashboard.
#[derive(Debug)]
struct Query {
    /// The row and the title of its panel.
    panel: String,
    promql: String,
    /// Whether its value must be above zero.
    positive: bool,
}

/// Every query returns data, and those of traffic more than zero, when the variables select this scenario's pods.
pub(in super::super) fn every_query(name: &str) -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).context("reading the dashboard")?;
    let agent = agent::shared()?;
    let prometheus = Prometheus::start(name, agent.address())?;
    let net = Net::new(name)?;
    let (client, server, dns, dead) =
        (net.pod("client")?, net.pod("server")?, net.pod("dns")?, net.pod("dead")?);
    let pods = client.workload().strip_suffix("client").context("the pod has another name")?;
    let pods = format!("{pods}.*");
    let at_clients = queries(&dashboard, "source", &pods)?;
    ensure!(at_clients.len() > 30, "only {} queries were found", at_clients.len());

    let _servers = [
        server.serve(server.at(8080), &["--mode", "echo"])?,
        server.serve(server.at(8082), &["--mode", "never-accept", "--backlog", "2"])?,
        server.serve_udp(server.at(8083), &[])?,
        server.serve_udp(server.at(8084), &["--mode", "read-late", "--receive-buffer", "4096"])?,
    ];
    let _waiting = client.hold(server.at(8082), &["--count", "3"])?;
    let _unbound = Server::start_with(&dns, &Options { silent: true, ..Options::default() })?;
    let lossy = "tcp dport 8080 meta length > 200 numgen random mod 100 < 10 drop";
    let _faults = [Fault::on_path(&net, &client, &[lossy])?, Fault::on_input(&dead, &["udp dport 53 drop"])?];
    let limit = Duration::from_secs(scaled(90, 600));
    eventually_within(limit, "every query of the dashboard returns data", || {
        traffic_and_faults(&client, &server, &dns, &dead)?;
        // As long as two scrapes, without which nothing has a rate.
        thread::sleep(Duration::from_secs(2));
        let wrong: Vec<String> = at_clients
            .iter()
            .filter_map(|query| Some(format!("{:#}", ask(&prometheus, query).err()?)))
            .collect();
        ensure!(wrong.is_empty(), "{} queries:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    })?;
    // Seen from the other end some have no answer, such as failed connects, but all are queries.
    for query in queries(&dashboard, "destination", &pods)? {
        prometheus.query(&query.promql).with_context(|| query.panel.clone())?;
    }
    Ok(())
}

/// Makes some of everything that the dashboard shows.
fn traffic_and_faults(client: &Pod, server: &Pod, dns: &Pod, dead: &Pod) -> Result<()> {
    client.connect(server.at(8080), &["--count", "3", "--send", "200000", "--receive", "200000"])?;
    client.connect(server.at(8080), &["--count", "2", "--end", "reset"])?;
    let refused = client.connect(server.at(8085), &["--count", "2"])?;
    ensure!(refused.failed("ECONNREFUSED") == 2, "{refused:?}");
    client.connect(server.at(8082), &["--count", "2", "--parallel", "2", "--connect-timeout-ms", "300"])?;
    client.send_udp(server.at(8083), &["--count", "20"])?;
    client.send_udp(server.at(8084), &["--count", "50", "--size", "500"])?;
    Resolver::new(client, &[dns.v4.into()], KUBERNETES)?.resolve_all(&["web.lab.test", "only4.lab.test"])?;
    let again = scaled("+timeout=1", "+timeout=4");
    let dug = dig(client, dead.at(PORT), &["+tries=2", again, "web.lab.test"])?;
    ensure!(dug.timed_out == 2, "{dug:?}");
    Ok(())
}

fn ask(prometheus: &Prometheus, query: &Query) -> Result<()> {
    let samples = prometheus.query(&query.promql).with_context(|| query.panel.clone())?;
    let is_data = |value: f64| value.is_finite() && (value > 0.0 || !query.positive);
    ensure!(samples.iter().any(|(_, value)| is_data(*value)), "{query:?} is {samples:?}");
    Ok(())
}

/// All queries, those of variables included, with the variables filled in as Grafana does.
fn queries(dashboard: &Value, reporter: &str, workload: &str) -> Result<Vec<Query>> {
    let fill_in = |text: &str| -> Result<String> {
        let filled = text
            .replace("$__rate_interval", "30s")
            .replace("${reporter}", reporter)
            .replace("$reporter", reporter)
            .replace("$namespace", ".*")
            .replace("$workload", workload);
        ensure!(!filled.contains('$'), "a variable that the lab does not know: {filled}");
        Ok(filled)
    };
    let mut found = Vec::new();
    let list = |pointer: &str| dashboard.pointer(pointer).and_then(Value::as_array).context("no list");
    for variable in list("/templating/list")? {
        let Some(query) = variable.pointer("/query/query").and_then(Value::as_str) else { continue };
        let parts = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let Some((series, label)) = parts.and_then(|parts| parts.rsplit_once(',')) else {
            bail!("the lab does not know how to ask for {query}");
        };
        let promql = fill_in(&format!("count by ({}) ({series})", label.trim()))?;
        found.push(Query { panel: format!("variable {}", variable["name"]), promql, positive: true });
    }
    let mut row = "";
    for panel in list("/panels")? {
        let title = panel.get("title").and_then(Value::as_str).context("a panel without a title")?;
        if panel.get("type").is_some_and(|kind| kind == "row") {
            row = title;
            continue;
        }
        for target in panel.get("targets").and_then(Value::as_array).context("a panel without queries")? {
            let promql = target.get("expr").and_then(Value::as_str).context("a target without a query")?;
            found.push(Query {
                panel: format!("{row} / {title}"),
                promql: fill_in(promql)?,
                positive: row != ITSELF,
            });
        }
    }
    Ok(found)
}
