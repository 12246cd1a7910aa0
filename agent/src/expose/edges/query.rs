//! What is asked for: the parameters of the path, which the command's flags are too.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::totals::Totals;
use serde::{Deserialize, Serialize};

use super::row;
use crate::expose::query::{BadQuery, Window, each_parameter, parsed};
use crate::expose::tables::pair_labels;

/// Rows of one answer.
const MAX_ROWS: usize = 1000;

/// The parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `window`.
    pub window: Window,
    /// `sort`.
    pub sort: Sort,
    /// `workload`.
    pub workload: Option<Workload>,
    /// `limit`.
    pub limit: Limit,
}

/// How many rows there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub usize);

/// A workload by its name, in a namespace or in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    namespace: Option<String>,
    name: String,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Payload both ways.
    #[default]
    Bytes,
    /// Segments sent again.
    Retransmits,
    /// The mean round-trip time of TCP.
    Rtt,
    /// Failed connects, resets, failed and unanswered DNS queries, datagrams dropped.
    Failures,
}

impl Workload {
    /// True for this namespace and name.
    #[must_use]
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace) && self.name == name
    }
}

impl Query {
    /// From the part of a URL behind the question mark.
    ///
    /// # Errors
    ///
    /// When a parameter is unknown, comes twice or has a value that it may not have.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        each_parameter(text, "there are window, sort, workload and limit", |key, value| {
            match key {
                "window" => query.window = parsed(key, value)?,
                "sort" => query.sort = parsed(key, value)?,
                "workload" => query.workload = Some(parsed(key, value)?),
                "limit" => query.limit = parsed(key, value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(query)
    }

    /// True when one of the edge's ends is asked for.
    pub fn matches(&self, edge: &Edge) -> bool {
        let Some(workload) = &self.workload else { return true };
        let labels = pair_labels(edge);
        let is_it = |end: &[std::borrow::Cow<'_, str>]| workload.is(&end[0], &end[1]);
        // The namespaces and names of both ends come behind the reporter.
        labels.get(1..5).is_some_and(|ends| ends.chunks_exact(2).any(is_it))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, sort, workload, limit } = self;
        write!(f, "window={}s&sort={sort}&limit={}", window.0.as_secs(), limit.0)?;
        workload.as_ref().map_or(Ok(()), |workload| write!(f, "&workload={workload}"))
    }
}

/// As a parameter of a URL.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", encoded(namespace))?;
        }
        f.write_str(&encoded(&self.name))
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=MAX_ROWS).contains(limit));
        limit.map(Self).ok_or_else(|| format!("a number from 1 to {MAX_ROWS}"))
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        if name.is_empty() {
            return Err("NAMESPACE/NAME or NAME, as in the labels of /metrics".to_owned());
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::value_variants().iter().find(|sort| sort.to_string() == text);
        known.copied().ok_or_else(|| "one of bytes, retransmits, rtt, failures".to_owned())
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Retransmits => "retransmits",
            Self::Rtt => "rtt",
            Self::Failures => "failures",
        })
    }
}

impl Sort {
    /// What pairs are sorted by, the most first.
    pub fn key(self, totals: &Totals) -> f64 {
        match self {
            Self::Bytes => row::bytes(totals) as f64,
            Self::Retransmits => row::retransmits(&totals.tcp) as f64,
            Self::Rtt => {
                row::mean(&totals.tcp.rtt.buckets, totals.tcp.rtt.sum, row::MICROSECONDS).unwrap_or(0.0)
            }
            Self::Failures => row::failures(totals) as f64,
        }
    }
}

fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode =
        |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}
