//! What an agent's export by OTLP ends in: Rotel, a real OpenTelemetry collector, which passes on to Tansu, a real broker that
//! speaks Kafka's protocol.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;

use super::{eventually, namespace::tethered, process::Process, promql::free_port};

/// The programs, each with an argument that makes it succeed.
pub(crate) const PROGRAMS: &[(&str, &str)] = &[("rotel-agent", "--version"), ("tansu", "--version")];

/// Rotel's topics.
const TOPICS: [&str; 2] = ["otlp_metrics", "otlp_logs"];

/// A running broker, with what it holds in its memory; killed when dropped.
pub(crate) struct Broker {
    process: Process,
    at: SocketAddr,
}

impl Broker {
    /// With an empty topic of one partition for each signal.
    pub(crate) fn start() -> Result<Self> {
        let at = free_port()?;
        let mut command = tethered(None, None, &[])?;
        let url = format!("tcp://{at}");
        command.args(["tansu", "broker", "--storage-engine", "memory://tansu/"]);
        command.args(["--listener-url", &url, "--advertised-listener-url", &url]);
        let broker = Self { process: Process::spawn("tansu", &mut command)?, at };
        eventually("the broker listens", || listens(at)).with_context(|| broker.process.said())?;
        for topic in TOPICS {
            broker.tansu(&["topic", "create", "--partitions", "1", topic])?;
        }
        Ok(broker)
    }

    /// Stands still, or goes on.
    pub(crate) fn stand_still(&self, is_still: bool) -> Result<()> {
        self.process.signal(if is_still { Signal::STOP } else { Signal::CONT })
    }

    /// All messages of metrics, each a list of `ResourceMetrics` as OTLP has them in JSON.
    pub(crate) fn metrics(&self) -> Result<Vec<Value>> {
        self.consume(TOPICS[0])
    }

    /// All messages of logs, each a list of `ResourceLogs`.
    pub(crate) fn logs(&self) -> Result<Vec<Value>> {
        self.consume(TOPICS[1])
    }

    fn consume(&self, topic: &str) -> Result<Vec<Value>> {
        let text = self.tansu(&["cat", "consume", "--max-wait-time-ms", "500", topic])?;
        let mut messages = Vec::new();
        for fetched in serde_json::Deserializer::from_str(&text).into_iter::<Vec<Value>>() {
            let fetched = fetched.with_context(|| format!("what a consumer of {topic} prints"))?;
            messages.extend(fetched.iter().map(|message| message["value"].clone()));
        }
        Ok(messages)
    }

    fn tansu(&self, args: &[&str]) -> Result<String> {
        let mut command = tethered(None, None, &[])?;
        // The broker is an option of the subcommand, whose words come first.
        let words = args.iter().take(2);
        command.arg("tansu").args(words).args(["--broker", &format!("tcp://{}", self.at)]).args(&args[2..]);
        // A consumer reads some hundred messages, and ends when no more come.
        Process::run_within(Duration::from_secs(60), "tansu", &mut command, "")?.success()
    }
}

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    _process: Process,
}

impl Collector {
    /// Takes OTLP over HTTP at an address, and passes everything on to a broker.
    pub(crate) fn start(at: SocketAddr, broker: &Broker) -> Result<Self> {
        let mut command = tethered(None, None, &[])?;
        command.args(["rotel-agent", "start", "--exporter", "kafka", "--kafka-exporter-format", "json"]);
        command.args(["--otlp-http-endpoint", &at.to_string()]);
        command.args(["--otlp-grpc-endpoint", &free_port()?.to_string()]);
        command.args(["--kafka-exporter-brokers", &broker.at.to_string()]);
        // It passes on what it gets when it gets it, so that a message is not longer than brokers take.
        command.args(["--disable-batching", "--kafka-exporter-acks", "all"]);
        let process = Process::spawn("rotel-agent", &mut command)?;
        eventually("the collector listens", || listens(at)).with_context(|| process.said())?;
        Ok(Self { _process: process })
    }

    /// Ends when it has passed on what it has.
    pub(crate) fn stop(self) -> Result<()> {
        // Its producer keeps messages for some milliseconds.
        thread::sleep(Duration::from_millis(500));
        self._process.signal(Signal::TERM)?;
        self._process.wait(Duration::from_secs(15)).map(drop)
    }
}

fn listens(at: SocketAddr) -> Result<()> {
    TcpStream::connect(at).map(drop).with_context(|| format!("connecting to {at}"))
}
