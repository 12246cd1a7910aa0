//! What is kept, as plain data that can be read elsewhere while counting goes on.

use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use super::step::{Step, add_up, each_sum};
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
        let (steps, span) = self.latest(time);
        let resolve = |subject: Subject| self.name(subject).map_or(subject, |(whole, _)| *whole);
        let entries = steps.iter().flat_map(|step| step.entries());
        each_sum(entries, resolve, |subject, of_one| {
            if let Some((_, name)) = self.name(subject) {
                act(name, &add_up(of_one));
            }
        });
        span
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
