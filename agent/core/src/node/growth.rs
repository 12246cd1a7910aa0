//! Rows of counters that are sums of parts, each of which counts from its own zero: CPUs, interfaces, network namespaces.
//!
//! Parts come, begin anew, change their row and end; a row only grows while it has a part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::seen::Moment;

/// What a row has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const N: usize> {
    /// Since the agent first read it.
    pub total: [u64; N],
    /// Of it, since the reading before the last one.
    pub change: [u64; N],
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self { total: [0; N], change: [0; N] }
    }
}

/// How far the kernel's counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// To 2^32, and from zero again.
    Bits32,
    /// Never to their end.
    Bits64,
}

/// Readings that a part may miss before it has ended: what is read through a process cannot be read for a moment when that
/// process ends.
const MISSABLE: u8 = 2;

/// Rows, and the parts that they are sums of.
#[derive(Debug)]
pub struct Growth<Part, Row, const N: usize> {
    width: Width,
    moment: Moment,
    parts: HashMap<Part, State<Row, N>>,
    rows: BTreeMap<Row, Whole<N>>,
    /// The last reading had every part that there was, so one that is new has counted everything since.
    knows_all: bool,
}

/// A row.
#[derive(Debug, Default)]
struct Whole<const N: usize> {
    counts: Counts<N>,
    /// When it was first shown with a count.
    began: Option<Duration>,
    /// When it lost its last part.
    left: Option<Duration>,
}

#[derive(Debug)]
struct State<Row, const N: usize> {
    row: Row,
    /// Its counters when they were last read.
    last: [u64; N],
    /// What of its row is its own.
    total: [u64; N],
    /// Readings that it has missed.
    missed: u8,
}

impl<Part: Eq + Hash, Row: Clone + Ord, const N: usize> Growth<Part, Row, N> {
    /// No rows as yet.
    #[must_use]
    pub fn new(width: Width) -> Self {
        let (moment, parts, rows) = (Moment::default(), HashMap::new(), BTreeMap::new());
        Self { width, moment, parts, rows, knows_all: false }
    }

    /// The time of the readings from here on, and what scrapers have got by then.
    pub fn at(&mut self, moment: Moment) {
        self.moment = moment;
    }

    /// Takes the counters of all parts that there are. What a part has counted before the first reading does not count;
    /// one that is new later counts in full, unless the reading before was not `complete`. A part that has another row
    /// takes its past along if that leaves its old row without parts and no scraper has got that by value. One that is missing for
    /// some readings goes on where it was. Of parts with the same key the first counts. A row without parts is shown until every
    /// scraper has its last value.
    pub fn read(&mut self, parts: impl IntoIterator<Item = (Part, Row, [u64; N])>, complete: bool) {
        let mut before = std::mem::take(&mut self.parts);
        let knew_all = std::mem::replace(&mut self.knows_all, complete);
        self.rows.values_mut().for_each(|row| row.counts.change = [0; N]);
        let mut moved = Vec::new();
        for (part, row, now) in parts {
            if self.parts.contains_key(&part) {
                continue;
            }
            let (grown, mut total) = match before.remove(&part) {
                Some(State { row: old, last, total, .. }) => {
                    let total = if old == row {
                        total
                    } else {
                        moved.push((old, row.clone(), total));
                        [0; N]
                    };
                    (growth(&last, &now, self.width), total)
                }
                None if knew_all => (now, [0; N]),
                None => ([0; N], [0; N]),
            };
            add(&mut total, &grown);
            let whole = self.rows.entry(row.clone()).or_default();
            add(&mut whole.counts.total, &grown);
            add(&mut whole.counts.change, &grown);
            self.parts.insert(part, State { row, last: now, total, missed: 0 });
        }
        for (part, mut state) in before {
            state.missed += 1;
            if state.missed <= MISSABLE {
                self.parts.insert(part, state);
            }
        }
        let live: BTreeSet<Row> = self.parts.values().map(|part| part.row.clone()).collect();
        let moment = &self.moment;
        let has_seen = |row: &Whole<N>| row.began.is_some_and(|began| moment.has_seen(began));
        for (old, row, past) in moved.into_iter().filter(|(old, ..)| !live.contains(old)) {
            let Some(left) = self.rows.get_mut(&old).filter(|left| !has_seen(left)) else { continue };
            for (left, past) in left.counts.total.iter_mut().zip(past) {
                *left = left.wrapping_sub(past);
            }
            if let Some(whole) = self.rows.get_mut(&row) {
                add(&mut whole.counts.total, &past);
            }
        }
        self.rows.retain(|name, row| {
            if row.began.is_none() && row.counts.total != [0; N] {
                row.began = Some(moment.now);
            }
            row.left = if live.contains(name) { None } else { row.left.or(Some(moment.now)) };
            // One that scrapers have got as 0 only is shown to them, too.
            let is_held = |left| moment.is_scraped() && row.counts.total != [0; N] && !moment.is_over(left);
            row.left.is_none_or(is_held)
        });
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, &Counts<N>)> {
        self.rows.iter().map(|(row, whole)| (row, &whole.counts))
    }
}

fn add<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.wrapping_add(*from);
    }
}

