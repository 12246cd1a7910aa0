//! `GET /api/v1/status`: whether the probes, the readers of the node and the sources of names work, and if not, the whole reason;
//! what was lost, how full the kernel's tables are, and how old the last sweep is.
//!
//! `netcause status` reads the same types.

mod losses;

use std::collections::BTreeMap;

use netcause_common::labelled_enum;
use netcause_core::node::{Failure, Reader};
use serde::{Deserialize, Serialize};

use super::snapshot::{AgentView, Down, MapRow, ProbeRow, Snapshot, SourceRow, SweepRow};
use crate::probe::Reason;

labelled_enum! {
    /// A part of the agent that is not as it should be.
    pub enum Part: u8 {
        /// A probe does not run, and no setting has switched it off.
        Probes = 0, "probes";
        /// A reader of the node does not work.
        NodeReaders = 1, "node_readers";
        /// A source of names does not work.
        NameSources = 2, "name_sources";
        /// Something was lost, folded or left out.
        Lost = 3, "lost";
    }
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Of the agent.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// This node.
    pub node: String,
    /// For how long the agent has run.
    pub running_seconds: u64,
    /// The labels of each [`Part`] that is not as it should be; empty when all is well.
    pub impaired: Vec<String>,
    /// The probes.
    pub probes: Vec<Probe>,
    /// The readers of the node.
    pub node_readers: Vec<NodeReader>,
    /// The sources of names.
    pub name_sources: Vec<Source>,
    /// What was lost since the agent started; of what was not there is no entry.
    pub lost: Vec<Lost>,
    /// The kernel's tables.
    pub tables: Vec<Table>,
    /// Time series of edges, as the budget has them.
    pub series: Fullness,
    /// The last sweep over all open sockets; `null` before the first, and where none can be made.
    pub last_sweep: Option<Sweep>,
    /// Findings that are active.
    pub findings_active: usize,
}

/// A probe.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Its name.
    pub probe: String,
    /// Whether it runs.
    pub up: bool,
    /// As in the label `reason`; `null` while it is up, as the next two.
    pub reason: Option<String>,
    /// The whole reason.
    pub message: Option<String>,
    /// What is missing in the metrics.
    pub without: Option<String>,
}

/// A reader of the node.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeReader {
    /// Its name.
    pub reader: String,
    /// Whether it works.
    pub up: bool,
    /// As in the label `reason`; `null` while it is up, as the next two.
    pub reason: Option<String>,
    /// The whole reason.
    pub message: Option<String>,
    /// What is missing in the metrics.
    pub without: Option<String>,
}

/// A source of names.
#[derive(Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub source: String,
    /// Empty where all kinds come together.
    pub kind: String,
    /// Whether it works.
    pub up: bool,
    /// As in the label `reason`; `null` while it is up, as the next one.
    pub reason: Option<String>,
    /// The whole reason.
    pub message: Option<String>,
    /// Time since the last contact; `null` before the first.
    pub age_seconds: Option<f64>,
    /// Failures since the agent started, by reason.
    pub failures: BTreeMap<String, u64>,
}

/// What was lost.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lost {
    /// In a few words.
    pub what: String,
    /// How much.
    pub count: u64,
    /// The metric that says so.
    pub metric: String,
    /// Its labels; those of pairs and listening ports are left out, and their counts are one.
    pub labels: BTreeMap<String, String>,
}

/// A table of the kernel side.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its name, as in the label `map`.
    pub table: String,
    /// How full it is.
    #[serde(flatten)]
    pub fullness: Fullness,
}

/// How full something is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fullness {
    /// Entries now.
    pub entries: u64,
    /// Entries that there may be.
    pub limit: u64,
}

/// A sweep over all open sockets.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// Time since it began.
    pub age_seconds: f64,
    /// How long it took.
    pub duration_seconds: f64,
    /// Open connections that it found.
    pub connections: u64,
}

impl Answer {
    /// By the view.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let AgentView { probes, maps, series, last_sweep, counts, .. } = &snapshot.agent;
        let connections = counts.swept.iter().sum();
        let answer = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: snapshot.agent.kernel_release.clone(),
            node: snapshot.agent.node.clone(),
            running_seconds: snapshot.agent.running.as_secs(),
            impaired: Vec::new(),
            probes: probes.iter().map(Probe::new).collect(),
            node_readers: snapshot.node.readers.iter().map(NodeReader::new).collect(),
            name_sources: snapshot.names.sources.iter().map(Source::new).collect(),
            lost: losses::all(snapshot),
            tables: maps.iter().map(Table::new).collect(),
            series: Fullness { entries: series.shown, limit: series.limit },
            last_sweep: last_sweep.as_ref().map(|sweep| Sweep::new(sweep, connections)),
            findings_active: snapshot.findings.active.len(),
        };
        Self { impaired: answer.impaired(), ..answer }
    }

    /// The parts that are not as they should be.
    fn impaired(&self) -> Vec<String> {
        let impaired = |part: &Part| match part {
            Part::Probes => self.probes.iter().any(Probe::is_missing),
            Part::NodeReaders => self.node_readers.iter().any(|reader| !reader.up),
            Part::NameSources => self.name_sources.iter().any(|source| !source.up),
            Part::Lost => !self.lost.is_empty(),
        };
        Part::ALL.into_iter().filter(impaired).map(|part| part.label().to_owned()).collect()
    }
}

impl Probe {
    fn new(row: &ProbeRow) -> Self {
        let (reason, message) = parts(row.down.as_ref());
        let without = row.down.is_some().then(|| row.without.to_owned());
        Self { probe: row.name.to_owned(), up: row.down.is_none(), reason, message, without }
    }

    /// It does not run, and no setting has switched it off.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        !self.up && self.reason.as_deref() != Some(Reason::Disabled.label())
    }
}

impl NodeReader {
    fn new((reader, failure): &(Reader, Option<Failure>)) -> Self {
        let (reason, message) = failure
            .as_ref()
            .map(|failure| (failure.reason.label().to_owned(), failure.message.clone()))
            .unzip();
        let without = failure.is_some().then(|| reader.without().to_owned());
        Self { reader: reader.label().to_owned(), up: failure.is_none(), reason, message, without }
    }
}

impl Source {
    fn new(row: &SourceRow) -> Self {
        let (reason, message) = parts(row.down.as_ref());
        Self {
            source: row.source.to_owned(),
            kind: row.kind.to_owned(),
            up: row.down.is_none(),
            reason,
            message,
            age_seconds: row.age.map(|age| age.as_secs_f64()),
            failures: row.failures.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        }
    }
}

impl Table {
    fn new(map: &MapRow) -> Self {
        let MapRow { map, entries, limit } = *map;
        Self { table: map.to_owned(), fullness: Fullness { entries, limit } }
    }
}

impl Sweep {
    fn new(SweepRow { age, took }: &SweepRow, connections: u64) -> Self {
        Self { age_seconds: age.as_secs_f64(), duration_seconds: took.as_secs_f64(), connections }
    }
}

fn parts(down: Option<&Down>) -> (Option<String>, Option<String>) {
    down.map(|Down { reason, message }| ((*reason).to_owned(), message.clone())).unzip()
}
