//! Findings over time: they begin with evidence in two judgements, or one that leaves no doubt, and end when it stays away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use super::finding::{Dated, Finding, Subject};
use crate::aggregate::Edge;
use crate::enrich::objects::Seconds;

/// A finding ends when there is no evidence of it for so long: SYNs are repeated after 1, 3, 7, 15 and 31 seconds.
const QUIET: Duration = Duration::from_secs(35);
/// The first evidence waits so long for the second.
const SECOND_EVIDENCE: Duration = Duration::from_secs(30);
/// An ended finding is shown for so long.
const KEPT: Duration = Duration::from_mins(15);
/// Findings that are active at a time; the weightiest come first.
const MAX_ACTIVE: usize = 512;
/// Ended ones that are kept.
const MAX_ENDED: usize = 512;

/// Something that happened to a finding.
#[derive(Clone, Debug)]
pub enum Turn {
    /// It has begun.
    Began(Dated),
    /// It lasts, and is surer than before.
    Surer(Dated),
    /// It has ended, after so long.
    Ended(Dated, Duration),
}

/// All findings.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    pub(super) current: BTreeMap<String, Current>,
    /// The latest last, with when it ended.
    pub(super) ended: VecDeque<(Duration, Dated)>,
    /// How often each cause was found, by its number and side.
    pub(super) found: BTreeMap<(u8, u8), u64>,
}

/// A finding that has not ended, or the first evidence of one.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub finding: Arc<Finding>,
    /// The first evidence: by both clocks.
    pub began: (Duration, Seconds),
    /// The last.
    pub last: (Duration, Seconds),
    pub judgements: u32,
    pub is_active: bool,
}

impl Current {
    fn dated(&self) -> Dated {
        Dated { finding: Arc::clone(&self.finding), since: self.began.1, until: None }
    }
}

