//! The exact counts that the agent must have of one client and one server, or of one server.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::Tally;
use crate::lab::metrics::{Edge, Metrics, float};

pub(crate) const QUERIES: &str = "netcause_dns_queries_total";
pub(crate) const RESPONSES: &str = "netcause_dns_responses_total";
pub(crate) const DURATION: &str = "netcause_dns_query_duration_seconds";
pub(crate) const TIMEOUTS: &str = "netcause_dns_timeouts_total";
pub(crate) const LATE: &str = "netcause_dns_late_responses_total";
const SERVER_QUERIES: &str = "netcause_dns_server_queries_total";
const SERVER_RESPONSES: &str = "netcause_dns_server_responses_total";
pub(crate) const SERVER_DURATION: &str = "netcause_dns_server_duration_seconds";
const SERVER_UNANSWERED: &str = "netcause_dns_server_unanswered_total";

/// A client's queries to one server, and their outcomes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counted {
    /// Queries by type.
    pub(crate) queries: Tally,
    /// Answers by code.
    pub(crate) responses: Tally,
    pub(crate) timeouts: u64,
    /// Those of them that ICMP refused.
    pub(crate) refused: u64,
    /// Queries whose client did not wait.
    pub(crate) abandoned: u64,
    pub(crate) late: u64,
    pub(crate) retries: u64,
    pub(crate) truncated: u64,
    /// Answers without a query; not among the responses.
    pub(crate) unmatched: u64,
}

impl Counted {
    pub(crate) fn of(queries: &[(&str, u64)], responses: &[(&str, u64)]) -> Self {
        Self {
            queries: Tally::of(queries.iter().copied()),
            responses: Tally::of(responses.iter().copied()),
            ..Self::default()
        }
    }

    /// Adds what the client has asked at another address of the server.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            queries: self.queries.and(&other.queries),
            responses: self.responses.and(&other.responses),
            timeouts: self.timeouts + other.timeouts,
            refused: self.refused + other.refused,
            abandoned: self.abandoned + other.abandoned,
            late: self.late + other.late,
            retries: self.retries + other.retries,
            truncated: self.truncated + other.truncated,
            unmatched: self.unmatched + other.unmatched,
        }
    }

    /// Fails unless the agent has counted exactly this at the client's end.
    pub(crate) fn expect_at_client(&self, metrics: &Metrics, edge: &Edge) -> Result<()> {
        by_label(metrics, QUERIES, edge, "qtype", &self.queries)?;
        by_label(metrics, RESPONSES, edge, "rcode", &self.responses)?;
        durations(metrics, DURATION, edge, self.responses.all())?;
        exactly(metrics, TIMEOUTS, edge, self.timeouts)?;
        exactly(metrics, "netcause_dns_refused_total", edge, self.refused)?;
        exactly(metrics, "netcause_dns_abandoned_total", edge, self.abandoned)?;
        exactly(metrics, LATE, edge, self.late)?;
        exactly(metrics, "netcause_dns_retries_total", edge, self.retries)?;
        exactly(metrics, "netcause_dns_truncated_total", edge, self.truncated)?;
        exactly(metrics, "netcause_dns_unmatched_responses_total", edge, self.unmatched)?;
        exactly(metrics, "netcause_dns_untracked_queries_total", edge, 0)
    }
}

/// The queries of all clients of one server, and their outcomes at the server.
#[derive(Debug, Default, Clone)]
pub(crate) struct Served {
    /// Queries by type.
    pub(crate) queries: Tally,
    /// Answers by code.
    pub(crate) responses: Tally,
    pub(crate) unanswered: u64,
}

impl Served {
    /// The same counts at the server, where nothing was lost on the way.
    pub(crate) fn to(client: &Counted) -> Self {
        Self { queries: client.queries.clone(), responses: client.responses.clone(), unanswered: 0 }
    }

    /// Adds the queries of another client.
    pub(crate) fn and(&self, client: &Counted) -> Self {
        Self {
            queries: self.queries.and(&client.queries),
            responses: self.responses.and(&client.responses),
            unanswered: self.unanswered,
        }
    }

    /// Fails unless the agent has counted exactly this at the server's end, [`Edge::listener`].
    pub(crate) fn expect_at_server(&self, metrics: &Metrics, listener: &Edge) -> Result<()> {
        by_label(metrics, SERVER_QUERIES, listener, "qtype", &self.queries)?;
        by_label(metrics, SERVER_RESPONSES, listener, "rcode", &self.responses)?;
        durations(metrics, SERVER_DURATION, listener, self.responses.all())?;
        exactly(metrics, SERVER_UNANSWERED, listener, self.unanswered)
    }
}

/// Fails unless the sum over the edge is exactly this. DNS is counted without tracepoints, so the kernel skips no run.
pub(crate) fn exactly(metrics: &Metrics, name: &str, edge: &Edge, value: u64) -> Result<()> {
    metrics.expect_between(name, edge, float(value), float(value))
}

fn by_label(metrics: &Metrics, name: &str, edge: &Edge, label: &str, expected: &Tally) -> Result<()> {
    let mut is: BTreeMap<String, f64> = BTreeMap::new();
    for sample in metrics.samples.iter().filter(|sample| sample.name == name && edge.matches(sample)) {
        let word = sample.labels.get(label).unwrap_or_default().to_owned();
        *is.entry(word).or_default() += sample.value;
    }
    is.retain(|_, value| *value != 0.0);
    let expected: BTreeMap<String, f64> =
        expected.0.iter().map(|(word, count)| (word.clone(), float(*count))).collect();
    ensure!(is == expected, "{name} is {is:?}, not {expected:?}, on {edge:?}");
    Ok(())
}

/// Fails unless so many durations were observed.
fn durations(metrics: &Metrics, name: &str, edge: &Edge, count: u64) -> Result<()> {
    exactly(metrics, &format!("{name}_count"), edge, count)?;
    exactly(metrics, &format!("{name}_bucket"), &edge.with("le", "+Inf"), count)
}
