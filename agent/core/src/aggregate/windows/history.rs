//! Steps of the last minutes, the older the coarser.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use super::step::Step;
use super::subjects::Subject;
use super::{KEPT, Move};

/// How wide steps of an age may become, by the age from which on: some fifteen steps in ten minutes.
const WIDTHS: [(Duration, Duration); 3] = [
    (Duration::from_mins(3), Duration::from_mins(2)),
    (Duration::from_mins(1), Duration::from_mins(1)),
    (Duration::from_secs(30), Duration::from_secs(15)),
];
/// Steps that are added up at the end of one window. Five-second windows need one on average.
const MAX_SUMS: usize = 2;

/// Steps, bounded in time and bytes.
#[derive(Debug)]
pub struct History<C> {
    /// The oldest first. Shared with whoever reads them.
    steps: VecDeque<Arc<Step<C>>>,
    max_bytes: usize,
    dropped: u64,
}

impl<C: Pod> History<C> {
    /// Without steps.
    pub fn new(max_bytes: usize) -> Self {
        Self { steps: VecDeque::new(), max_bytes, dropped: 0 }
    }

    /// Adds the latest step, adds up old ones, and drops the oldest where that is due.
    pub fn push(&mut self, step: Step<C>, now: Duration, resolve: impl Fn(Subject) -> Subject) {
        self.steps.push_back(Arc::new(step));
        self.steps.retain(|step| now.saturating_sub(step.end) < KEPT);
        for _ in 0..MAX_SUMS {
            if !self.sum_two(now, &resolve) {
                break;
            }
        }
        while self.bytes() > self.max_bytes && self.steps.pop_front().is_some() {
            self.dropped += 1;
        }
    }

    /// Gives pasts to other subjects, from the latest step on as far as each has them.
    pub fn move_pasts(&mut self, pasts: &mut Vec<Move<C>>, resolve: impl Fn(Subject) -> Subject + Copy) {
        for step in self.steps.iter_mut().rev() {
            if pasts.is_empty() {
                return;
            }
            if let Some(moved) = step.moved(pasts, resolve) {
                *step = Arc::new(moved);
            }
        }
    }

    /// Drops the steps that end later than that.
    pub fn drop_after(&mut self, time: Duration) {
        let before = self.steps.len();
        self.steps.retain(|step| step.end <= time);
        self.dropped += (before - self.steps.len()) as u64;
    }

    /// The latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = &Arc<Step<C>>> {
        self.steps.iter().rev()
    }

    /// The subjects that steps have counters of.
    pub fn subjects(&self) -> HashSet<Subject> {
        self.steps.iter().flat_map(|step| step.entries()).map(|(subject, _)| subject).collect()
    }

    /// When the oldest step began.
    pub fn begin(&self) -> Option<Duration> {
        self.steps.front().map(|step| step.begin)
    }

    /// What all steps take.
    pub fn bytes(&self) -> usize {
        self.steps.iter().map(|step| step.bytes()).sum()
    }

    /// What they may take.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Steps dropped before their time.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds up the two oldest neighbours that may be one step by now. False when there are none.
    fn sum_two(&mut self, now: Duration, resolve: impl Fn(Subject) -> Subject) -> bool {
        let may_be_one = |(a, b): (&Arc<Step<C>>, &Arc<Step<C>>)| {
            let age = now.saturating_sub(b.end);
            let widest =
                WIDTHS.iter().find(|(from, _)| age >= *from).map_or(Duration::ZERO, |(_, width)| *width);
            a.width() + b.width() <= widest
        };
        let pairs = self.steps.iter().zip(self.steps.iter().skip(1));
        let Some(index) = pairs.map(may_be_one).position(|may| may) else { return false };
        if let Some(later) = self.steps.remove(index + 1)
            && let Some(step) = self.steps.get_mut(index)
        {
            *step =
                Arc::new(Step::sum(step.begin, later.end, step.entries().chain(later.entries()), resolve));
        }
        true
    }
}
