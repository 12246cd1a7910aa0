//! What was counted in the last minutes, at one point in time.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::flow::TcpCounters;
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::peer_nodes;
use netcause_core::aggregate::places::{Counted, Place};
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::windows::Recent;
use netcause_core::diagnose::Diagnosis;
use netcause_core::diagnose::finding::{Dated, Insufficient, Watched};

/// Windows of everything that is counted.
#[derive(Debug, Default)]
pub struct Lately {
    /// Pairs of workloads.
    pub edges: Recent<Edge, Totals>,
    /// TCP by the node at the other end.
    pub peer_nodes: Recent<peer_nodes::Row, TcpCounters>,
    /// Listening ports.
    pub listeners: Recent<Place, Counted>,
    /// What the readers of the node find.
    pub node: Recent<Place, Counted>,
    /// What is wrong, by windows that have ended.
    pub findings: Findings,
    /// When the kernel's tables were read: seconds since 1970.
    pub read_at: u64,
    /// The tables are read this often at least.
    pub interval: Duration,
}

/// What is wrong, and what was looked at.
#[derive(Debug, Default)]
pub struct Findings {
    /// The findings, the active ones first.
    pub all: Vec<Dated>,
    /// Symptoms without a cause.
    pub insufficient: Vec<Insufficient>,
    /// What was looked at.
    pub watched: Watched,
    /// Evidence that this node cannot have: signal and reason.
    pub missing: HashMap<&'static str, String>,
    /// The name of this node.
    pub node: String,
    /// When the last window ended that was judged, seconds since 1970; `None` before the first.
    pub judged: Option<u64>,
}

impl Findings {
    /// What a diagnosis has found on a node.
    #[must_use]
    pub fn of(diagnosis: &Diagnosis, node: &str) -> Self {
        Self {
            all: diagnosis.findings(),
            insufficient: diagnosis.insufficient().to_vec(),
            watched: diagnosis.watched(),
            missing: diagnosis.missing().clone(),
            node: node.to_owned(),
            judged: diagnosis.judged(),
        }
    }
}
