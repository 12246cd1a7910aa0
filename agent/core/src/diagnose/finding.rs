//! What is said: a cause with its subject, its evidence, and what to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::{Cause, Confidence, Owner, Side};
use super::state::word;
use crate::aggregate::Edge;
use crate::enrich::Workload;
use crate::enrich::objects::Seconds;

/// Edges that a finding names; of more, the number is known.
pub const MAX_AFFECTED: usize = 32;

/// A word that the program says, and no name.
pub type Word = &'static str;

/// What is wrong with whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A pair of workloads.
    Edge(Pair),
    /// A workload.
    Workload(Workload),
    /// A listening port.
    Listener(Workload, Option<u16>),
    /// This node.
    Node,
    /// This node and another one.
    NodePair(String),
    /// A network device of this node.
    Interface(String),
    /// A DNS server.
    DnsServer(Pair),
}

/// Two workloads, whichever end was observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The client.
    pub source: Workload,
    /// The server.
    pub destination: Workload,
    /// The service that the client connected to, as `namespace/name`; empty if not known.
    pub service: String,
    /// The server's port.
    pub port: Option<u16>,
}

/// One observation that speaks for a cause, or against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// What was observed, in the words of the metrics.
    #[serde(deserialize_with = "word")]
    pub signal: Word,
    /// How much.
    pub value: f64,
    /// Of how much; `None` where it is no part of anything.
    pub of: Option<f64>,
    /// What was usual before, as a share where `of` is there; `None` where that is not known.
    pub baseline: Option<f64>,
    /// What is counted: `segments`, `connections`, `seconds`, …
    #[serde(deserialize_with = "word")]
    pub unit: Word,
    /// The same in words.
    pub says: String,
}

/// Evidence that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What.
    #[serde(deserialize_with = "word")]
    pub signal: Word,
    /// Why.
    pub why: String,
}

/// A cause that it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Which.
    pub cause: Cause,
    /// Why not.
    pub because: String,
}

/// Whom it hurts, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// Connects that failed.
    pub failed_connections_per_second: f64,
    /// Connections that wait because of it, on average.
    pub stalled_connections: f64,
    /// Share of the segments that were sent again.
    pub retransmitted_share: f64,
    /// DNS queries that failed or got no answer.
    pub failed_queries_per_second: f64,
}

/// What a person can do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStep {
    /// In words.
    pub text: String,
    /// A command that can be pasted.
    pub command: String,
}

/// A cause that is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub cause: Cause,
    /// Where.
    pub side: Side,
    /// Who acts.
    pub owner: Owner,
    /// How sure it is.
    pub confidence: Confidence,
    /// With whom.
    pub subject: Subject,
    /// The edges that it hurts, the worst first, at most [`MAX_AFFECTED`].
    #[serde(skip)]
    pub affected: Vec<Arc<Edge>>,
    /// How many there are.
    pub affected_total: usize,
    /// How much it hurts.
    pub impact: Impact,
    /// What speaks for it.
    pub evidence: Vec<Signal>,
    /// What speaks against it.
    pub counter_evidence: Vec<Signal>,
    /// What could not be had.
    pub missing_evidence: Vec<Missing>,
    /// What it is not.
    pub excluded: Vec<Excluded>,
    /// One sentence.
    pub summary: String,
    /// What to do.
    pub next_step: NextStep,
}

/// A finding over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Dated {
    /// The finding, as it was last.
    pub finding: Arc<Finding>,
    /// When the first window with evidence of it began, seconds since 1970.
    pub since: Seconds,
    /// When the last window with evidence of it ended; `None` while it is active.
    pub until: Option<Seconds>,
}

/// A symptom without a cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insufficient {
    /// Of whom.
    pub subject: Subject,
    /// What was seen.
    pub symptom: String,
    /// What would be needed to name the cause.
    pub missing: Vec<Missing>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Pairs with traffic in the last judgement.
    pub edges: usize,
    /// Judgements since the start.
    pub judgements: u64,
    /// For how long there have been windows.
    pub for_time: Duration,
}

impl Finding {
    /// Stable while it lasts, and the same on every node that sees it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.cause.label(), self.subject)
    }
}

impl Subject {
    /// What kind it is of, in snake case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Edge(_) => "edge",
            Self::Workload(_) => "workload",
            Self::Listener(..) => "listener",
            Self::Node => "node",
            Self::NodePair(_) => "node_pair",
            Self::Interface(_) => "interface",
            Self::DnsServer(_) => "dns_server",
        }
    }
}

impl Pair {
    /// Of an edge.
    #[must_use]
    pub fn of(edge: &Edge) -> Self {
        Self {
            source: edge.source.clone(),
            destination: edge.destination.clone(),
            service: edge.service.as_ref().map_or_else(String::new, |service| {
                format!("{}/{}", service.namespace(), service.workload())
            }),
            port: edge.port,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge(pair) => write!(f, "{}/{}", name(&pair.source), server(&pair.destination, pair.port)),
            Self::Workload(workload) => f.write_str(&name(workload)),
            Self::Listener(workload, port) => f.write_str(&server(workload, *port)),
            Self::Node => f.write_str("node"),
            Self::NodePair(peer) => write!(f, "node/{peer}"),
            Self::Interface(device) => write!(f, "node/{device}"),
            Self::DnsServer(pair) => f.write_str(&server(&pair.destination, pair.port)),
        }
    }
}

/// A workload with its namespace.
#[must_use]
pub fn name(workload: &Workload) -> String {
    match workload.namespace() {
        "" => workload.to_string(),
        namespace => format!("{namespace}.{workload}"),
    }
}

/// A server with its port.
#[must_use]
pub fn server(workload: &Workload, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{}:{port}", name(workload)),
        None => name(workload),
    }
}
