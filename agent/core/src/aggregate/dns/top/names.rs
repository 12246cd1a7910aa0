//! The names of one workload in one window.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::dns::ResponseCode;

use super::{FAILURE_WEIGHT, MAX_NAMES};
use crate::enrich::policy::Label;

/// The outcome of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// It was answered with this code after this time.
    Answered(ResponseCode, Duration),
    /// It was not answered in time.
    TimedOut,
}

/// Counters of one name, of the answers that were examined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameStats {
    /// Queries that were answered or timed out.
    pub queries: u64,
    /// Answers with NXDOMAIN.
    pub nxdomain: u64,
    /// Answers with a code other than NOERROR and NXDOMAIN.
    pub failures: u64,
    /// Queries that timed out.
    pub timeouts: u64,
    /// Answers.
    pub answers: u64,
    /// The sum of their latencies.
    pub sum: Duration,
    /// The longest latency.
    pub max: Duration,
    /// The most queries that these counters may lack, because the name was not among those that are kept.
    pub at_most_missed: u64,
}

impl NameStats {
    /// Failures and timeouts.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.saturating_add(self.timeouts)
    }

    /// The mean latency of answers; `None` without one.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.answers > 0).then(|| self.sum.div_f64(self.answers as f64))
    }

    /// The sum of both.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            queries: self.queries.saturating_add(other.queries),
            nxdomain: self.nxdomain.saturating_add(other.nxdomain),
            failures: self.failures.saturating_add(other.failures),
            timeouts: self.timeouts.saturating_add(other.timeouts),
            answers: self.answers.saturating_add(other.answers),
            sum: self.sum.saturating_add(other.sum),
            max: self.max.max(other.max),
            at_most_missed: self.at_most_missed.saturating_add(other.at_most_missed),
        }
    }

    fn count(&mut self, outcome: LookupOutcome) {
        self.queries += 1;
        match outcome {
            LookupOutcome::TimedOut => self.timeouts += 1,
            LookupOutcome::Answered(code, duration) => {
                match code {
                    ResponseCode::NoError => {}
                    ResponseCode::NxDomain => self.nxdomain += 1,
                    _ => self.failures += 1,
                }
                self.answers += 1;
                self.sum = self.sum.saturating_add(duration);
                self.max = self.max.max(duration);
            }
        }
    }

    /// The most that the name may weigh.
    fn weight(&self) -> u64 {
        let counted = self.failed().saturating_mul(FAILURE_WEIGHT).saturating_add(self.queries);
        counted.saturating_add(self.at_most_missed)
    }
}

/// A name that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub label: Label,
    pub stats: NameStats,
}

/// The names of one workload in one window, at most [`MAX_NAMES`].
#[derive(Debug, Default)]
pub(super) struct Names {
    kept: Vec<Kept>,
    /// The index in `kept` of each name.
    indexes: HashMap<Label, usize>,
    /// The greatest weight that was dropped: no name that is not kept has more.
    dropped: u64,
}

impl Names {
    pub fn record(&mut self, label: Label, outcome: LookupOutcome) {
        let index = match self.indexes.get(&label) {
            Some(index) => *index,
            None => self.keep(label),
        };
        self.kept[index].stats.count(outcome);
    }

    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    /// The counters of a name. For one that is not kept they say only how many queries may be missing.
    pub fn stats(&self, label: &Label) -> NameStats {
        match self.indexes.get(label) {
            Some(index) => self.kept[*index].stats,
            None => NameStats { at_most_missed: self.dropped, ..NameStats::default() },
        }
    }

    /// Adds a new name, in place of the lightest one if there are [`MAX_NAMES`]; returns its index.
    fn keep(&mut self, label: Label) -> usize {
        let mut index = self.kept.len();
        if index < MAX_NAMES {
            let new = Kept { label: label.clone(), stats: NameStats::default() };
            self.kept.push(new);
        } else {
            let weights = self.kept.iter().map(|kept| kept.stats.weight()).enumerate();
            (index, self.dropped) = weights.min_by_key(|(_, weight)| *weight).unwrap_or((0, 0));
            let stats = NameStats { at_most_missed: self.dropped, ..NameStats::default() };
            self.indexes.remove(&self.kept[index].label);
            self.kept[index] = Kept { label: label.clone(), stats };
        }
        self.indexes.insert(label, index);
        index
    }
}
