//! Which names a workload asks for most, which fail, and which are slow, in the last 15 to 30 minutes.
//!
//! Names are without number, so only those that weigh most are kept: the space-saving algorithm (Metwally, Agrawal and
//! El Abbadi, 2005). A new name takes the place of the one that weighs least, and its weight as well, because it may have
//! been that name's equal before. What is shown of a name was counted since it took its place; how many of its queries
//! may be missing is shown with it. A failure weighs as much as [`TROUBLE`] queries, so that a name that fails is kept
//! although others are asked for more.
//!
//! Memory: at most two windows of [`MAX_WORKLOADS`] × [`MAX_NAMES`] names, each some 150 octets and the name's text: 5 MiB
//! and the texts when all is full.

mod names;

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use crate::enrich::Workload;
use names::{Kept, Names};
pub use names::{Looked, Stats};

use crate::enrich::policy::Label;

/// Names that are kept of a workload: of those that are shown, the ten first are right even when the next hundred are
/// about as frequent.
const MAX_NAMES: usize = 64;
/// Workloads that are kept; what the next ones ask counts for [`Workload::Other`].
const MAX_WORKLOADS: usize = 256;
/// A window ends after this time; the one before it is still shown.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// What a failure weighs, in queries.
const TROUBLE: u64 = 100;
/// A mean is one of so many answers at least.
const MIN_ANSWERS: u64 = 2;

/// What names were asked for by each workload.
#[derive(Debug, Default)]
pub struct Top {
    present: Window,
    previous: Window,
    began: Duration,
}

type Window = HashMap<Workload, Names>;

/// The first names of a workload's lists.
#[derive(Debug, Default, PartialEq)]
pub struct Lists {
    /// Most queries first.
    pub by_volume: Vec<(Label, Stats)>,
    /// Most failures and timeouts first; only names with any.
    pub by_failures: Vec<(Label, Stats)>,
    /// Longest mean first; only names with [`MIN_ANSWERS`].
    pub by_latency: Vec<(Label, Stats)>,
}

impl Top {
    /// A workload asked for this name and this came of it, at this time since a fixed moment.
    pub fn looked(&mut self, workload: &Workload, label: Label, looked: Looked, at: Duration) {
        self.turn(at);
        let is_full = self.present.len() >= MAX_WORKLOADS;
        let workload =
            if is_full && !self.present.contains_key(workload) { &Workload::Other } else { workload };
        // Looked up twice instead of cloned each time.
        if !self.present.contains_key(workload) {
            self.present.insert(workload.clone(), Names::default());
        }
        if let Some(names) = self.present.get_mut(workload) {
            names.looked(label, looked);
        }
    }

    /// A workload is called something else from now on. Where that has lists already, they stay as they are.
    pub fn rename(&mut self, old: &Workload, new: &Workload) {
        for window in [&mut self.present, &mut self.previous] {
            if let Some(names) = window.remove(old) {
                window.entry(new.clone()).or_insert(names);
            }
        }
    }

    /// The workloads that there are lists of.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let gone = self.previous.keys().filter(|workload| !self.present.contains_key(*workload));
        self.present.keys().chain(gone)
    }

    /// Lists of so many names each at most. What is equal stands in the order of the names.
    #[must_use]
    pub fn lists(&self, workload: &Workload, limit: usize) -> Lists {
        let kept = self.kept(workload);
        let first = |is: fn(&Stats) -> bool, key: fn(&Stats) -> u128| {
            let mut all: Vec<_> = kept.iter().filter(|(_, stats)| is(stats)).collect();
            all.sort_by(|(a, left), (b, right)| key(right).cmp(&key(left)).then_with(|| a.cmp(b)));
            all.into_iter().take(limit).cloned().collect()
        };
        Lists {
            by_volume: first(|_| true, |stats| stats.queries.into()),
            by_failures: first(|stats| stats.troubles() > 0, |stats| stats.troubles().into()),
            by_latency: first(
                |stats| stats.answers >= MIN_ANSWERS,
                |stats| stats.mean().map_or(0, |mean| mean.as_nanos()),
            ),
        }
    }

    /// Begins a new window when it is time.
    pub fn turn(&mut self, at: Duration) {
        let age = at.saturating_sub(self.began);
        if age < WINDOW {
            return;
        }
        self.previous = if age < WINDOW * 2 { mem::take(&mut self.present) } else { Window::new() };
        self.present = Window::new();
        self.began = at;
    }

    /// Both windows of a workload together.
    fn kept(&self, workload: &Workload) -> Vec<(Label, Stats)> {
        let windows = [self.present.get(workload), self.previous.get(workload)];
        let mut all: HashMap<&Label, Stats> = HashMap::new();
        for Kept { label, .. } in windows.iter().flatten().flat_map(|names| names.all()) {
            // What a window dropped may have had as much there as the least that it keeps.
            let stats = windows.iter().flatten().map(|names| names.stats(label));
            all.entry(label).or_insert_with(|| stats.fold(Stats::default(), Stats::plus));
        }
        all.into_iter().map(|(label, stats)| (label.clone(), stats)).collect()
    }
}

#[cfg(test)]
mod tests;
