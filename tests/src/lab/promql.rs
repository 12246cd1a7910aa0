//! A real Prometheus that scrapes agents of the lab and answers queries.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{namespace::tethered, process::Process, timeout};

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
    at: SocketAddr,
    _directory: Directory,
}

impl Prometheus {
    /// Scrapes an agent every second, as the job `netcause` on the node `lab`.
    pub(crate) fn start(scenario: &str, agent: SocketAddr) -> Result<Self> {
        Self::start_every(scenario, agent, 1, "", "")
    }

    /// The same, with these lines in the job: how it gets in.
    pub(crate) fn start_with(scenario: &str, agent: SocketAddr, how: &str) -> Result<Self> {
        Self::begin(scenario, agent, 1, ["", ""], [how, ""])
    }

    /// Scrapes an agent every second, and writes what it gets to this URL as well (remote write).
    pub(crate) fn start_writing(scenario: &str, agent: SocketAddr, url: &str) -> Result<Self> {
        let queue = "  queue_config: {batch_send_deadline: 1s}\n";
        Self::begin(scenario, agent, 1, ["", ""], ["", &format!("remote_write:\n- url: {url}\n{queue}")])
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
        Self::begin(scenario, agent, interval, [replica, features], ["", ""])
    }

    fn begin(
        scenario: &str,
        agent: SocketAddr,
        interval: u64,
        [replica, features]: [&str; 2],
        [how, more]: [&str; 2],
    ) -> Result<Self> {
        let name = format!("netcause-lab-{}-{scenario}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).context("making a directory for Prometheus")?;
        let config = directory.0.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: {interval}s\n  external_labels: {{replica: '{replica}'}}\nscrape_configs:\n- job_name: netcause\n{how}  static_configs:\n  - targets: ['{agent}']\n    labels: {{node: lab}}\n{more}"
        );
        fs::write(&config, text).context("writing prometheus.yml")?;
        let at = free_port()?;
        let mut command = tethered(None, None, &[])?;
        command.arg("prometheus").arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.0.join("data").display()));
        command.arg(format!("--web.listen-address={at}"));
        if !features.is_empty() {
            command.arg(format!("--enable-feature={features}"));
        }
        let process = Process::spawn("prometheus", &mut command)?;
        Ok(Self { process, at, _directory: directory })
    }

    /// The samples that answer a query now: their labels and values.
    pub(crate) fn query(&self, promql: &str) -> Result<Vec<(Value, f64)>> {
        let answer = self.get("query", &[("query", promql)]).with_context(|| self.process.said())?;
        ensure!(answer.get("status").is_some_and(|status| status == "success"), "{promql}: {answer}");
        let results = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
        let sample = |result: &Value| {
            let value = result.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((result.get("metric")?.clone(), value))
        };
        results.iter().map(|result| sample(result).with_context(|| format!("reading {result}"))).collect()
    }

    /// Times and values of all samples that a range selector finds in one series.
    pub(crate) fn samples(&self, selector: &str) -> Result<Vec<(f64, f64)>> {
        let answer = self.get("query", &[("query", selector)]).with_context(|| self.process.said())?;
        let values = answer.pointer("/data/result/0/values").and_then(Value::as_array);
        let values = values.with_context(|| format!("{selector}: {answer}"))?;
        let sample = |value: &Value| Some((value[0].as_f64()?, value[1].as_str()?.parse().ok()?));
        values.iter().map(|value| sample(value).with_context(|| format!("reading {value}"))).collect()
    }

    /// Asks the API, over HTTP/1.0, so that the body comes in one piece.
    fn get(&self, what: &str, arguments: &[(&str, &str)]) -> Result<Value> {
        let escaped = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
        let query: Vec<String> =
            arguments.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let mut stream = TcpStream::connect(self.at)?;
        stream.set_read_timeout(Some(timeout()))?;
        write!(stream, "GET /api/v1/{what}?{} HTTP/1.0\r\nHost: {}\r\n\r\n", query.join("&"), self.at)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
        serde_json::from_str(body).with_context(|| format!("reading {text}"))
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")
}
