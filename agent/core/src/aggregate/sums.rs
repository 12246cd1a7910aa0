//! Rows that are the sum of several parts, which end one by one while the row lives on: a counter must not go back by what a
//! part had counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use bytemuck::Pod;

use super::packed::Packed;
use super::totals::{negative, words, words_mut};
use crate::seen::Moment;

/// What rows show beyond the counters of their parts.
#[derive(Debug)]
pub struct Sums<Row, Part, T> {
    parts: HashMap<Part, Share<Row, T>>,
    rows: HashMap<Row, Whole<T>>,
    /// See [`Self::of_rows`].
    are_rows: bool,
}

/// What a row shows of one of its parts.
#[derive(Debug)]
struct Share<Row, T> {
    row: Row,
    /// The part's counters when they were last seen.
    last: Packed<T>,
    /// What is shown beyond these: more for a part that has begun anew, less for one that came from a row that showed them.
    beyond: Packed<T>,
}

/// A row.
#[derive(Debug)]
struct Whole<T> {
    /// What it keeps from parts that it has no more.
    kept: Packed<T>,
    /// When it was first shown.
    began: Duration,
    /// When it lost its last part.
    left: Option<Duration>,
}

impl<Row, T: Pod> Share<Row, T> {
    fn shown(&self) -> T {
        let mut shown = self.last.unpack();
        self.beyond.add_to(&mut shown);
        shown
    }
}

impl<Row, Part, T: Pod> Default for Sums<Row, Part, T> {
    fn default() -> Self {
        Self { parts: HashMap::new(), rows: HashMap::new(), are_rows: false }
    }
}

impl<Row: Clone + Eq + Hash, Part: Clone + Eq + Hash, T: Pod> Sums<Row, Part, T> {
    /// Of parts that are rows themselves and never begin anew: when a counter is lower before a scraper has got the row, a past went
    /// to where it belongs.
    #[must_use]
    pub fn of_rows() -> Self {
        Self { are_rows: true, ..Self::default() }
    }

    /// Takes all parts that there are now, and returns what is to be added to the sum of each row's parts, wrapping: what
    /// parts had that have ended, each counter of a part that has begun anew, and for a part that belongs to another row
    /// now, less by what its old row goes on showing. That does so while it has another part, and if a scraper has got it by value;
    /// else the past moves along. A row without a part is shown until every scraper has its last value, ends, and begins at zero
    /// when it comes again.
    pub fn keep(
        &mut self,
        parts: impl Iterator<Item = (Part, Row, T)>,
        moment: &Moment,
    ) -> impl Iterator<Item = (&Row, T)> {
        let mut before = std::mem::take(&mut self.parts);
        let mut moved = Vec::new();
        for row in self.rows.values_mut() {
            row.left = row.left.or(Some(moment.now));
        }
        for (part, row, counters) in parts {
            let new = || Whole { kept: Packed::default(), began: moment.now, left: None };
            let whole = self.rows.entry(row.clone()).or_insert_with(new);
            whole.left = None;
            let may_be_lower = self.are_rows && !moment.has_seen(whole.began);
            let mut share = Share { row, last: Packed::new(&counters), beyond: Packed::default() };
            if let Some(old) = before.remove(&part) {
                let shown = (old.row != share.row).then(|| old.shown());
                share.beyond = old.beyond;
                if !may_be_lower {
                    share.beyond.add(&lost(old.last.unpack(), &counters));
                }
                moved.extend(shown.map(|shown| (part.clone(), old.row, shown)));
            }
            self.parts.insert(part, share);
        }
        for (part, row, shown) in moved {
            if let Some(row) = self.rows.get_mut(&row)
                && (row.left.is_none() || moment.has_seen(row.began))
            {
                row.kept.add(&shown);
                if let Some(share) = self.parts.get_mut(&part) {
                    share.beyond.add(&negative(shown));
                }
            }
        }
        for share in before.into_values() {
            if let Some(row) = self.rows.get_mut(&share.row) {
                row.kept.add(&share.shown());
            }
        }
        // One that scrapers have got as 0 only is shown to them, too.
        let is_held =
            |row: &Whole<T>, left| moment.is_scraped() && !row.kept.is_zero() && !moment.is_over(left);
        self.rows.retain(|_, row| row.left.is_none_or(|left| is_held(row, left)));
        let kept = self.rows.iter().filter(|(_, row)| !row.kept.is_zero());
        let mut added: HashMap<&Row, T> = kept.map(|(name, row)| (name, row.kept.unpack())).collect();
        for share in self.parts.values().filter(|share| !share.beyond.is_zero()) {
            share.beyond.add_to(added.entry(&share.row).or_insert_with(T::zeroed));
        }
        added.into_iter()
    }
}

/// Leaves those counters that are lower now: an edge whose histograms are folded into `other` goes on without them.
fn lost<T: Pod>(mut before: T, now: &T) -> T {
    for (before, now) in words_mut(&mut before).iter_mut().zip(words(now)) {
        if now >= before {
            *before = 0;
        }
    }
    before
}

#[cfg(test)]
mod tests;
