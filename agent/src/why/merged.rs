//! What several agents say, as one answer: one cause once, whichever end has seen it, and the worst first.
//!
//! An agent sees its own node alone. Both ends of a pair may say the same; and one end may say less, or something else, because what
//! is wrong happens at the other. What an agent has seen its own kernel do is nearer than what another one concludes from silence.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Confidence;
use crate::expose::findings::{Answer, ImpactRow, Insufficient, Row, ServerEnd, SubjectRow, Watched};

/// What a node's own kernel has done or counted: signals of findings that are no conclusion from what did not come back.
const SEEN: [&str; 6] = [
    "packet_drops",
    "tcp_retransmitted_after_drop_segments",
    "tcp_dropped_handshakes",
    "tcp_accept_queue_length",
    "tcp_resets_sent",
    "tcp_waiting_connections{on=\"local_reader\"}",
];

/// What several agents say.
#[derive(Debug, Serialize)]
pub struct Merged {
    /// Those who were asked.
    pub agents: Vec<Asked>,
    /// What is wrong, the active findings first, and of these what hurts most.
    pub findings: Vec<Said>,
    /// Symptoms without a cause that can be named.
    pub insufficient: Vec<Unexplained>,
}

/// An agent.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// The URL or the pod.
    pub agent: String,
    /// Its node; `null` when it did not answer.
    pub node: Option<String>,
    /// The end of its last window; `null` when it did not answer.
    pub generated_at: Option<String>,
    /// What it looked at; `null` when it did not answer.
    pub watched: Option<Watched>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// A finding.
#[derive(Debug, Serialize)]
pub struct Said {
    /// As the surest says it.
    #[serde(flatten)]
    pub row: Row,
    /// The nodes whose agents say it.
    pub nodes: Vec<String>,
    /// What other agents, which see less of it, say of the same pair.
    pub otherwise: Vec<Otherwise>,
}

/// What another agent calls it.
#[derive(Debug, Serialize)]
pub struct Otherwise {
    /// The nodes whose agents say it.
    pub nodes: Vec<String>,
    /// What is wrong.
    pub cause: String,
    /// Where.
    pub side: String,
    /// How sure it is.
    pub confidence: String,
    /// One sentence.
    pub summary: String,
}

/// A symptom without a cause.
#[derive(Debug, Serialize)]
pub struct Unexplained {
    /// The node whose agent says it.
    pub node: String,
    /// What it says.
    #[serde(flatten)]
    pub symptom: Insufficient,
}

impl Said {
    /// What one agent says.
    pub fn alone(row: Row) -> Self {
        Self { row, nodes: Vec::new(), otherwise: Vec::new() }
    }

    /// True while it goes on.
    pub fn is_active(&self) -> bool {
        self.row.until.is_none()
    }

    /// How sure it is; `None` for a word that this version does not know.
    pub fn confidence(&self) -> Option<Confidence> {
        clap::ValueEnum::from_str(&self.row.confidence, true).ok()
    }

    fn has_seen_it(&self) -> bool {
        self.row.evidence.iter().any(|signal| SEEN.contains(&signal.signal.as_str()))
    }
}

impl Merged {
    /// What one agent says, as it says it.
    pub fn of_one(agent: &str, answer: Answer) -> Self {
        let Answer { node, generated_at, window_seconds: _, findings, insufficient, watched } = answer;
        let insufficient =
            insufficient.into_iter().map(|symptom| Unexplained { node: node.clone(), symptom });
        Self {
            insufficient: insufficient.collect(),
            findings: findings.into_iter().map(Said::alone).collect(),
            agents: vec![Asked {
                agent: agent.to_owned(),
                node: Some(node),
                generated_at: Some(generated_at),
                watched: Some(watched),
                error: None,
            }],
        }
    }

    /// Of the answers of agents, and of why there is none.
    pub fn new(answers: Vec<(String, Result<Answer, String>)>) -> Self {
        let (mut agents, mut insufficient) = (Vec::new(), Vec::new());
        let mut findings: BTreeMap<(String, bool), Said> = BTreeMap::new();
        for (agent, answer) in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let error = Some(error);
                    agents.push(Asked { agent, node: None, generated_at: None, watched: None, error });
                    continue;
                }
            };
            let Answer {
                node,
                generated_at,
                window_seconds: _,
                findings: rows,
                insufficient: symptoms,
                watched,
            } = answer;
            for row in rows {
                let key = (identity(&row, &node), row.until.is_some());
                let said = Said { nodes: vec![node.clone()], ..Said::alone(row) };
                match findings.remove(&key) {
                    None => findings.insert(key, said),
                    Some(known) => findings.insert(key, together(known, said)),
                };
            }
            insufficient
                .extend(symptoms.into_iter().map(|symptom| Unexplained { node: node.clone(), symptom }));
            let (node, generated_at, watched) = (Some(node), Some(generated_at), Some(watched));
            agents.push(Asked { agent, node, generated_at, watched, error: None });
        }
        let mut findings = nearest(findings.into_values().collect());
        findings.sort_by(|one, other| {
            let order = |said: &Said| (said.is_active(), impact(&said.row.impact), said.confidence());
            let (one_order, other_order) = (order(one), order(other));
            other_order
                .partial_cmp(&one_order)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| one.row.id.cmp(&other.row.id))
        });
        // What is explained needs no cause any more.
        insufficient.retain(|one: &Unexplained| {
            !findings.iter().any(|said| said.is_active() && concerns(&said.row.subject, &one.symptom.subject))
        });
        Self { agents, findings, insufficient }
    }
}

