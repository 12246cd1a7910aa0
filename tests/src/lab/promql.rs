//! A real Prometheus that scrapes agents of the lab and answers queries.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{namespace::tethered, process::Process, timeout};

/// The rules that the project has for it.
const RULES: [&str; 5] = [
    include_str!("../../../deploy/prometheus/rules/agent.yaml"),
    include_str!("../../../deploy/prometheus/rules/attribution.yaml"),
    include_str!("../../../deploy/prometheus/rules/findings.yaml"),
    include_str!("../../../deploy/prometheus/rules/impact.yaml"),
    include_str!("../../../deploy/prometheus/rules/symptoms.yaml"),
];

/// A directory, removed with its contents when dropped.
pub(super) struct Directory(pub(super) PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // In the temporary directory: a leftover does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running Prometheus; killed when dropped.
pub(crate) struct Prometheus {
    process: Process,
    api: Api,
    directory: Directory,
}

/// The HTTP API of a Prometheus, of the lab or another one.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    pub(crate) at: SocketAddr,
}

/// How it is started.
struct Settings<'a> {
    /// Seconds between two scrapes.
    interval: u64,
    replica: &'a str,
    features: &'a str,
    /// Lines of the job.
    how: &'a str,
    /// Further parts of its configuration.
    more: &'a str,
    rules: &'a [&'a str],
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { interval: 1, replica: "", features: "", how: "", more: "", rules: &[] }
    }
}

impl Prometheus {
    /// Scrapes an agent every second, as the job `netcause` on the node `lab`.
    pub(crate) fn start(scenario: &str, agent: SocketAddr) -> Result<Self> {
        Self::begin(scenario, agent, &Settings::default())
    }

    /// The same, with these lines in the job: how it gets in.
    pub(crate) fn start_with(scenario: &str, agent: SocketAddr, how: &str) -> Result<Self> {
        Self::begin(scenario, agent, &Settings { how, ..Settings::default() })
    }

    /// Scrapes an agent every second, and writes what it gets to this URL as well (remote write).
    pub(crate) fn start_writing(scenario: &str, agent: SocketAddr, url: &str) -> Result<Self> {
        let write = format!("remote_write:\n- url: {url}\n  queue_config: {{batch_send_deadline: 1s}}\n");
        Self::begin(scenario, agent, &Settings { more: &write, ..Settings::default() })
    }

    /// Scrapes an agent every second, with the rules of `deploy/prometheus`, evaluated every two seconds instead of every minute.
    pub(crate) fn start_with_rules(scenario: &str, agent: SocketAddr) -> Result<Self> {
        Self::begin(scenario, agent, &Settings { rules: &RULES, ..Settings::default() })
    }

    /// The same of the agents of several nodes, every five seconds.
    pub(crate) fn start_of_nodes(scenario: &str, agents: &[(&str, SocketAddr)]) -> Result<Self> {
        let settings = Settings { interval: 5, rules: &RULES, ..Settings::default() };
        Self::begin_of(scenario, agents, &settings)
    }

    /// The same, of a Prometheus that stores native histograms, and no classic one where there is a native one.
    pub(crate) fn start_native(scenario: &str, agent: SocketAddr) -> Result<Self> {
        let features = "native-histograms";
        Self::begin(scenario, agent, &Settings { features, rules: &RULES, ..Settings::default() })
    }

    /// Scrapes an agent at this interval in seconds, as the replica of this name, with these features of Prometheus. One that
    /// does not know a feature warns of it.
    pub(crate) fn start_every(
        scenario: &str,
        agent: SocketAddr,
        interval: u64,
        replica: &str,
        features: &str,
    ) -> Result<Self> {
        Self::begin(scenario, agent, &Settings { interval, replica, features, ..Settings::default() })
    }

    fn begin(scenario: &str, agent: SocketAddr, settings: &Settings<'_>) -> Result<Self> {
        Self::begin_of(scenario, &[("lab", agent)], settings)
    }

