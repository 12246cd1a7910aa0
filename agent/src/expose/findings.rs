//! `GET /api/v1/findings`: what is wrong, on which side, by what evidence, who acts and how.
//!
//! `netcause why` reads the same types.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use netcause_core::aggregate::{Edge, Reporter};
use netcause_core::diagnose::finding::{self, Dated, Finding, Impact, Pair, Signal, Subject};
use netcause_core::enrich::Workload;
use serde::{Deserialize, Serialize};

use super::edges;
use super::lately::Lately;
use super::query::{BadQuery, each_parameter, parsed};

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// This node.
    pub node: String,
    /// When the kernel's tables were read that this judges: the end of the last window. Before the first one, when they were read.
    pub generated_at: String,
    /// The span that findings are judged by.
    pub window_seconds: u64,
    /// The findings, the active ones first; ended ones stay for 15 minutes.
    pub findings: Vec<Row>,
    /// Symptoms without a cause that can be named.
    pub insufficient: Vec<Insufficient>,
    /// What was looked at.
    pub watched: Watched,
}

/// What was looked at.
#[derive(Debug, Serialize, Deserialize)]
pub struct Watched {
    /// Pairs of workloads with traffic in the last window.
    pub edges: usize,
    /// For how long there have been windows.
    pub seconds: u64,
    /// Windows that were judged.
    pub windows: u64,
    /// Evidence that cannot be had on this node.
    pub missing: Vec<Missing>,
}

/// A finding.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Stable while it lasts, and the same on every node that sees it.
    pub id: String,
    /// What is wrong.
    pub cause: String,
    /// Where.
    pub side: String,
    /// Who acts.
    pub owner: String,
    /// `active` or `ended`.
    pub state: String,
    /// How sure it is.
    pub confidence: String,
    /// When it began.
    pub since: String,
    /// When it ended; `null` while it is active.
    pub until: Option<String>,
    /// With whom.
    pub subject: SubjectRow,
    /// The pairs that it hurts, the worst first.
    pub affected: Vec<PairRow>,
    /// How many there are.
    pub affected_total: usize,
    /// How much it hurts.
    pub impact: ImpactRow,
    /// What speaks for it.
    pub evidence: Vec<SignalRow>,
    /// What speaks against it, or shows that other parts are healthy.
    pub counter_evidence: Vec<SignalRow>,
    /// What could not be had.
    pub missing_evidence: Vec<Missing>,
    /// What it is not.
    pub excluded: Vec<ExcludedRow>,
    /// One sentence.
    pub summary: String,
    /// What to do.
    pub next_step: NextStepRow,
    /// What to read.
    pub runbook: String,
}

/// With whom; parts that do not belong to the kind are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SubjectRow {
    /// `edge`, `workload`, `listener`, `node`, `node_pair`, `interface` or `dns_server`.
    pub kind: String,
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<End>,
    /// The server, or the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<ServerEnd>,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The other node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_node: Option<String>,
    /// The network device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A pair of workloads.
#[derive(Debug, Serialize, Deserialize)]
pub struct PairRow {
    /// The end that this node runs: `source` or `destination`.
    pub reporter: String,
    /// The client.
    pub source: End,
    /// The server.
    pub destination: ServerEnd,
}

/// A workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct End {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub workload: String,
}

/// A workload that serves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerEnd {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub workload: String,
    /// The service that clients connected to; empty if not known.
    pub service: String,
    /// The port; `null` for several.
    pub port: Option<u16>,
}

/// How much it hurts.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImpactRow {
    /// Connects that failed.
    pub failed_connections_per_second: f64,
    /// Connections that wait because of it: connection-seconds in each second.
    pub stalled_connection_seconds_per_second: f64,
    /// Share of the segments that were sent again.
    pub retransmitted_share: f64,
    /// DNS queries that failed or got no answer.
    pub failed_queries_per_second: f64,
}

