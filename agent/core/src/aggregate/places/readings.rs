//! Readings of places: totals in, windows out.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Zeroable as _;

use super::{Counted, Place};
use crate::aggregate::windows::{Recent, Statistics, Windows};

/// What a reading found at a place.
#[derive(Debug)]
pub struct Found<'a, Id> {
    /// What stays while its name changes.
    pub id: Id,
    /// Its name.
    pub place: Place,
    /// Its totals, by [`Place::counters`]. They begin with zero when it comes.
    pub totals: &'a [u64],
    /// What there is now, by [`Place::levels`].
    pub levels: &'a [u64],
}

/// Places that are read together, and what they have counted lately.
#[derive(Debug)]
pub struct Readings<Id> {
    known: HashMap<Id, Known>,
    windows: Windows<Id, Place, Counted>,
}

#[derive(Debug)]
struct Known {
    place: Arc<Place>,
    totals: Box<[u64]>,
}

impl<Id: Clone + Eq + Hash> Readings<Id> {
    /// Nothing read; windows may take so many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { known: HashMap::new(), windows: Windows::new(max_bytes) }
    }

    /// Takes all places that there are. Those that are missing have ended.
    pub fn read<'a>(&mut self, found: impl IntoIterator<Item = Found<'a, Id>>) {
        let mut before = mem::take(&mut self.known);
        for Found { id, place, totals, levels } in found {
            let old = before.remove(&id);
            let place = match &old {
                Some(old) if *old.place == place => Arc::clone(&old.place),
                Some(old) => self.rename(&id, &old.place, place),
                None => Arc::new(place),
            };
            let mut counted = Counted::zeroed();
            let last = old.as_ref().map_or(&[][..], |old| &old.totals).iter().chain(std::iter::repeat(&0));
            for (counter, (now, last)) in counted.counters.iter_mut().zip(totals.iter().zip(last)) {
                // One that goes back gave a part of its past to another name.
                *counter = now.saturating_sub(*last);
            }
            counted.levels.iter_mut().zip(levels).for_each(|(sum, level)| *sum = *level);
            counted.readings = u64::from(!levels.is_empty());
            self.windows.count(id.clone(), &place, &counted);
            self.known.insert(id, Known { place, totals: totals.into() });
        }
        for id in before.into_keys() {
            self.windows.ended(&id);
        }
    }

    fn rename(&mut self, id: &Id, old: &Place, place: Place) -> Arc<Place> {
        let place = Arc::new(place);
        if old.is_nameless() {
            self.windows.renamed(id, &place);
        } else {
            self.windows.ended(id);
        }
        place
    }

    /// Ends the window if it is time; see [`Windows::end_reading`].
    pub fn end_reading(&mut self, now: Duration) {
        self.windows.end_reading(now);
    }

    /// What was counted lately, to be read elsewhere.
    #[must_use]
    pub fn recent(&self) -> Recent<Place, Counted> {
        self.windows.recent()
    }

    /// How much of it is kept.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.windows.statistics()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::Workload;

    fn listener(name: &str) -> Place {
        Place::Listener(Workload::plain(name), Some(80))
    }

    fn read(readings: &mut Readings<u32>, at: u64, found: &[(u32, Place, u64, u64)]) {
        let totals: Vec<_> =
            found.iter().map(|(.., discards, length)| ([*discards], [*length, 10])).collect();
        readings.read(found.iter().zip(&totals).map(|((id, place, ..), (totals, levels))| Found {
            id: *id,
            place: place.clone(),
            totals,
            levels,
        }));
        readings.end_reading(Duration::from_secs(at));
    }

    fn counted(readings: &Readings<u32>) -> Vec<(Place, u64, [u64; 2], u64)> {
        let mut all = Vec::new();
        readings.recent().each(Duration::from_mins(5), |place, counted| {
            all.push(((**place).clone(), counted.counters[0], counted.levels, counted.readings));
        });
        all.sort_unstable();
        all
    }

    #[test]
    fn a_window_has_what_totals_grew_by_and_the_levels_of_each_reading() {
        let mut readings = Readings::new(1 << 16);
        read(&mut readings, 0, &[(1, listener("a"), 100, 9)]);
        read(&mut readings, 5, &[(1, listener("a"), 103, 2), (2, listener("b"), 5, 1)]);
        read(&mut readings, 10, &[(1, listener("a"), 104, 4), (2, listener("b"), 5, 1)]);
        assert_eq!(counted(&readings), [(listener("a"), 4, [6, 20], 2), (listener("b"), 5, [2, 20], 2)]);
    }

    #[test]
    fn a_late_name_was_right_all_the_time_and_another_name_was_not() {
        let mut readings = Readings::new(1 << 16);
        let nameless = Place::Listener(Workload::Cgroup(7), Some(80));
        read(&mut readings, 0, &[]);
        read(&mut readings, 5, &[(1, nameless, 3, 0)]);
        read(&mut readings, 10, &[(1, listener("a"), 5, 0)]);
        assert_eq!(counted(&readings), [(listener("a"), 5, [0, 20], 2)]);
        read(&mut readings, 15, &[(1, listener("b"), 6, 0)]);
        assert_eq!(counted(&readings), [(listener("a"), 5, [0, 20], 2), (listener("b"), 1, [0, 10], 1)]);
        // It ends, and another one begins under its number.
        read(&mut readings, 20, &[]);
        read(&mut readings, 25, &[(1, listener("c"), 2, 0)]);
        assert_eq!(counted(&readings).last(), Some(&(listener("c"), 2, [0, 10], 1)));
        assert_eq!(counted(&readings).len(), 3);
    }

    #[test]
    fn a_total_that_goes_back_counts_nothing() {
        let mut readings = Readings::new(1 << 16);
        for (at, total) in [(0, 0), (5, 9), (10, 4), (15, 6)] {
            read(&mut readings, at, &[(1, listener("a"), total, 0)]);
        }
        assert_eq!(counted(&readings)[0].1, 11);
    }
}
