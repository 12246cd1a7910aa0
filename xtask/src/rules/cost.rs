//! What the rules cost a Prometheus: a block of made-up samples of many nodes, and a real Prometheus that evaluates the rules on it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    RULES,
    series::{self, Cluster},
    yaml,
};
use crate::{dashboards, exec, tools, workspace};

/// The cluster that is made up.
#[derive(clap::Args)]
pub(crate) struct Cost {
    /// Measure what the rules cost a Prometheus, on made-up series of this many nodes: a zone is bad, and a pair of nodes
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u64).range(3..=100_000))]
    cost: Option<u64>,
    /// Other nodes that each of them exchanges segments with
    #[arg(long, value_name = "NODES", default_value_t = 64, requires = "cost")]
    peers: u64,
    /// Pairs of workloads of each node
    #[arg(long, value_name = "PAIRS", default_value_t = 200, requires = "cost")]
    edges: u64,
    /// Zones that the nodes are in, or racks
    #[arg(long, value_name = "ZONES", default_value_t = 3, requires = "cost", value_parser = clap::value_parser!(u64).range(3..))]
    zones: u64,
    /// Histograms of pairs of nodes and of workloads, too, which is five times the series
    #[arg(long, requires = "cost")]
    histograms: bool,
    /// Put the queries of all dashboards as well, and draw them into this directory
    #[arg(long, value_name = "DIRECTORY", requires = "cost")]
    render: Option<PathBuf>,
}

/// How long every rule has until its first evaluation, which begins after a minute at most.
const LIMIT: Duration = Duration::from_secs(240);

/// Measures, if it is asked for.
pub(super) fn measure(args: &Cost) -> Result<bool> {
    let Some(nodes) = args.cost else { return Ok(false) };
    let directory = workspace::root()?.join("target/rules");
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Samples must be recent when they are queried, and no recording may be older than the last of them.
    let of_pair = if args.histograms { 19 } else { 4 };
    let of_edge = if args.histograms { 69 } else { 9 };
    let series = nodes * (args.peers.min(nodes - 1) * of_pair + args.edges * of_edge);
    let cluster = Cluster {
        nodes,
        peers: args.peers,
        edges: args.edges,
        zones: args.zones.min(nodes),
        with_histograms: args.histograms,
        end: now()? + 20 + series / 7_000,
    };
    let end = cluster.end;
    let began = Instant::now();
    let samples = directory.join("samples");
    let series = series::write(&samples, &cluster).context("cannot write samples")?;
    exec::say(format!(
        "{nodes} nodes in {} zones, with {} other nodes and {} edges each: {series} series, written in {}",
        cluster.zones,
        args.peers,
        args.edges,
        exec::seconds(began)
    ));
    let data = directory.join("data");
    let promtool = tools::unpacked::promtool()?;
    let began = Instant::now();
    let mut blocks = Command::new(&promtool);
    blocks.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples).arg(&data);
    exec::quietly(&mut blocks, "making blocks of them", &directory.join("blocks.log"))?;
    fs::remove_file(&samples).context("cannot remove the samples")?;
    exec::say(format!("made a block of them in {}", exec::seconds(began)));
    // What is recorded before the last sample would be refused as too old.
    let left = end.saturating_sub(now()?);
    if left == 0 {
        exec::say("this machine was slower than expected: the rates are of less than five minutes");
    }
    thread::sleep(Duration::from_secs(left));
    let prometheus = Prometheus::start(&promtool.with_file_name("prometheus"), &directory)?;
    prometheus.evaluated()?;
    // Each group once, and this time with what others have recorded.
    let before = prometheus.number("process_cpu_seconds_total")?;
    thread::sleep(Duration::from_secs(60));
    let cpu = prometheus.number("process_cpu_seconds_total")? - before;
    report(&prometheus)?;
    println!("CPU of this Prometheus: {cpu:.1} seconds a minute");
    println!("memory of this Prometheus: {:.0} MB", prometheus.megabytes()?);
    if let Some(directory) = &args.render {
        let at = prometheus.url.trim_start_matches("http://");
        // The last sample is some minutes ago by now.
        let more = ["--minutes=5", "--rate-interval=5m"].map(str::to_owned);
        dashboards::draw(at, &more, directory)?;
        println!("memory of this Prometheus: {:.0} MB", prometheus.megabytes()?);
    }
    Ok(true)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
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

    /// The rules, in their order.
    fn rules(&self) -> Result<Vec<Value>> {
        let answer: Value = serde_json::from_str(&self.get("/api/v1/rules", &[])?)
            .context("Prometheus's answer is no JSON")?;
        let groups =
            answer.pointer("/data/groups").and_then(Value::as_array).context("Prometheus has no groups")?;
        Ok(groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten().cloned().collect())
    }

    /// Waits until each rule was evaluated.
    fn evaluated(&self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            thread::sleep(Duration::from_secs(2));
            // It answers once it has read its data. Year 1 is never.
            let Ok(rules) = self.rules() else { continue };
            let never = |rule: &Value| text(rule, "lastEvaluation").starts_with("0001-");
            if !rules.is_empty() && !rules.iter().any(never) {
                return Ok(());
            }
        }
        bail!("the rules were not evaluated within {} s: see target/rules/prometheus.log", LIMIT.as_secs())
    }

    /// A metric of its own that has no labels.
    fn number(&self, name: &str) -> Result<f64> {
        let metrics = self.get("/metrics", &[])?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("Prometheus shows no {name}"))
    }

    /// Its memory.
    fn megabytes(&self) -> Result<f64> {
        Ok(self.number("process_resident_memory_bytes")? / 1e6)
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

/// A field that is a string.
fn text<'a>(rule: &'a Value, field: &str) -> &'a str {
    rule.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Prints the seconds of each rule, and how many series it has recorded.
fn report(prometheus: &Prometheus) -> Result<()> {
    println!("  seconds   series  rule");
    let mut all = 0.0;
    for rule in prometheus.rules()? {
        let (name, error) = (text(&rule, "name"), text(&rule, "lastError"));
        if !error.is_empty() {
            bail!("{name}: {error}");
        }
        let seconds = rule.get("evaluationTime").and_then(Value::as_f64).unwrap_or_default();
        all += seconds;
        let series = match text(&rule, "type") {
            "recording" => prometheus.count(name)?,
            _ => prometheus.count(&format!("ALERTS{{alertname=\"{name}\"}}"))?,
        };
        println!("{seconds:9.3} {series:>8}  {name}");
    }
    let recorded = prometheus.count("{__name__=~\"netcause:.*\"}")?;
    println!("{all:9.3} {recorded:>8}  all, once a minute; recordings in all");
    Ok(())
}