/// What counters have grown by. Those of a part begin anew together: if one is lower, all count from zero.
fn growth<const N: usize>(last: &[u64; N], now: &[u64; N], width: Width) -> [u64; N] {
    let mut grown = [0; N];
    for (grown, (before, after)) in grown.iter_mut().zip(last.iter().zip(now)) {
        *grown = match after.checked_sub(*before) {
            Some(difference) => difference,
            // It has passed its end rather than begun anew.
            None if width == Width::Bits32 && before - after > 1 << 31 => {
                (1_u64 << 32).saturating_sub(before - after)
            }
            None => return *now,
        };
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Seen;

    type Rows = Growth<u8, &'static str, 2>;

    fn totals(rows: &Rows) -> Vec<(&'static str, [u64; 2])> {
        rows.rows().map(|(row, counts)| (*row, counts.total)).collect()
    }

    #[test]
    fn what_was_counted_before_does_not_count() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([(1, "a", [100, 5]), (2, "a", [7, 0])], true);
        assert_eq!(totals(&rows), [("a", [0, 0])]);
        rows.read([(1, "a", [103, 5]), (2, "a", [8, 1]), (3, "b", [9, 9])], true);
        assert_eq!(totals(&rows), [("a", [4, 1]), ("b", [9, 9])]);
        assert_eq!(rows.rows().next().unwrap().1.change, [4, 1]);
        rows.read([(1, "a", [103, 6]), (2, "a", [8, 1]), (3, "b", [9, 9])], true);
        assert_eq!(rows.rows().map(|(_, row)| row.change).collect::<Vec<_>>(), [[0, 1], [0, 0]]);
    }

    #[test]
    fn a_row_keeps_what_an_ended_part_had_and_ends_with_its_last() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([(1, "a", [0, 0]), (2, "a", [0, 0])], true);
        rows.read([(1, "a", [5, 0]), (2, "a", [6, 0])], true);
        for _ in 0..=MISSABLE {
            rows.read([(2, "a", [7, 0])], true);
            assert_eq!(totals(&rows), [("a", [12, 0])]);
        }
        // The first has ended, so that one with its number is another.
        rows.read([(2, "a", [7, 0]), (1, "a", [6, 0])], true);
        assert_eq!(totals(&rows), [("a", [18, 0])]);
        for _ in 0..MISSABLE {
            rows.read([], true);
            assert_eq!(totals(&rows), [("a", [18, 0])]);
        }
        rows.read([], true);
        assert_eq!(totals(&rows), []);
    }

    #[test]
    fn a_part_that_could_not_be_read_goes_on() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([(1, "a", [5, 0])], true);
        rows.read([], true);
        rows.read([(1, "a", [7, 1])], true);
        assert_eq!(totals(&rows), [("a", [2, 1])]);
    }

    #[test]
    fn a_part_that_begins_anew_counts_from_zero() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([(1, "a", [10, 10])], true);
        // One is lower, so that both have begun anew.
        rows.read([(1, "a", [2, 30])], true);
        assert_eq!(totals(&rows), [("a", [2, 30])]);
    }

    #[test]
    fn counters_of_32_bits_pass_their_end() {
        let mut rows = Rows::new(Width::Bits32);
        rows.read([(1, "a", [(1 << 32) - 3, 4])], true);
        rows.read([(1, "a", [4, 6])], true);
        assert_eq!(totals(&rows), [("a", [7, 2])]);
        rows.read([(1, "a", [1, 0])], true);
        assert_eq!(totals(&rows), [("a", [8, 2])]);
    }

    #[test]
    fn a_name_that_comes_late_takes_the_past_along() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([], true);
        rows.read([(1, "?", [5, 0])], true);
        rows.read([(1, "a", [6, 0])], true);
        assert_eq!(totals(&rows), [("a", [6, 0])]);
        // One of two that were alike: the past stays.
        rows.read([(1, "a", [6, 0]), (2, "a", [3, 0])], true);
        rows.read([(1, "a", [6, 0]), (2, "b", [4, 0])], true);
        assert_eq!(totals(&rows), [("a", [9, 0]), ("b", [1, 0])]);
    }

    #[test]
    fn a_past_that_was_scraped_stays_and_its_row_ends_later() {
        let mut rows = Rows::new(Width::Bits64);
        let moment = |now, any, all| {
            let [now, any, all] = [now, any, all].map(Duration::from_secs);
            Moment { now, seen: Seen { by_any: Some(any), by_all: Some(all) } }
        };
        rows.read([], true);
        rows.at(moment(10, 5, 0));
        rows.read([(1, "?", [5, 0])], true);
        rows.at(moment(20, 10, 0));
        rows.read([(1, "a", [6, 0])], true);
        assert_eq!(totals(&rows), [("?", [5, 0]), ("a", [1, 0])]);
        rows.at(moment(30, 20, 20));
        rows.read([(1, "a", [8, 0])], true);
        assert_eq!(totals(&rows), [("a", [3, 0])]);
    }

    #[test]
    fn what_a_limit_left_out_is_not_new_when_it_fits() {
        let mut rows = Rows::new(Width::Bits64);
        rows.read([(1, "a", [1, 0])], false);
        rows.read([(1, "a", [1, 0]), (2, "a", [900, 0])], true);
        assert_eq!(totals(&rows), [("a", [0, 0])]);
    }
}