    fn begin_of(scenario: &str, agents: &[(&str, SocketAddr)], settings: &Settings<'_>) -> Result<Self> {
        let Settings { interval, replica, features, how, more, rules } = settings;
        let name = format!("netcause-lab-{}-{scenario}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).context("making a directory for Prometheus")?;
        for (number, rules) in rules.iter().enumerate() {
            let rules = rules.replace("interval: 1m", "interval: 2s");
            fs::write(directory.0.join(format!("rules-{number}.yaml")), rules).context("writing rules")?;
        }
        let config = directory.0.join("prometheus.yml");
        let target = |(node, at): &(&str, SocketAddr)| {
            format!("  - targets: ['{at}']\n    labels: {{node: {node}}}\n")
        };
        let targets: String = agents.iter().map(target).collect();
        let text = format!(
            "global:\n  scrape_interval: {interval}s\n  evaluation_interval: 2s\n  external_labels: {{replica: '{replica}'}}\nrule_files: ['rules-*.yaml']\nscrape_configs:\n- job_name: netcause\n{how}  static_configs:\n{targets}{more}"
        );
        fs::write(&config, text).context("writing prometheus.yml")?;
        let at = free_port()?;
        let mut command = tethered(None, None, &[])?;
        command.arg("prometheus").arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.0.join("data").display()));
        command.arg(format!("--web.listen-address={at}")).arg("--web.enable-admin-api");
        if !features.is_empty() {
            command.arg(format!("--enable-feature={features}"));
        }
        let process = Process::spawn("prometheus", &mut command)?;
        Ok(Self { process, api: Api { at }, directory })
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.0.join("data")
    }

    /// Its API, for whoever asks more than these.
    pub(crate) fn api(&self) -> Api {
        self.api
    }

    /// The samples that answer a query now: their labels and values.
    pub(crate) fn query(&self, promql: &str) -> Result<Vec<(Value, f64)>> {
        self.api.query(promql).with_context(|| self.process.said())
    }

    /// Times and values of all samples that a range selector finds in one series.
    pub(crate) fn samples(&self, selector: &str) -> Result<Vec<(f64, f64)>> {
        let answer = self.api.get("query", &[("query", selector)]).with_context(|| self.process.said())?;
        let values = answer.pointer("/data/result/0/values").and_then(Value::as_array);
        let values = values.with_context(|| format!("{selector}: {answer}"))?;
        let sample = |value: &Value| Some((value[0].as_f64()?, value[1].as_str()?.parse().ok()?));
        values.iter().map(|value| sample(value).with_context(|| format!("reading {value}"))).collect()
    }
}

impl Api {
    /// The samples that answer a query now: their labels and values.
    pub(crate) fn query(self, promql: &str) -> Result<Vec<(Value, f64)>> {
        let sample = |result: &Value| {
            let value = result.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((result.get("metric")?.clone(), value))
        };
        let results = self.results("query", &[("query", promql)])?;
        results.iter().map(|result| sample(result).with_context(|| format!("reading {result}"))).collect()
    }

    /// What a query is answered with: series, or samples.
    pub(crate) fn results(self, what: &str, arguments: &[(&str, &str)]) -> Result<Vec<Value>> {
        let mut answer = self.get(what, arguments)?;
        ensure!(answer.get("status").is_some_and(|status| status == "success"), "{arguments:?}: {answer}");
        match answer.pointer_mut("/data/result").map(Value::take) {
            Some(Value::Array(results)) => Ok(results),
            _ => bail!("no result in {answer}"),
        }
    }

    /// Asks for an answer in JSON.
    fn get(self, what: &str, arguments: &[(&str, &str)]) -> Result<Value> {
        let escaped = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
        let query: Vec<String> =
            arguments.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let body = self.page(&format!("/api/v1/{what}?{}", query.join("&")))?;
        serde_json::from_str(&body).with_context(|| format!("reading {body}"))
    }

    /// Asks for a page, over HTTP/1.0, so that the body comes in one piece.
    pub(crate) fn page(self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.at)?;
        stream.set_read_timeout(Some(timeout()))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.at)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
        Ok(body.to_owned())
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")
}