impl Tracker {
    /// Takes what one judgement says; the times are those of its end, and of the begin of its last part.
    pub fn judge(&mut self, drafts: Vec<Draft>, now: Duration, wall: Seconds, window: Duration) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut drafts = drafts;
        let mut replaced = self.replaced(&drafts);
        drafts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        for draft in drafts {
            let id = draft.finding.id();
            // What is known of more is not said of a part of it while that lasts.
            if self.is_part_of_another(&draft.finding) {
                continue;
            }
            if !self.current.contains_key(&id) && self.current.len() >= MAX_ACTIVE {
                continue;
            }
            let began = (now.saturating_sub(window), wall.saturating_sub(window.as_secs()));
            let current = self.current.entry(id).or_insert_with(|| Current {
                finding: Arc::new(draft.finding.clone()),
                began,
                last: (now, wall),
                judgements: 0,
                is_active: false,
            });
            current.judgements += 1;
            current.last = (now, wall);
            // It does not become less sure while it lasts: what has ended in the meantime was seen.
            let confidence = if current.is_active {
                std::cmp::max_by_key(current.finding.confidence, draft.finding.confidence, |confidence| {
                    *confidence as u8
                })
            } else {
                draft.finding.confidence
            };
            let is_surer = current.is_active && confidence != current.finding.confidence;
            current.finding = Arc::new(Finding { confidence, ..draft.finding });
            if is_surer {
                turns.push(Turn::Surer(current.dated()));
            } else if !current.is_active && (draft.is_plain || current.judgements >= 2) {
                current.is_active = true;
                let key = (current.finding.cause as u8, current.finding.side as u8);
                *self.found.entry(key).or_default() += 1;
                turns.push(Turn::Began(current.dated()));
            }
        }
        let over: Vec<String> = self
            .current
            .iter()
            .filter(|(_, current)| {
                let silent = now.saturating_sub(current.last.0);
                silent >= if current.is_active { QUIET } else { SECOND_EVIDENCE }
                    || self.is_part_of_another(&current.finding)
            })
            .map(|(id, _)| id.clone())
            .chain(replaced.drain(..))
            .collect();
        for id in over {
            if let Some(current) = self.current.remove(&id).filter(|current| current.is_active) {
                let dated = Dated { until: Some(current.last.1), ..current.dated() };
                turns.push(Turn::Ended(dated.clone(), current.last.0.saturating_sub(current.began.0)));
                self.ended.push_back((now, dated));
            }
        }
        self.ended.retain(|(at, _)| now.saturating_sub(*at) < KEPT);
        while self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
        turns
    }

    /// True for a pair of workloads, if an active finding says the same of more than it: of a server with all its clients, of the node.
    fn is_part_of_another(&self, finding: &Finding) -> bool {
        let Subject::Edge(pair) = &finding.subject else { return false };
        let is_pair = |edge: &Arc<Edge>| {
            edge.source == pair.source && edge.destination == pair.destination && edge.port == pair.port
        };
        self.active().any(|wide| {
            wide.cause == finding.cause
                && !matches!(wide.subject, Subject::Edge(_))
                && wide.affected.iter().any(is_pair)
        })
    }

    /// Findings that the drafts give another cause of the same family: what looked like one is known better now.
    fn replaced(&self, drafts: &[Draft]) -> Vec<String> {
        let is_replaced = |current: &Finding| {
            let same = |draft: &&Draft| {
                draft.finding.subject == current.subject
                    && draft.finding.cause.family() == current.cause.family()
            };
            let mut of_subject = drafts.iter().filter(same).peekable();
            of_subject.peek().is_some() && of_subject.all(|draft| draft.finding.cause != current.cause)
        };
        self.current
            .iter()
            .filter(|(_, current)| is_replaced(&current.finding))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Those that are active, the surest first, and then those that have ended, the latest first.
    #[must_use]
    pub fn findings(&self) -> Vec<Dated> {
        let active = self.current.values().filter(|current| current.is_active);
        let mut dated: Vec<Dated> = active.map(Current::dated).collect();
        dated.sort_by_key(|dated| (std::cmp::Reverse(dated.finding.confidence as u8), dated.since));
        dated.extend(self.ended.iter().rev().map(|(_, dated)| dated.clone()));
        dated
    }

    /// The active findings.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Finding>> {
        self.current.values().filter(|current| current.is_active).map(|current| &current.finding)
    }

    /// How often each cause was found: by the numbers of the cause and of the side.
    #[must_use]
    pub fn found(&self) -> &BTreeMap<(u8, u8), u64> {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Reporter, Via};
    use crate::diagnose::cause::{Cause, Confidence};
    use crate::diagnose::finding::Pair;
    use crate::enrich::Workload;

    #[test]
    fn a_pair_is_a_part_of_its_servers_finding() {
        let edge = Arc::new(Edge {
            reporter: Reporter::Source,
            source: Workload::plain("web"),
            destination: Workload::plain("db"),
            service: None,
            port: Some(5432),
            via: Via::Direct,
        });
        let of_pair =
            Draft::of_edge(Cause::DeadPath, &edge, Confidence::High, String::new()).weighs(1.0, true);
        let subject = Subject::Listener(Workload::plain("db"), Some(5432));
        let mut of_server =
            Draft::new(Cause::DeadPath, subject, Confidence::High, String::new()).weighs(2.0, true);
        of_server.finding.affected = vec![Arc::clone(&edge)];
        assert_eq!(of_pair.finding.subject, Subject::Edge(Pair::of(&edge)));
        let mut tracker = Tracker::default();
        let mut seconds = 0;
        let mut active = |drafts: Vec<Draft>| {
            seconds += 5;
            tracker.judge(drafts, Duration::from_secs(seconds), seconds, Duration::from_secs(5));
            let subjects = tracker.active().map(|finding| finding.subject.clone());
            subjects.map(|subject| matches!(subject, Subject::Edge(_))).collect::<Vec<_>>()
        };
        assert_eq!(active(vec![of_pair.clone()]), [true]);
        assert_eq!(active(vec![of_server]), [false], "the pair's has ended");
        assert_eq!(active(vec![of_pair.clone()]), [false], "and does not begin again at once");
        for _ in 0..6 {
            active(vec![of_pair.clone()]);
        }
        assert_eq!(active(vec![of_pair]), [true], "the pair alone has it now");
    }

    #[test]
    fn what_gets_surer_is_said_once_and_with_its_begin() {
        let mut tracker = Tracker::default();
        let mut said = Vec::new();
        let confidences = [
            Some(Confidence::Low),
            Some(Confidence::Low),
            Some(Confidence::High),
            // It does not become less sure.
            Some(Confidence::Low),
            Some(Confidence::High),
        ];
        for (number, confidence) in (1..).zip(confidences.into_iter().chain([None; 9])) {
            let draft = |confidence| Draft::new(Cause::PathLoss, Subject::Node, confidence, String::new());
            let drafts = confidence.map(draft).into_iter().collect();
            let (now, wall) = (Duration::from_secs(5 * number), 1_000 + 5 * number);
            for turn in tracker.judge(drafts, now, wall, Duration::from_secs(5)) {
                said.push(match turn {
                    Turn::Began(dated) => {
                        (number, "began", dated.finding.confidence, dated.since, dated.until)
                    }
                    Turn::Surer(dated) => {
                        (number, "surer", dated.finding.confidence, dated.since, dated.until)
                    }
                    Turn::Ended(dated, after) => {
                        assert_eq!(after, Duration::from_secs(25));
                        (number, "ended", dated.finding.confidence, dated.since, dated.until)
                    }
                });
            }
        }
        assert_eq!(
            said,
            [
                (2, "began", Confidence::Low, 1_000, None),
                (3, "surer", Confidence::High, 1_000, None),
                (12, "ended", Confidence::High, 1_000, Some(1_025)),
            ]
        );
    }
}
