//! The export by OTLP, through a real collector and a real broker: what a consumer reads at its end is what the agent counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{
    agent::{Agent, Options},
    collector::{self, Broker, Collector},
    eventually_within,
    findings::{self, Finding, Wanted},
    metrics::{FAILURES, Metrics, OPENED},
    promql::free_port,
    topology::{Net, Pod},
};

/// What the scenario needs.
pub(super) const PROGRAMS: &[(&str, &str)] = collector::PROGRAMS;

/// With the collector away for longer than the queue holds, then there, with its broker standing still, and away for a moment: every
/// finding is read at the end of it, every metric with its last value, and as many data points as the agent says.
pub(super) fn pipeline(name: &str) -> Result<()> {
    let broker = Broker::start()?;
    let at = free_port()?;
    let endpoint = format!("http://{at}");
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8081), &[])?;
    let args = [
        "--otlp-endpoint",
        &endpoint,
        "--otlp-interval-seconds",
        "1",
        "--otlp-queue-kib",
        "64",
        "--otlp-cluster-name",
        "lab",
    ];
    let options = Options { args: &args, without_dns: true, ..Options::default() };
    let agent = Agent::start(name, "agent", &options)?;
    refuse(&agent, &client, &server)?;
    agent.until_within(
        Duration::from_secs(40),
        "the queue of metrics is full, findings wait",
        |metrics| {
            ensure!(
                counted(metrics, "failures", "metrics", Some("unreachable")) > 0.0,
                "no failure is counted"
            );
            ensure!(counted(metrics, "dropped", "metrics", Some("queue_full")) > 0.0, "nothing is dropped");
            ensure!(
                metrics.sum("netcause_otlp_queue_bytes", &[("signal", "metrics")]) <= 65_536.0,
                "too much waits"
            );
            ensure!(waiting(metrics, "findings") >= 1.0, "no finding waits");
            ensure!(
                exported(metrics, "metrics") + exported(metrics, "findings") == 0.0,
                "something was sent"
            );
            Ok(())
        },
    )?;
    let collector = Collector::start(at, &broker)?;
    eventually_within(Duration::from_secs(40), "findings have arrived", || {
        let metrics = agent.scrape()?;
        ensure!(waiting(&metrics, "findings") == 0.0 && exported(&metrics, "findings") >= 1.0, "they wait");
        ensure!(exported(&metrics, "metrics") > 0.0, "metrics wait");
        Ok(())
    })?;
    // The collector keeps what its broker does not take.
    broker.stand_still(true)?;
    let outcome = client.connect(server.at(8081), &["--count", "17"])?;
    ensure!(outcome.count("connected") == 17, "{outcome:?}");
    let limit = Duration::from_secs(40);
    agent.until_within(limit, "the connections are counted", |metrics| opened(metrics, &client))?;
    broker.stand_still(false)?;
    passed_on(&agent, &broker)?;
    collector.stop()?;
    let before = exported(&agent.scrape()?, "metrics");
    let collector = Collector::start(at, &broker)?;
    // Two exports, of which the second began after everything above.
    let interval = Duration::from_secs(40);
    for _ in 0..2 {
        let before = before.max(exported(&agent.scrape()?, "metrics"));
        eventually_within(interval, "metrics are exported again", || {
            let metrics = agent.scrape()?;
            ensure!(exported(&metrics, "metrics") > before && waiting(&metrics, "metrics") == 0.0, "not yet");
            Ok(())
        })?;
    }
    // Later ones may be of the agent itself, to which the collector no longer answers.
    let all = findings::all(&agent)?;
    passed_on(&agent, &broker)?;
    collector.stop()?;
    thread::sleep(Duration::from_millis(1200));
    let metrics = agent.scrape()?;
    compare_metrics(&metrics, &broker.metrics()?, &agent, &client)?;
    compare_findings(&metrics, &broker.logs()?, &all)?;
    end(&agent, &client, &server, at, &broker)
}

