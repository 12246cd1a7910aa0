//! What the rules cost a Prometheus: a block of made-up samples of many nodes, and a real Prometheus that evaluates the rules on it.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{RULES, yaml};
use crate::{exec, tools, workspace};

/// The cluster that is made up.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure what the rules cost a Prometheus, on made-up series of this many nodes
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u64).range(3..=100_000))]
    cost: Option<u64>,
    /// Other nodes that each of them exchanges segments with
    #[arg(long, value_name = "NODES", default_value_t = 64, requires = "cost")]
    peers: u64,
    /// Pairs of workloads of each node
    #[arg(long, value_name = "PAIRS", default_value_t = 200, requires = "cost")]
    edges: u64,
}

/// Samples of six minutes, so that the rates of five have what they need.
const SAMPLES: u64 = 13;
const INTERVAL_SECONDS: u64 = 30;
/// Services of the cluster that connects lead to.
const DESTINATIONS: u64 = 5_000;
/// How long every group has to be evaluated twice, once a minute.
const LIMIT: Duration = Duration::from_secs(240);

/// Measures, if it is asked for.
pub(super) fn measure(args: &Args) -> Result<bool> {
    let Some(nodes) = args.cost else { return Ok(false) };
    let directory = workspace::root()?.join("target/rules");
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Samples must be recent when they are queried, and no recording may be older than the last of them.
    let series = nodes * (args.peers.min(nodes - 1) * 4 + args.edges);
    let end = now()? + 20 + series / 5_000;
    exec::say(format!(
        "{nodes} nodes with {} peers and {} edges each: {series} series",
        args.peers, args.edges
    ));
    let samples = directory.join("samples");
    write(&samples, nodes, args, end).context("cannot write samples")?;
    let data = directory.join("data");
    let promtool = tools::unpacked::promtool()?;
    let mut blocks = Command::new(&promtool);
    blocks.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples).arg(&data);
    exec::quietly(&mut blocks, "making blocks of them", &directory.join("blocks.log"))?;
    fs::remove_file(&samples).context("cannot remove the samples")?;
    // What is recorded before the last sample would be refused as too old.
    let left = end.saturating_sub(now()?);
    if left == 0 {
        exec::say("this machine was slower than expected: the rates are of less than five minutes");
    }
    thread::sleep(Duration::from_secs(left));
    let prometheus = Prometheus::start(&promtool.with_file_name("prometheus"), &directory)?;
    let groups = prometheus.evaluated()?;
    report(&prometheus, &groups)?;
    Ok(true)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

/// Writes OpenMetrics. The second node loses 3 % of what it sends.
fn write(path: &Path, nodes: u64, args: &Args, end: u64) -> std::io::Result<()> {
    let mut to = BufWriter::new(File::create(path)?);
    let mut family =
        |name: &str, per_sample: &dyn Fn(u64, u64) -> u64, labels: &dyn Fn(u64, u64) -> String, each: u64| {
            writeln!(to, "# TYPE {name} counter")?;
            for node in 0..nodes {
                for one in 1..=each {
                    let (labels, more) = (labels(node, one), per_sample(node, one));
                    for sample in 0..SAMPLES {
                        let at = end - (SAMPLES - 1 - sample) * INTERVAL_SECONDS;
                        writeln!(to, "{name}_total{{node=\"node-{node}\",{labels}}} {} {at}", sample * more)?;
                    }
                }
            }
            Ok::<(), std::io::Error>(())
        };
    let peers = args.peers.min(nodes - 1);
    let peer = |node: u64, one: u64| {
        let peer = (node + one) % nodes;
        format!(
            "instance=\"node-{node}:9779\",job=\"netcause\",peer_node=\"node-{peer}\",peer_zone=\"zone-{}\"",
            peer % 3
        )
    };
    let lost = |node: u64, one: u64| if node == 1 { 15 } else { u64::from(one.is_multiple_of(7)) };
    family("netcause_peer_node_tcp_sent_segments", &|_, _| 480, &peer, peers)?;
    family("netcause_peer_node_tcp_received_segments", &|_, _| 480, &peer, peers)?;
    family(
        "netcause_peer_node_tcp_retransmitted_segments",
        &lost,
        &|node, one| {
            peer(node, one.div_ceil(2)) + ["", ",kind=\"fast\"", ",kind=\"timeout\""][1 + (one % 2) as usize]
        },
        peers * 2,
    )?;
    let destination = |node: u64, one: u64| {
        format!(
            "instance=\"node-{node}:9779\",job=\"netcause\",reporter=\"source\",source_namespace=\"shop\",source_workload=\"client-{}\",\
             destination_namespace=\"shop\",destination_workload=\"server-{}\",destination_service=\"\",destination_port=\"8080\",via=\"\"",
            node % 500,
            (node * args.edges + one) % DESTINATIONS
        )
    };
    family("netcause_tcp_connections_opened", &|_, _| 30, &destination, args.edges)?;
    writeln!(to, "# TYPE netcause_build_info gauge")?;
    for node in 0..nodes {
        for sample in 0..SAMPLES {
            let at = end - (SAMPLES - 1 - sample) * INTERVAL_SECONDS;
            writeln!(
                to,
                "netcause_build_info{{node=\"node-{node}\",instance=\"node-{node}:9779\",job=\"netcause\"}} 1 {at}"
            )?;
        }
    }
    writeln!(to, "# EOF")?;
    to.flush()
}

