//! What changed lately: counters in windows of five seconds, kept in coarser and coarser steps for ten minutes.
//!
//! Whoever counts says what each subject (an edge; the types know no more of it) has counted, and whatever happens to its name.
//! So a window needs no reading of its own, and a subject that did nothing costs nothing. A window ends with the first reading of
//! the kernel's tables that finds it five seconds old: where readings are rarer, windows are as long as their interval.
//!
//! Names are those of the time: what was counted under a name keeps it when the name changes. A name that comes late was right
//! all the time ([`Windows::renamed`], [`Windows::merged`], [`Windows::moved`]).
//!
//! Bounded in bytes: steps are dropped before their time, oldest first, and subjects that have ended are folded; both are
//! counted ([`Statistics`]). There is no clock here: the time is an argument, and may stand still or jump.

mod history;
mod recent;
pub(crate) mod record;
mod step;
mod subjects;
#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use super::packed::Packed;
use super::totals::{words, words_mut};
use history::History;
use step::Log;
use subjects::Subjects;

pub use recent::{Entries, Recent, Span, Sums};
pub(crate) use step::Step;
pub(crate) use subjects::Subject;

/// A window ends with the first reading that finds it so old.
pub const WIDTH: Duration = Duration::from_secs(5);
/// How long steps are kept.
pub const KEPT: Duration = Duration::from_mins(10);
/// Pasts that move to another subject in one window. Further ones stay where they were counted.
const MAX_MOVES: usize = 4096;

/// From which subject to which, and what.
type Move<C> = (Subject, Subject, C);

/// The name of a subject.
pub trait Name: PartialEq {
    /// The name under which this one is counted when there are too many.
    #[must_use]
    fn other(&self) -> Self
    where
        Self: Sized;
}

/// Counters of type `C` of subjects that the rest of the agent knows as `Id`, and people by a name.
#[derive(Debug)]
pub struct Windows<Id, N, C> {
    subjects: Subjects<Id, N>,
    /// What was counted in the window that has not ended.
    open: Log<C>,
    /// When that window began; `None` before the first reading.
    began: Option<Duration>,
    /// The time of the last reading.
    read: Duration,
    /// Pasts that belong to another subject, by the order in which that was known.
    moves: Vec<Move<Packed<C>>>,
    history: History<C>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of all steps.
    pub bytes: usize,
    /// Bytes that they may take.
    pub max_bytes: usize,
    /// The time that they reach back.
    pub reach: Duration,
    /// Steps that were dropped before their time because they took too many bytes.
    pub dropped: u64,
    /// Subjects that have ended and are counted under another name, because there are too many.
    pub folded: u64,
}

impl<Id: Eq + Hash, N: Name, C: Pod> Windows<Id, N, C> {
    /// Nothing counted; steps may take so many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            subjects: Subjects::default(),
            open: Log::default(),
            began: None,
            read: Duration::ZERO,
            moves: Vec::new(),
            history: History::new(max_bytes),
        }
    }

    /// Adds what a subject has counted.
    pub fn count(&mut self, id: Id, name: &Arc<N>, counted: &C) {
        if is_zero(counted) {
            return;
        }
        let subject = self.subjects.of(id, name);
        self.open.add(subject, counted);
        self.open.tidy(|subject| self.subjects.resolve(subject));
    }

    /// A subject has another name now, and had it all the time.
    pub fn renamed(&mut self, id: &Id, name: &Arc<N>) {
        self.subjects.rename(id, name);
    }

    /// A subject is a part of another one now, and was all the time. Its `Id` may be used again.
    pub fn merged(&mut self, from: &Id, into: Id, name: &Arc<N>) {
        self.subjects.merge(from, into, name);
    }

    /// A part of what one subject has counted is another one's, and was all the time. It is taken from the latest windows first,
    /// and never more than they have.
    pub fn moved(&mut self, from: &Id, to: Id, name: &Arc<N>, past: &C) {
        if let Some(from) = self.subjects.find(from).filter(|_| self.moves.len() < MAX_MOVES) {
            let to = self.subjects.of(to, name);
            self.moves.push((from, to, Packed::new(past)));
        }
    }

    /// A subject is no more; what it has counted stays. Its `Id` may be used again.
    pub fn ended(&mut self, id: &Id) {
        self.subjects.end(id);
    }

    /// A reading of the kernel's tables has ended. What was counted up to the first one belongs to no window, because nothing
    /// says how long that took.
    pub fn end_reading(&mut self, now: Duration) {
        self.read = now;
        let Some(began) = self.began else {
            self.open = Log::default();
            self.moves.clear();
            self.began = Some(now);
            return;
        };
        self.move_pasts(began);
        if now < began {
            // A clock that went back begins anew.
            self.history.drop_after(now);
            self.began = Some(now);
        } else if now - began >= WIDTH {
            let step = self.open_step(began, now);
            self.open = Log::default();
            self.history.push(step, now, |subject| self.subjects.resolve(subject));
            self.subjects.forget(|| self.history.subjects());
            self.began = Some(now);
        }
    }

    /// True when the last reading has ended a window.
    #[must_use]
    pub fn has_just_ended(&self) -> bool {
        self.began == Some(self.read) && self.history.begin().is_some()
    }

    /// What is kept, to be read elsewhere.
    #[must_use]
    pub fn recent(&self) -> Recent<N, C> {
        let open = self.began.map(|began| Arc::new(self.open_step(began, self.read.max(began))));
        Recent::new(open.into_iter().chain(self.history.latest_first().cloned()), self.subjects.names())
    }

    /// How much is kept.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            bytes: self.history.bytes(),
            max_bytes: self.history.max_bytes(),
            reach: self.history.begin().map_or(Duration::ZERO, |begin| self.read.saturating_sub(begin)),
            dropped: self.history.dropped(),
            folded: self.subjects.folded(),
        }
    }

    /// Gives pasts to whom they belong: those of the open window first.
    fn move_pasts(&mut self, began: Duration) {
        if self.moves.is_empty() {
            return;
        }
        let resolve = |subject| self.subjects.resolve(subject);
        let moves = std::mem::take(&mut self.moves).into_iter();
        let moves = moves.map(|(from, to, past)| (resolve(from), resolve(to), past.unpack()));
        let mut pasts: Vec<_> = moves.filter(|(from, to, _)| from != to).collect();
        if let Some(moved) = self.open_step(began, began).moved(&mut pasts, resolve) {
            self.open = moved.into_log();
        }
        self.history.move_pasts(&mut pasts, resolve);
    }

    fn open_step(&self, begin: Duration, end: Duration) -> Step<C> {
        Step::sum(begin, end, self.open.entries(), |subject| self.subjects.resolve(subject))
    }
}

/// Takes from `wanted` what there is of it, counter by counter, and returns that.
fn take<C: Pod>(wanted: &mut C, there: &C) -> C {
    let mut taken = *there;
    for (taken, wanted) in words_mut(&mut taken).iter_mut().zip(words_mut(wanted)) {
        *taken = (*taken).min(*wanted);
        *wanted -= *taken;
    }
    taken
}

fn negative<C: Pod>(counters: &C) -> C {
    let mut negative = *counters;
    words_mut(&mut negative).iter_mut().for_each(|word| *word = word.wrapping_neg());
    negative
}

fn is_zero<C: Pod>(counters: &C) -> bool {
    words(counters).iter().all(|word| *word == 0)
}