/// The agent ends while it waits to try again, up to 30 s: what was counted last is read nevertheless, and as soon as there is a collector.
fn end(agent: &Agent, client: &Pod, server: &Pod, at: SocketAddr, broker: &Broker) -> Result<()> {
    let outcome = client.connect(server.at(8081), &["--count", "5"])?;
    ensure!(outcome.count("connected") == 5, "{outcome:?}");
    let collector = Collector::start(at, broker)?;
    agent.stop(Signal::TERM)?;
    eventually_within(Duration::from_secs(20), "the broker has the last connections", || {
        let messages = broker.metrics()?;
        let points = points(&messages)?;
        let of_edge = points.get(OPENED).into_iter().flatten().filter(|point| is_of(point, client, "8081"));
        let most = of_edge.map(|point| number(&point["asInt"])).fold(0.0, f64::max);
        ensure!(most == 22.0, "{most} connections of 22:\n{}", agent.log());
        Ok(())
    })?;
    collector.stop()
}

/// Whether a data point is of the client's edge to this port.
fn is_of(point: &Value, client: &Pod, port: &str) -> bool {
    let labels = attributes(&point["attributes"]);
    of_edge(client, port).iter().all(|(key, value)| labels.get(*key).is_some_and(|label| label == value))
}

fn of_edge<'a>(client: &'a Pod, port: &'a str) -> [(&'static str, &'a str); 3] {
    [("reporter", "source"), ("source_workload", client.workload()), ("destination_port", port)]
}

/// Until a finding says that nobody listens there.
fn refuse(agent: &Agent, client: &Pod, server: &Pod) -> Result<()> {
    let args = ["--count", "1000000", "--send", "10", "--interval-ms", "100"];
    let _traffic = client.start_client(server.at(8080), &args)?;
    let wanted = Wanted {
        cause: "connection_refused",
        side: "server",
        kind: "edge",
        client: Some(client),
        server: Some(server),
    };
    findings::expect(agent, &wanted, &[client, server], Duration::from_secs(60)).map(drop)
}

/// Until the broker has what was exported before now: the collector says that it has something before it has passed it on, and when it ends
/// it does not wait for a broker that is slow.
fn passed_on(agent: &Agent, broker: &Broker) -> Result<()> {
    let before = exported(&agent.scrape()?, "metrics");
    eventually_within(Duration::from_secs(60), "the broker has what was exported", || {
        let read = points(&broker.metrics()?)?.values().map(Vec::len).sum::<usize>();
        ensure!(read as f64 >= before, "{read} data points of {before}");
        Ok(())
    })
}

fn counted(metrics: &Metrics, what: &str, signal: &str, reason: Option<&str>) -> f64 {
    let labels = [("signal", signal), ("reason", reason.unwrap_or_default())];
    metrics.sum(&format!("netcause_otlp_{what}_total"), &labels[..1 + usize::from(reason.is_some())])
}

fn exported(metrics: &Metrics, signal: &str) -> f64 {
    counted(metrics, "exported", signal, None)
}

fn waiting(metrics: &Metrics, signal: &str) -> f64 {
    metrics.sum("netcause_otlp_queue_items", &[("signal", signal)])
}

fn opened(metrics: &Metrics, client: &Pod) -> Result<()> {
    let opened = metrics.sum(OPENED, &of_edge(client, "8081"));
    let of_client = |value: &str| value == client.workload();
    ensure!(
        opened == 17.0,
        "{opened} connections:\n{}",
        metrics.list(|sample| {
            sample.name.starts_with("netcause_tcp_conne")
                && sample.labels.get("source_workload").is_some_and(of_client)
        })
    );
    Ok(())
}

/// A metric in a message: `name`, and its points.
type Points<'a> = BTreeMap<&'a str, Vec<&'a Value>>;

fn points(messages: &[Value]) -> Result<Points<'_>> {
    let mut all = Points::new();
    for resource in messages.iter().filter_map(Value::as_array).flatten() {
        let of = attributes(&resource["resource"]["attributes"]);
        ensure!(
            of.get("service.name").is_some_and(|name| name == "netcause")
                && of.get("k8s.cluster.name").is_some_and(|name| name == "lab"),
            "{of:?}"
        );
        let scopes = resource["scopeMetrics"].as_array().context("no scopes")?;
        for metric in scopes.iter().filter_map(|scope| scope["metrics"].as_array()).flatten() {
            let name = metric["name"].as_str().context("a metric without a name")?;
            let data =
                ["sum", "gauge", "histogram"].iter().find_map(|kind| metric[kind]["dataPoints"].as_array());
            all.entry(name).or_default().extend(data.with_context(|| format!("no points: {metric}"))?);
        }
    }
    Ok(all)
}