/// A Prometheus that scrapes nothing and evaluates the rules.
struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    fn start(program: &Path, directory: &Path) -> Result<Self> {
        let files: Vec<String> =
            yaml(&workspace::root()?.join(RULES))?.iter().map(|path| path.display().to_string()).collect();
        let config = directory.join("prometheus.yaml");
        fs::write(&config, format!("global: {{evaluation_interval: 1m}}\nrule_files: {files:?}\n"))
            .context("cannot write Prometheus's configuration")?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("no free port")?
            .port();
        let log = File::create(directory.join("prometheus.log")).context("cannot write Prometheus's log")?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--query.timeout=10m", "--query.max-samples=500000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start Prometheus")?;
        Ok(Self { child, url: format!("http://127.0.0.1:{port}") })
    }

    fn get(&self, path: &str, parameters: &[&str]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "60", "--get"]);
        curl.args(parameters.iter().flat_map(|parameter| ["--data-urlencode", parameter]));
        exec::output(curl.arg(format!("{}{path}", self.url)), "asking Prometheus")
    }

    /// How often each group was evaluated.
    fn evaluations(&self) -> Result<Vec<f64>> {
        let metrics = self.get("/metrics", &[])?;
        let lines =
            metrics.lines().filter(|line| line.starts_with("prometheus_rule_group_iterations_total{"));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect())
    }

    /// The groups, once each was evaluated twice: the first time may lack what another group records.
    fn evaluated(&self) -> Result<Vec<Value>> {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            thread::sleep(Duration::from_secs(2));
            // It answers once it has read its data.
            let Ok(evaluations) = self.evaluations() else { continue };
            if !evaluations.is_empty() && evaluations.iter().all(|times| *times >= 2.0) {
                let answer: Value = serde_json::from_str(&self.get("/api/v1/rules", &[])?)
                    .context("Prometheus's answer is no JSON")?;
                let groups = answer.pointer("/data/groups").and_then(Value::as_array);
                return groups.cloned().context("Prometheus has no groups");
            }
        }
        bail!("the rules were not evaluated within {} s: see target/rules/prometheus.log", LIMIT.as_secs())
    }

    /// The samples that a query has now.
    fn count(&self, query: &str) -> Result<String> {
        let answer: Value =
            serde_json::from_str(&self.get("/api/v1/query", &[&format!("query=count({query})")])?)
                .context("Prometheus's answer is no JSON")?;
        let count = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
        Ok(count.unwrap_or("0").to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Prints the seconds of each rule, and how many series it has recorded.
fn report(prometheus: &Prometheus, groups: &[Value]) -> Result<()> {
    println!("  seconds   series  rule");
    let mut all = 0.0;
    for group in groups {
        for rule in group.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
            let seconds = rule.get("evaluationTime").and_then(Value::as_f64).unwrap_or_default();
            if let Some(error) =
                rule.get("lastError").and_then(Value::as_str).filter(|error| !error.is_empty())
            {
                bail!("{name}: {error}");
            }
            all += seconds;
            let series = match rule.get("type").and_then(Value::as_str) {
                Some("recording") => prometheus.count(name)?,
                _ => prometheus.count(&format!("ALERTS{{alertname=\"{name}\"}}"))?,
            };
            println!("{seconds:9.3} {series:>8}  {name}");
        }
    }
    let recorded = prometheus.count("{__name__=~\"netcause:.*\"}")?;
    println!("{all:9.3} {recorded:>8}  all, once a minute; recordings in all");
    let metrics = prometheus.get("/metrics", &[])?;
    let memory = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    if let Some(bytes) = memory.and_then(|bytes| bytes.parse::<f64>().ok()) {
        println!("memory of this Prometheus: {:.1} GiB", bytes / f64::from(1 << 30));
    }
    Ok(())
}
