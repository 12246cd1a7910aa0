//! `GET /api/v1/status`: whether the probes, the readers of the node and the sources of names work, and if not, the whole reason.

use netcause_core::node::{Failure, Reader};
use serde::Serialize;

use super::snapshot::{AgentView, Down, ProbeRow, Snapshot, SourceRow};

/// The answer.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    version: &'static str,
    kernel: &'a str,
    probes: Vec<Probe<'a>>,
    node_readers: Vec<NodeReader<'a>>,
    name_sources: Vec<Source<'a>>,
}

#[derive(Debug, Serialize)]
struct Probe<'a> {
    probe: &'a str,
    up: bool,
    /// As in the label `reason`; `null` while it is up, as the next two.
    reason: Option<&'a str>,
    message: Option<&'a str>,
    /// What is missing in the metrics.
    without: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct NodeReader<'a> {
    reader: &'static str,
    up: bool,
    reason: Option<&'static str>,
    message: Option<&'a str>,
    without: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Source<'a> {
    source: &'a str,
    /// Empty where all kinds come together.
    kind: &'a str,
    up: bool,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    /// Time since the last contact; `null` before the first.
    age_seconds: Option<f64>,
}

impl<'a> From<&'a Snapshot> for Body<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let AgentView { probes, kernel_release, .. } = &snapshot.agent;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            kernel: kernel_release,
            probes: probes.iter().map(Probe::from).collect(),
            node_readers: snapshot.node.readers.iter().map(NodeReader::from).collect(),
            name_sources: snapshot.names.sources.iter().map(Source::from).collect(),
        }
    }
}

impl<'a> From<&'a ProbeRow> for Probe<'a> {
    fn from(row: &'a ProbeRow) -> Self {
        let (reason, message) = parts(row.down.as_ref());
        Self {
            probe: row.name,
            up: row.down.is_none(),
            reason,
            message,
            without: row.down.is_some().then_some(row.without),
        }
    }
}

impl<'a> From<&'a (Reader, Option<Failure>)> for NodeReader<'a> {
    fn from((reader, failure): &'a (Reader, Option<Failure>)) -> Self {
        Self {
            reader: reader.label(),
            up: failure.is_none(),
            reason: failure.as_ref().map(|failure| failure.reason.label()),
            message: failure.as_ref().map(|failure| failure.message.as_str()),
            without: failure.is_some().then_some(reader.without()),
        }
    }
}

impl<'a> From<&'a SourceRow> for Source<'a> {
    fn from(row: &'a SourceRow) -> Self {
        let (reason, message) = parts(row.down.as_ref());
        Self {
            source: row.source,
            kind: row.kind,
            up: row.down.is_none(),
            reason,
            message,
            age_seconds: row.age.map(|age| age.as_secs_f64()),
        }
    }
}

fn parts(down: Option<&Down>) -> (Option<&str>, Option<&str>) {
    down.map(|Down { reason, message }| (*reason, message.as_str())).unzip()
}