/// Attributes with text, a number as its digits.
fn attributes(list: &Value) -> BTreeMap<String, String> {
    let pair = |pair: &Value| {
        let value = pair["value"].as_object()?.values().next()?;
        Some((
            pair["key"].as_str()?.to_owned(),
            value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        ))
    };
    list.as_array().into_iter().flatten().filter_map(pair).collect()
}

/// A number, which JSON of protobuf may have as a text.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

fn compare_metrics(metrics: &Metrics, messages: &[Value], agent: &Agent, client: &Pod) -> Result<()> {
    let points = points(messages)?;
    let read = points.values().map(Vec::len).sum::<usize>();
    ensure!(read as f64 == exported(metrics, "metrics"), "{read} data points read: {}", about(metrics));
    for reason in ["rejected", "refused"] {
        ensure!(counted(metrics, "dropped", "metrics", Some(reason)) == 0.0, "{}", about(metrics));
    }
    // Every family that is exposed, by the line of its type.
    let exposition = agent.get("/metrics", "text/plain;version=0.0.4")?.body;
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exposed: BTreeSet<&str> = types
        .filter_map(|line| line.split(' ').next())
        .filter(|name| exposition.lines().any(|line| line.starts_with(name) && !line.starts_with('#')))
        .collect();
    let missing: Vec<_> = exposed.iter().filter(|name| !points.contains_key(*name)).collect();
    ensure!(missing.is_empty() && exposed.len() > 30, "{missing:?} of {} did not arrive", exposed.len());
    for (name, port, of_lab) in [(OPENED, "8081", Some(17.0)), (FAILURES, "8080", None)] {
        let exposed = metrics.sum(name, &of_edge(client, port));
        let all = points.get(name).context(name)?;
        let of_edge: Vec<_> = all.iter().filter(|point| is_of(point, client, port)).collect();
        let time = |point: &Value, key: &str| number(&point[key]);
        let last = of_edge.iter().map(|point| time(point, "timeUnixNano")).fold(0.0, f64::max);
        let total: f64 = of_edge
            .iter()
            .filter(|point| time(point, "timeUnixNano") == last)
            .map(|point| number(&point["asInt"]))
            .sum();
        ensure!(
            total == exposed && of_lab.is_none_or(|count| count == total),
            "{name}: {total} were read, {exposed} are exposed"
        );
        ensure!(
            of_edge.iter().all(|point| {
                let start = time(point, "startTimeUnixNano");
                start > 0.0 && start <= time(point, "timeUnixNano")
            }),
            "{name}: {of_edge:?}"
        );
    }
    Ok(())
}

fn about(metrics: &Metrics) -> String {
    metrics.list(|sample| sample.name.starts_with("netcause_otlp_"))
}

fn compare_findings(metrics: &Metrics, messages: &[Value], all: &[Finding]) -> Result<()> {
    let resources = messages.iter().filter_map(Value::as_array).flatten();
    let scopes = resources.filter_map(|resource| resource["scopeLogs"].as_array()).flatten();
    let records: Vec<&Value> = scopes.filter_map(|scope| scope["logRecords"].as_array()).flatten().collect();
    let total = records.len() as f64;
    ensure!(total == exported(metrics, "findings"), "{total} log records read: {}", about(metrics));
    ensure!(counted(metrics, "dropped", "findings", None) == 0.0, "{}", about(metrics));
    let mut began = BTreeMap::new();
    for record in &records {
        let fields = attributes(&record["attributes"]);
        if record["eventName"] == "netcause.finding.began" {
            let id = fields.get("netcause.finding.id").with_context(|| format!("{record}"))?;
            began.insert(id.clone(), (*record, fields));
        }
    }
    ensure!(!all.is_empty(), "the agent has no finding");
    for finding in all {
        let (record, fields) =
            began.get(finding.id()).with_context(|| format!("{} was not read", finding.id()))?;
        ensure!(
            fields.get("netcause.finding.cause").is_some_and(|cause| cause == finding.cause()),
            "{record}"
        );
        ensure!(
            record["body"]["stringValue"].as_str().is_some_and(|body| !body.is_empty())
                && number(&record["severityNumber"]) >= 9.0,
            "{record}"
        );
    }
    Ok(())
}
