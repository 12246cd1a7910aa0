//! When each series of a counter or histogram began, so that Prometheus sees its zero before its first value.
//!
//! A series that begins at 100 has no rate: Prometheus takes growth from the second sample on. Series of edges begin with
//! their first event, so a burst on a quiet edge would be in no `increase()`. A scraper that has not seen a series yet
//! therefore gets it as 0 once, and its value from its next scrape on. Who has seen what: [`super::exposed`].
//!
//! Only the exposition is held back. Series that never count are never shown and cost nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::series::{Family, Kind, Sample, SampleId};
use super::snapshot::Snapshot;
use super::tables;

/// Numbers the views that were followed, from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewNumber(u32);

#[cfg(test)]
impl ViewNumber {
    pub const fn of(number: u32) -> Self {
        Self(number)
    }
}

/// The series of the last view that was followed, and when each began.
#[derive(Debug, Default)]
pub struct Births {
    series: HashMap<SampleId, Birth>,
    number: ViewNumber,
    /// Keeps the view's address from being used again, not the view.
    view: Weak<Snapshot>,
    /// When that view was read: seconds since 1970. `None` when there was none.
    read_at: Option<u64>,
    /// The views in which series began that are still shown, and when each was read, by `CLOCK_MONOTONIC`.
    with_births: BTreeMap<ViewNumber, Duration>,
}

/// When a series began.
#[derive(Clone, Copy, Debug)]
struct Birth {
    /// The first view that has it, since it was last absent.
    first: ViewNumber,
    /// The last view that has it.
    last: ViewNumber,
    /// A time before its first event: seconds since 1970. 0 when that is not known.
    start: u32,
}

/// How a view is shown to one reader.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    births: Option<&'a Births>,
    seen: ViewNumber,
}

impl Births {
    /// Takes a view; a view that was taken last is not taken again. A series that was absent meanwhile begins anew.
    pub fn follow(&mut self, view: &Arc<Snapshot>) -> ViewNumber {
        if std::ptr::eq(self.view.as_ptr(), Arc::as_ptr(view)) {
            return self.number;
        }
        self.view = Arc::downgrade(view);
        self.number.0 += 1;
        let number = self.number;
        // When the view before was read, a series that begins now was zero.
        let start = match self.read_at.replace(view.read_at) {
            Some(before) => Some(before),
            None => view.counts_since,
        };
        let start = start.and_then(|start| start.try_into().ok()).unwrap_or_default();
        for family in tables::families(view).filter(|family| grows(family.metric.kind)) {
            self.follow_family(&family, start);
        }
        self.series.retain(|_, birth| birth.last == number);
        let mut before = std::mem::take(&mut self.with_births);
        before.insert(number, view.at);
        let births: HashSet<_> = self.series.values().map(|birth| birth.first).collect();
        before.retain(|view, _| births.contains(view));
        self.with_births = before;
        number
    }

    fn follow_family(&mut self, family: &Family<'_>, start: u32) {
        let Self { series, number, .. } = self;
        let number = *number;
        family.each(|sample| match series.entry(sample.id()) {
            Entry::Occupied(mut known) => known.get_mut().last = number,
            Entry::Vacant(new) => drop(new.insert(Birth { first: number, last: number, start })),
        });
    }

    /// The number of the last view in which a series began that was no newer than this one. Whoever saw one of both, and
    /// nothing since, sees the same from here on.
    pub fn rounded(&self, seen: ViewNumber) -> ViewNumber {
        self.with_births.range(..=seen).next_back().map(|(number, _)| *number).unwrap_or_default()
    }

    /// When that view was read: all that is shown now and began by then began before whoever saw one of both came. `None` when
    /// there is none.
    pub fn read_at(&self, seen: ViewNumber) -> Option<Duration> {
        self.with_births.range(..=seen).next_back().map(|(_, at)| *at)
    }

    /// The reader that saw this view last; [`ViewNumber::default`] for one that saw none.
    pub fn reader(&self, seen: ViewNumber) -> Reader<'_> {
        Reader { births: Some(self), seen }
    }
}

impl Reader<'_> {
    /// A reader that gets everything as it is.
    #[cfg(test)]
    pub const FRANK: Reader<'static> = Reader { births: None, seen: ViewNumber(u32::MAX) };

    fn birth(&self, sample: &Sample<'_>) -> Option<&Birth> {
        self.births?.series.get(&sample.id())
    }

    /// Whether any series began since the view that the reader saw last.
    pub fn has_news(&self) -> bool {
        self.births.is_some_and(|births| births.with_births.keys().next_back() > Some(&self.seen))
    }

    /// Whether the reader still has to see the zero of this sample, of a counter or histogram.
    pub fn sees_zero(&self, sample: &Sample<'_>) -> bool {
        self.birth(sample).is_some_and(|birth| birth.first > self.seen)
    }

    /// When this sample was zero last: seconds since 1970. `None` when that is not known.
    pub fn start(&self, sample: &Sample<'_>) -> Option<u32> {
        self.birth(sample).map(|birth| birth.start).filter(|start| *start > 0)
    }
}

/// Whether samples of this kind only grow.
pub fn grows(kind: Kind) -> bool {
    matches!(kind, Kind::Counter | Kind::Histogram)
}
