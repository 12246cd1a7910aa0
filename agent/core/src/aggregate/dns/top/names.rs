//! The names of one workload in one window.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::dns::ResponseCode;

use super::{MAX_NAMES, TROUBLE};
use crate::enrich::policy::Label;

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// An answer, and how long it took.
    Answered(ResponseCode, Duration),
    /// None in time.
    TimedOut,
}

/// What is known of a name, of the answers looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers and timeouts.
    pub queries: u64,
    /// Answers that there is no such name.
    pub nxdomain: u64,
    /// Answers with neither success nor NXDOMAIN.
    pub failures: u64,
    /// Queries that were not answered in time.
    pub timeouts: u64,
    /// Answers.
    pub answers: u64,
    /// Their time together.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
    /// Queries that may be missing, because the name was not among those that are kept.
    pub at_most_missed: u64,
}

impl Stats {
    /// Failures and timeouts.
    #[must_use]
    pub fn troubles(&self) -> u64 {
        self.failures.saturating_add(self.timeouts)
    }

    /// How long an answer took; `None` without one.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.answers > 0).then(|| self.sum.div_f64(self.answers as f64))
    }

    /// Both together.
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

    fn count(&mut self, looked: Looked) {
        self.queries += 1;
        match looked {
            Looked::TimedOut => self.timeouts += 1,
            Looked::Answered(code, duration) => {
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

    /// What the name weighs at most.
    fn weight(&self) -> u64 {
        let counted = self.troubles().saturating_mul(TROUBLE).saturating_add(self.queries);
        counted.saturating_add(self.at_most_missed)
    }
}

/// A name that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub label: Label,
    pub stats: Stats,
}

/// See above; at most [`MAX_NAMES`].
#[derive(Debug, Default)]
pub(super) struct Names {
    kept: Vec<Kept>,
    places: HashMap<Label, usize>,
    /// The greatest weight that was dropped: no name that is not kept has had more.
    dropped: u64,
}

impl Names {
    pub fn looked(&mut self, label: Label, looked: Looked) {
        let place = match self.places.get(&label) {
            Some(place) => *place,
            None => self.keep(label),
        };
        self.kept[place].stats.count(looked);
    }

    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    /// What is known of a name, if only how much of it may be missing.
    pub fn stats(&self, label: &Label) -> Stats {
        match self.places.get(label) {
            Some(place) => self.kept[*place].stats,
            None => Stats { at_most_missed: self.dropped, ..Stats::default() },
        }
    }

    /// Makes a place for a new name: its number.
    fn keep(&mut self, label: Label) -> usize {
        let mut place = self.kept.len();
        if place < MAX_NAMES {
            let new = Kept { label: label.clone(), stats: Stats::default() };
            self.kept.push(new);
        } else {
            let weights = self.kept.iter().map(|kept| kept.stats.weight()).enumerate();
            (place, self.dropped) = weights.min_by_key(|(_, weight)| *weight).unwrap_or((0, 0));
            let stats = Stats { at_most_missed: self.dropped, ..Stats::default() };
            self.places.remove(&self.kept[place].label);
            self.kept[place] = Kept { label: label.clone(), stats };
        }
        self.places.insert(label, place);
        place
    }
}
