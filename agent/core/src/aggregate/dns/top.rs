//! Ranks the names that a workload queries most, that fail most and that are slowest, over the last 15 to 30 minutes.
//!
//! The number of names is unbounded, so only those of most weight are kept: the space-saving algorithm (Metwally, Agrawal and
//! El Abbadi, 2005). A new name takes the place of the one that weighs least, and its weight as well, because it may have
//! been that name's equal before. What is shown of a name was counted since it took its place; how many of its queries
//! may be missing is shown with it. A failure weighs as much as `FAILURE_WEIGHT` queries, so that a name that fails is kept
//! although others are queried more.
//!
//! Memory: at most two windows of `MAX_WORKLOADS` × `MAX_NAMES` names, each some 150 bytes and the name's text: 5 MiB
//! and the texts when all is full.

mod names;

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use crate::enrich::Workload;
use names::{Kept, Names};
pub use names::{LookupOutcome, NameStats};

use crate::enrich::policy::Label;

/// Names that are kept of a workload: of those that are shown, the ten first are right even when the next hundred are
/// about as frequent.
const MAX_NAMES: usize = 64;
/// Workloads that are kept; what the next ones ask counts for [`Workload::Other`].
const MAX_WORKLOADS: usize = 256;
/// A window ends after this time; the one before it is still shown.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The weight of a failure, in queries.
const FAILURE_WEIGHT: u64 = 100;
/// A name needs so many answers to be ranked by its mean latency.
const MIN_ANSWERS: u64 = 2;

/// The names queried by each workload, in two windows.
#[derive(Debug, Default)]
pub struct Top {
    present: Window,
    previous: Window,
    began: Duration,
}

type Window = HashMap<Workload, Names>;

/// The top names of a workload.
#[derive(Debug, Default, PartialEq)]
pub struct Lists {
    /// Most queries first.
    pub by_volume: Vec<(Label, NameStats)>,
    /// Most failures and timeouts first; only names with any.
    pub by_failures: Vec<(Label, NameStats)>,
    /// Longest mean latency first; only names with at least two answers.
    pub by_latency: Vec<(Label, NameStats)>,
}

impl Top {
    /// Records the outcome of one query of a workload, at this time since a fixed moment.
    pub fn record(&mut self, workload: &Workload, label: Label, outcome: LookupOutcome, at: Duration) {
        self.turn(at);
        let is_full = self.present.len() >= MAX_WORKLOADS;
        let workload =
            if is_full && !self.present.contains_key(workload) { &Workload::Other } else { workload };
        // Looked up twice instead of cloned each time.
        if !self.present.contains_key(workload) {
            self.present.insert(workload.clone(), Names::default());
        }
        if let Some(names) = self.present.get_mut(workload) {
            names.record(label, outcome);
        }
    }

    /// Moves the names of a workload to its new name, unless that has names of its own already.
    pub fn rename(&mut self, old: &Workload, new: &Workload) {
        for window in [&mut self.present, &mut self.previous] {
            if let Some(names) = window.remove(old) {
                window.entry(new.clone()).or_insert(names);
            }
        }
    }

    /// The workloads with names, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let gone = self.previous.keys().filter(|workload| !self.present.contains_key(*workload));
        self.present.keys().chain(gone)
    }

    /// The top names of a workload, at most `limit` in each list. Names of equal rank are in alphabetical order.
    #[must_use]
    pub fn lists(&self, workload: &Workload, limit: usize) -> Lists {
        let kept = self.kept(workload);
        let first = |is: fn(&NameStats) -> bool, key: fn(&NameStats) -> u128| {
            let mut all: Vec<_> = kept.iter().filter(|(_, stats)| is(stats)).collect();
            all.sort_by(|(a, left), (b, right)| key(right).cmp(&key(left)).then_with(|| a.cmp(b)));
            all.into_iter().take(limit).cloned().collect()
        };
        Lists {
            by_volume: first(|_| true, |stats| stats.queries.into()),
            by_failures: first(|stats| stats.failed() > 0, |stats| stats.failed().into()),
            by_latency: first(
                |stats| stats.answers >= MIN_ANSWERS,
                |stats| stats.mean().map_or(0, |mean| mean.as_nanos()),
            ),
        }
    }

    /// Begins a new window if the present one is over.
    pub fn turn(&mut self, at: Duration) {
        let age = at.saturating_sub(self.began);
        if age < WINDOW {
            return;
        }
        self.previous = if age < WINDOW * 2 { mem::take(&mut self.present) } else { Window::new() };
        self.present = Window::new();
        self.began = at;
    }

    /// The names of a workload with the statistics of both windows.
    fn kept(&self, workload: &Workload) -> Vec<(Label, NameStats)> {
        let windows = [self.present.get(workload), self.previous.get(workload)];
        let mut all: HashMap<&Label, NameStats> = HashMap::new();
        for Kept { label, .. } in windows.iter().flatten().flat_map(|names| names.all()) {
            // What a window dropped may have had as much there as the least that it keeps.
            let stats = windows.iter().flatten().map(|names| names.stats(label));
            all.entry(label).or_insert_with(|| stats.fold(NameStats::default(), NameStats::plus));
        }
        all.into_iter().map(|(label, stats)| (label.clone(), stats)).collect()
    }
}

#[cfg(test)]
mod tests;