/// One observation.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignalRow {
    /// What was observed.
    pub signal: String,
    /// How much.
    pub value: f64,
    /// Of how much; `null` where it is no part of anything.
    pub of: Option<f64>,
    /// What was usual before; `null` where that is not known.
    pub baseline: Option<f64>,
    /// What is counted.
    pub unit: String,
    /// The same in words.
    pub says: String,
}

/// Evidence that could not be had.
#[derive(Debug, Serialize, Deserialize)]
pub struct Missing {
    /// What.
    pub signal: String,
    /// Why.
    pub why: String,
}

/// A cause that it is not.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExcludedRow {
    /// Which.
    pub cause: String,
    /// Why not.
    pub because: String,
}

/// What a person can do.
#[derive(Debug, Serialize, Deserialize)]
pub struct NextStepRow {
    /// In words.
    pub text: String,
    /// A command that can be pasted.
    pub command: String,
}

/// A symptom without a cause.
#[derive(Debug, Serialize, Deserialize)]
pub struct Insufficient {
    /// Of whom.
    pub subject: SubjectRow,
    /// What was seen.
    pub symptom: String,
    /// What would be needed.
    pub missing: Vec<Missing>,
}

/// The parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `workload`: only what concerns it.
    pub workload: Option<edges::Workload>,
}

impl Query {
    /// From the part of a URL behind the question mark.
    ///
    /// # Errors
    ///
    /// When a parameter is unknown, comes twice or has a value that it may not have.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        each_parameter(text, "there is only workload", |key, value| {
            if key != "workload" {
                return Ok(false);
            }
            query.workload = Some(parsed(key, value)?);
            Ok(true)
        })?;
        Ok(query)
    }

    fn matches(&self, finding: &Finding) -> bool {
        let Some(workload) = &self.workload else { return true };
        let is_it = |end: &Workload| workload.is(end.namespace(), &end.to_string());
        let is_subject = match &finding.subject {
            Subject::Edge(pair) | Subject::DnsServer(pair) => is_it(&pair.source) || is_it(&pair.destination),
            Subject::Workload(workload) | Subject::Listener(workload, _) => is_it(workload),
            Subject::Node | Subject::NodePair(_) | Subject::Interface(_) => false,
        };
        is_subject || finding.affected.iter().any(|edge| is_it(&edge.source) || is_it(&edge.destination))
    }
}

/// As it is asked for: with its question mark, or nothing.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.workload.as_ref().map_or(Ok(()), |workload| write!(f, "?workload={workload}"))
    }
}

impl Answer {
    /// The answer to a query.
    #[must_use]
    pub fn new(lately: &Lately, query: &Query) -> Self {
        let findings = &lately.findings;
        let dated = findings.all.iter().filter(|dated| query.matches(&dated.finding));
        let mut missing: Vec<_> = findings.missing.iter().collect();
        missing.sort_unstable();
        Self {
            node: findings.node.clone(),
            generated_at: date(findings.judged.unwrap_or(lately.read_at)),
            window_seconds: netcause_core::diagnose::LATELY.as_secs(),
            findings: dated.map(|dated| Row::new(dated, &findings.node)).collect(),
            insufficient: findings.insufficient.iter().map(|one| insufficient(one, &findings.node)).collect(),
            watched: Watched {
                edges: findings.watched.edges,
                seconds: findings.watched.for_time.as_secs(),
                windows: findings.watched.judgements,
                missing: missing
                    .into_iter()
                    .map(|(signal, why)| Missing { signal: (*signal).to_owned(), why: why.clone() })
                    .collect(),
            },
        }
    }
}

