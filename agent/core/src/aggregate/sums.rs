//! Rows that are the sum of several parts, which end one by one while the row lives on: a counter must not go back by what a
//! part had counted.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use bytemuck::Pod;

use super::packed::Packed;
use super::totals::{negative, words, words_mut};

/// What rows show beyond the counters of their parts.
#[derive(Debug)]
pub struct Sums<Row, Part, T> {
    parts: HashMap<Part, Share<Row, T>>,
    /// What each row keeps from parts that it has no more.
    kept: HashMap<Row, Packed<T>>,
}

/// What a row shows of one of its parts.
#[derive(Debug)]
struct Share<Row, T> {
    row: Row,
    /// The part's counters when they were last seen.
    last: Packed<T>,
    /// What is shown beyond these: more for a part that has begun anew, less for one that came from a row that lives on.
    beyond: Packed<T>,
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
        Self { parts: HashMap::new(), kept: HashMap::new() }
    }
}

impl<Row: Clone + Eq + Hash, Part: Clone + Eq + Hash, T: Pod> Sums<Row, Part, T> {
    /// Takes all parts that there are now, and returns what is to be added to the sum of each row's parts, wrapping: what
    /// parts had that have ended, each counter of a part that has begun anew, and for a part that belongs to another row
    /// now, less by what its old row goes on showing. If that has no other part, its past moves along. A row without a part
    /// ends, and begins at zero when it comes again.
    pub fn keep(&mut self, parts: impl Iterator<Item = (Part, Row, T)>) -> impl Iterator<Item = (&Row, T)> {
        let mut before = std::mem::take(&mut self.parts);
        let (mut rows, mut moved) = (HashSet::new(), Vec::new());
        for (part, row, counters) in parts {
            rows.insert(row.clone());
            let mut share = Share { row, last: Packed::new(&counters), beyond: Packed::default() };
            if let Some(old) = before.remove(&part) {
                let shown = (old.row != share.row).then(|| old.shown());
                share.beyond = old.beyond;
                share.beyond.add(&lost(old.last.unpack(), &counters));
                moved.extend(shown.map(|shown| (part.clone(), old.row, shown)));
            }
            self.parts.insert(part, share);
        }
        for (part, row, shown) in moved.into_iter().filter(|(_, row, _)| rows.contains(row)) {
            self.kept.entry(row).or_default().add(&shown);
            if let Some(share) = self.parts.get_mut(&part) {
                share.beyond.add(&negative(shown));
            }
        }
        for share in before.into_values() {
            let shown = share.shown();
            self.kept.entry(share.row).or_default().add(&shown);
        }
        self.kept.retain(|row, _| rows.contains(row));
        let mut added: HashMap<&Row, T> = self.kept.iter().map(|(row, kept)| (row, kept.unpack())).collect();
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