/// The same for one cause at one place, whichever node says it.
fn identity(row: &Row, node: &str) -> String {
    match row.subject.kind.as_str() {
        "node" | "interface" => format!("{} {node}", row.id),
        // Seen from either end.
        "node_pair" => {
            let mut ends = [node, row.subject.peer_node.as_deref().unwrap_or_default()];
            ends.sort_unstable();
            format!("{} {}", row.cause, ends.join(" "))
        }
        _ => row.id.clone(),
    }
}

/// One finding that two agents have: as the surer says it.
fn together(one: Said, other: Said) -> Said {
    let rank = |said: &Said| (said.confidence(), said.has_seen_it(), said.row.evidence.len());
    let (mut said, other) = if rank(&one) >= rank(&other) { (one, other) } else { (other, one) };
    said.nodes.extend(other.nodes);
    said.nodes.sort_unstable();
    let row = &mut said.row;
    row.since = std::cmp::min(std::mem::take(&mut row.since), other.row.since);
    row.until = std::cmp::max(row.until.take(), other.row.until);
    for pair in other.row.affected {
        let is_known = |known: &crate::expose::findings::PairRow| {
            same_end(
                &known.source.namespace,
                &known.source.workload,
                &pair.source.namespace,
                &pair.source.workload,
            ) && same_server(&known.destination, &pair.destination)
        };
        if !row.affected.iter().any(is_known) {
            row.affected.push(pair);
            row.affected_total += 1;
        }
    }
    let (impact, more) = (&mut row.impact, other.row.impact);
    for (value, other) in [
        (&mut impact.failed_connections_per_second, more.failed_connections_per_second),
        (&mut impact.stalled_connection_seconds_per_second, more.stalled_connection_seconds_per_second),
        (&mut impact.retransmitted_share, more.retransmitted_share),
        (&mut impact.failed_queries_per_second, more.failed_queries_per_second),
    ] {
        *value = value.max(other);
    }
    said
}

/// Of one pair, the finding of who sees most of it; what others call it stands beside that.
fn nearest(findings: Vec<Said>) -> Vec<Said> {
    let mut left: Vec<Option<Said>> = findings.into_iter().map(Some).collect();
    for place in 0..left.len() {
        let Some(said) = left.get_mut(place).and_then(Option::take) else { continue };
        let better = left.iter_mut().flatten().find(|better| explains(better, &said));
        match better {
            Some(better) => better.otherwise.push(Otherwise {
                nodes: said.nodes,
                cause: said.row.cause,
                side: said.row.side,
                confidence: said.row.confidence,
                summary: said.row.summary,
            }),
            None => left[place] = Some(said),
        }
    }
    left.into_iter().flatten().collect()
}

/// True if one finding, of agents that do not say the other one, is of the same pair and nearer to what is wrong.
fn explains(near: &Said, far: &Said) -> bool {
    let rank = |said: &Said| (said.has_seen_it(), said.confidence());
    let is_other_nodes = near.nodes.iter().all(|node| !far.nodes.contains(node));
    near.is_active()
        && far.is_active()
        && is_other_nodes
        && rank(near) > rank(far)
        && near.confidence() >= far.confidence()
        && concerns(&near.row.subject, &far.row.subject)
}

/// True if what is wrong with one is wrong with the other: the same pair, or a port of its server.
fn concerns(one: &SubjectRow, other: &SubjectRow) -> bool {
    let (Some(server), Some(other_server)) = (&one.destination, &other.destination) else { return false };
    let is_one_client = match (&one.source, &other.source) {
        (Some(one), Some(other)) => {
            same_end(&one.namespace, &one.workload, &other.namespace, &other.workload)
        }
        (None, _) => one.kind == "listener",
        (Some(_), None) => false,
    };
    is_one_client && same_server(server, other_server)
}

fn same_server(one: &ServerEnd, other: &ServerEnd) -> bool {
    same_end(&one.namespace, &one.workload, &other.namespace, &other.workload) && one.port == other.port
}

fn same_end(namespace: &str, workload: &str, other_namespace: &str, other_workload: &str) -> bool {
    namespace == other_namespace && workload == other_workload
}