impl Row {
    /// A finding of a node.
    #[must_use]
    pub fn new(dated: &Dated, node: &str) -> Self {
        let Dated { finding, since, until } = dated;
        let signals = |signals: &[Signal]| signals.iter().map(SignalRow::from).collect();
        Self {
            id: finding.id(),
            cause: finding.cause.label().to_owned(),
            side: finding.side.label().to_owned(),
            owner: finding.owner.label().to_owned(),
            state: if until.is_some() { "ended" } else { "active" }.to_owned(),
            confidence: finding.confidence.label().to_owned(),
            since: date(*since),
            until: until.map(date),
            subject: SubjectRow::new(&finding.subject, node),
            affected: finding.affected.iter().map(|edge| PairRow::from(&**edge)).collect(),
            affected_total: finding.affected_total,
            impact: ImpactRow::from(&finding.impact),
            evidence: signals(&finding.evidence),
            counter_evidence: signals(&finding.counter_evidence),
            missing_evidence: finding.missing_evidence.iter().map(Missing::from).collect(),
            excluded: finding
                .excluded
                .iter()
                .map(|excluded| ExcludedRow {
                    cause: excluded.cause.label().to_owned(),
                    because: excluded.because.clone(),
                })
                .collect(),
            summary: finding.summary.clone(),
            next_step: NextStepRow {
                text: finding.next_step.text.clone(),
                command: finding.next_step.command.clone(),
            },
            runbook: format!("docs/runbooks/{}.md", finding.cause.label()),
        }
    }
}

impl SubjectRow {
    fn new(subject: &Subject, node: &str) -> Self {
        let kind = subject.kind().to_owned();
        let node = Some(node.to_owned());
        match subject {
            Subject::Edge(pair) | Subject::DnsServer(pair) => Self {
                kind,
                source: Some(End::from(&pair.source)),
                destination: Some(ServerEnd::from(pair)),
                ..Self::default()
            },
            Subject::Workload(workload) => {
                Self { kind, destination: Some(server(workload, None)), ..Self::default() }
            }
            Subject::Listener(workload, port) => {
                Self { kind, destination: Some(server(workload, *port)), ..Self::default() }
            }
            Subject::Node => Self { kind, node, ..Self::default() },
            Subject::NodePair(peer) => Self { kind, node, peer_node: Some(peer.clone()), ..Self::default() },
            Subject::Interface(device) => {
                Self { kind, node, interface: Some(device.clone()), ..Self::default() }
            }
        }
    }
}

impl From<&Edge> for PairRow {
    fn from(edge: &Edge) -> Self {
        let reporter = match edge.reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        };
        let pair = Pair::of(edge);
        Self {
            reporter: reporter.to_owned(),
            source: End::from(&pair.source),
            destination: ServerEnd::from(&pair),
        }
    }
}

impl From<&Workload> for End {
    fn from(workload: &Workload) -> Self {
        Self { namespace: workload.namespace().to_owned(), workload: workload.to_string() }
    }
}

impl From<&Pair> for ServerEnd {
    fn from(pair: &Pair) -> Self {
        Self { service: pair.service.clone(), ..server(&pair.destination, pair.port) }
    }
}

fn server(workload: &Workload, port: Option<u16>) -> ServerEnd {
    let End { namespace, workload } = End::from(workload);
    ServerEnd { namespace, workload, service: String::new(), port }
}

impl From<&Impact> for ImpactRow {
    fn from(impact: &Impact) -> Self {
        let Impact {
            failed_connections_per_second,
            stalled_connections,
            retransmitted_share,
            failed_queries_per_second,
        } = *impact;
        Self {
            failed_connections_per_second,
            stalled_connection_seconds_per_second: stalled_connections,
            retransmitted_share,
            failed_queries_per_second,
        }
    }
}

impl From<&Signal> for SignalRow {
    fn from(signal: &Signal) -> Self {
        let Signal { signal, value, of, baseline, unit, says } = signal;
        Self {
            signal: (*signal).to_owned(),
            value: *value,
            of: *of,
            baseline: *baseline,
            unit: (*unit).to_owned(),
            says: says.clone(),
        }
    }
}

impl From<&finding::Missing> for Missing {
    fn from(missing: &finding::Missing) -> Self {
        Self { signal: missing.signal.to_owned(), why: missing.why.clone() }
    }
}

fn insufficient(one: &finding::Insufficient, node: &str) -> Insufficient {
    Insufficient {
        subject: SubjectRow::new(&one.subject, node),
        symptom: one.symptom.clone(),
        missing: one.missing.iter().map(Missing::from).collect(),
    }
}

/// Seconds since 1970 as RFC 3339 has them.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}
