//! What is kept, as plain data that can be read elsewhere while counting goes on.

use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use super::super::totals;
use super::record;
use super::step::{Step, by_subject, in_order};
use super::subjects::Subject;

/// Steps, and the names of their subjects at the time of reading.
#[derive(Debug)]
pub struct Recent<N, C> {
    /// The latest first; the first has not ended.
    steps: Vec<Arc<Step<C>>>,
    names: Vec<Option<(Subject, Arc<N>)>>,
}

/// The time that an answer covers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// From the begin of its first window to the last reading.
    pub covered: Duration,
    /// Its longest window.
    pub widest: Duration,
    /// Windows in it.
    pub windows: usize,
}

/// What subjects have counted within several times, to be added up as often as it takes.
#[derive(Debug)]
pub struct Sums<'a, N, const TIMES: usize> {
    names: &'a [Option<(Subject, Arc<N>)>],
    /// In the order of the subjects.
    entries: Vec<(Subject, Entry<'a>)>,
    /// What each of the times covers.
    pub spans: [Span; TIMES],
}

/// What a subject has counted in one window.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    /// The shortest of the times that has this window; all that are longer have it too.
    shortest: usize,
    bytes: &'a [u8],
}

/// What one subject has counted within several times.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a, const TIMES: usize>(&'a [(Subject, Entry<'a>)]);

impl<N, const TIMES: usize> Sums<'_, N, TIMES> {
    /// Subjects that have counted something. Those of one name may come several times.
    pub fn subjects(&self) -> impl Iterator<Item = (&Arc<N>, Entries<'_, TIMES>)> {
        by_subject(&self.entries).filter_map(|(subject, of_one)| {
            let (_, name) = self.names.get(subject)?.as_ref()?;
            Some((name, Entries(of_one)))
        })
    }
}

impl<const TIMES: usize> Entries<'_, TIMES> {
    /// True where something was counted within this time, by its place among the times.
    #[must_use]
    pub fn has(&self, time: usize) -> bool {
        self.0.iter().any(|(_, entry)| entry.shortest <= time)
    }

    /// Writes what was counted within each time.
    pub fn add_up<C: Pod>(&self, sums: &mut [C; TIMES]) {
        *sums = [C::zeroed(); TIMES];
        for (_, Entry { shortest, bytes }) in self.0 {
            record::add(bytes, &mut sums[*shortest]);
        }
        for time in 1..TIMES {
            let shorter = sums[time - 1];
            totals::add(&mut sums[time], &shorter);
        }
    }
}

impl<N, C> Default for Recent<N, C> {
    fn default() -> Self {
        Self { steps: Vec::new(), names: Vec::new() }
    }
}

impl<N, C: Pod> Recent<N, C> {
    pub(super) fn new(
        latest_first: impl Iterator<Item = Arc<Step<C>>>,
        names: Vec<Option<(Subject, Arc<N>)>>,
    ) -> Self {
        Self { steps: latest_first.collect(), names }
    }

    /// Calls with each subject that has counted within the latest windows, as many as it takes to cover the time asked for, and
    /// what it has counted in them. Subjects of one name may come several times.
    pub fn each(&self, time: Duration, mut act: impl FnMut(&Arc<N>, &C)) -> Span {
        let sums = self.sums([time]);
        let mut counted = [C::zeroed()];
        for (name, entries) in sums.subjects() {
            entries.add_up(&mut counted);
            act(name, &counted[0]);
        }
        sums.spans[0]
    }

    /// What each subject has counted within several times at once, the shortest first.
    #[must_use]
    pub fn sums<const TIMES: usize>(&self, times: [Duration; TIMES]) -> Sums<'_, N, TIMES> {
        let parts = times.map(|time| self.latest(time));
        let steps = parts.last().into_iter().flat_map(|(steps, _)| steps).enumerate();
        let entries = steps.flat_map(|(number, step)| {
            let shortest = parts.iter().take_while(|(steps, _)| steps.len() <= number).count();
            step.entries().map(move |(subject, bytes)| {
                let whole = self.name(subject).map_or(subject, |(whole, _)| *whole);
                (whole, Entry { shortest, bytes })
            })
        });
        let entries = in_order(entries);
        Sums { names: &self.names, entries, spans: parts.map(|(_, span)| span) }
    }

    /// What was taken apart with [`Self::steps`] and [`Self::names`].
    pub(crate) fn from_parts(steps: Vec<Arc<Step<C>>>, names: Vec<Option<(Subject, Arc<N>)>>) -> Self {
        Self { steps, names }
    }

    /// The latest steps, as many as it takes to cover the time, the latest first.
    pub(crate) fn steps(&self, time: Duration) -> Vec<&Arc<Step<C>>> {
        self.latest(time).0
    }

    /// What each subject is a part of, itself mostly, and the name of that.
    pub(crate) fn names(&self) -> &[Option<(Subject, Arc<N>)>] {
        &self.names
    }

    /// The time that [`Self::each`] would cover.
    #[must_use]
    pub fn span(&self, time: Duration) -> Span {
        self.latest(time).1
    }

    /// The latest steps, as many as it takes to cover the time.
    fn latest(&self, time: Duration) -> (Vec<&Arc<Step<C>>>, Span) {
        let mut span = Span::default();
        let mut steps = Vec::new();
        let newest = self.steps.first().map_or(Duration::ZERO, |step| step.end);
        for step in &self.steps {
            if span.covered >= time && !steps.is_empty() {
                break;
            }
            span.covered = newest.saturating_sub(step.begin);
            span.widest = span.widest.max(step.width());
            span.windows += usize::from(step.width() > Duration::ZERO);
            steps.push(step);
        }
        (steps, span)
    }

    fn name(&self, subject: Subject) -> Option<&(Subject, Arc<N>)> {
        self.names.get(subject)?.as_ref()
    }
}