/// How many are hurt each second, as far as counters say.
fn impact(impact: &ImpactRow) -> f64 {
    impact.failed_connections_per_second
        + impact.stalled_connection_seconds_per_second
        + impact.failed_queries_per_second
        + impact.retransmitted_share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::findings::tests::lately;
    use crate::expose::findings::{End, Query, SignalRow};

    /// What the agent of a node says: one finding.
    fn says(node: &str, change: impl Fn(&mut Row)) -> (String, Result<Answer, String>) {
        let mut answer = Answer::new(&lately(None), &Query::default());
        node.clone_into(&mut answer.node);
        answer.findings.iter_mut().for_each(change);
        (format!("http://{node}:9779"), Ok(answer))
    }

    fn called(row: &mut Row, cause: &str, side: &str, confidence: &str) {
        row.id = row.id.replace(&row.cause, cause);
        (row.cause, row.side, row.confidence) = (cause.to_owned(), side.to_owned(), confidence.to_owned());
    }

    fn seen(signal: &str) -> SignalRow {
        let (signal, unit, says) = (signal.to_owned(), String::new(), String::new());
        SignalRow { signal, value: 1.0, of: None, baseline: None, unit, says }
    }

    #[test]
    fn both_ends_of_a_pair_have_one_finding_as_the_surer_says_it() {
        let merged = Merged::new(vec![
            says("n2", |row| {
                called(row, "path_loss", "path", "medium");
                "2026-11-29T09:59:00Z".clone_into(&mut row.since);
                row.impact.retransmitted_share = 0.5;
            }),
            says("n1", |_| {}),
            ("http://n3:9779".to_owned(), Err("refused".to_owned())),
        ]);
        let [said] = &merged.findings[..] else { panic!("{:?}", merged.findings) };
        assert_eq!(
            (&said.nodes[..], said.row.confidence.as_str()),
            (&["n1".to_owned(), "n2".to_owned()][..], "high")
        );
        assert_eq!(said.row.since, "2026-11-29T09:59:00Z");
        assert!((said.row.impact.retransmitted_share - 0.5).abs() < 1e-9 && said.row.affected_total == 1);
        assert_eq!(merged.agents[2].error.as_deref(), Some("refused"));
    }

    #[test]
    fn what_a_kernel_has_done_stands_before_what_silence_looks_like() {
        let rule = says("server", |row| {
            called(row, "policy_drop", "policy", "medium");
            row.evidence.push(seen("packet_drops"));
        });
        let dead = says("client", |row| called(row, "dead_path", "path", "medium"));
        let merged = Merged::new(vec![dead, rule]);
        let [said] = &merged.findings[..] else { panic!("{:?}", merged.findings) };
        assert_eq!((said.row.cause.as_str(), &said.nodes[..]), ("policy_drop", &["server".to_owned()][..]));
        assert_eq!(
            (said.otherwise[0].cause.as_str(), said.otherwise[0].nodes[0].as_str()),
            ("dead_path", "client")
        );
        // Of another pair it says nothing.
        let rule = says("server", |row| {
            called(row, "policy_drop", "policy", "medium");
            row.evidence.push(seen("packet_drops"));
            row.id.push('x');
            row.subject.source = Some(End { namespace: "shop".to_owned(), workload: "other".to_owned() });
        });
        let merged =
            Merged::new(vec![says("client", |row| called(row, "dead_path", "path", "medium")), rule]);
        assert_eq!(merged.findings.len(), 2);
        // Nor where one agent sees both.
        let merged = Merged::new(vec![
            says("n1", |row| called(row, "slow_server", "server", "medium")),
            says("n1", |_| {}),
        ]);
        assert_eq!(merged.findings.len(), 2);
    }

    #[test]
    fn a_node_is_not_another_one_and_the_worst_comes_first() {
        let of_node = |node: &str, failed: f64| {
            says(node, |row| {
                called(row, "conntrack_full", "node", "high");
                "conntrack_full/node".clone_into(&mut row.id);
                row.subject = SubjectRow {
                    kind: "node".to_owned(),
                    node: Some(node.to_owned()),
                    ..SubjectRow::default()
                };
                row.impact.failed_connections_per_second = failed;
            })
        };
        let merged = Merged::new(vec![of_node("n1", 1.0), of_node("n2", 5.0)]);
        let nodes: Vec<_> = merged.findings.iter().map(|said| said.nodes[0].as_str()).collect();
        assert_eq!(nodes, ["n2", "n1"]);
        // The path between two nodes is one, from whichever end.
        let of_path = |node: &str, peer: &str| {
            says(node, |row| {
                row.id = format!("path_loss/node/{peer}");
                let (kind, node) = ("node_pair".to_owned(), Some(node.to_owned()));
                row.subject =
                    SubjectRow { kind, node, peer_node: Some(peer.to_owned()), ..SubjectRow::default() };
            })
        };
        let merged = Merged::new(vec![of_path("n1", "n2"), of_path("n2", "n1")]);
        assert_eq!(merged.findings.len(), 1);
    }
}
