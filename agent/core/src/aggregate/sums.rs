//! Rows that are the sum of several parts, which end one by one while the row lives on: a counter must not go back by what a
//! part had counted.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use bytemuck::Pod;

use super::packed::Packed;
use super::totals::{words, words_mut};

/// What rows had from parts that they have no more.
#[derive(Debug)]
pub struct Sums<Row, Part, T> {
    /// The row of each part and its counters, when they were last seen.
    parts: HashMap<Part, (Row, Packed<T>)>,
    /// What each row keeps.
    kept: HashMap<Row, Packed<T>>,
}

impl<Row, Part, T: Pod> Default for Sums<Row, Part, T> {
    fn default() -> Self {
        Self { parts: HashMap::new(), kept: HashMap::new() }
    }
}

impl<Row: Clone + Eq + Hash, Part: Eq + Hash, T: Pod> Sums<Row, Part, T> {
    /// Takes all parts that there are now, and returns what each row adds to the sum of its parts: the last counters of those
    /// that have ended or belong to another row now, and each counter of a part that has begun anew. A row without a part ends, and begins at zero when it
    /// comes again.
    pub fn keep(&mut self, parts: impl Iterator<Item = (Part, Row, T)>) -> impl Iterator<Item = (&Row, T)> {
        let mut before = std::mem::take(&mut self.parts);
        let mut rows = HashSet::new();
        for (part, row, counters) in parts {
            if let Some((row_before, counters_before)) = before.remove(&part) {
                let mut lost = counters_before.unpack();
                if row_before == row {
                    keep_lost(&mut lost, &counters);
                }
                if words(&lost).iter().any(|word| *word != 0) {
                    self.kept.entry(row_before).or_default().add(&lost);
                }
            }
            rows.insert(row.clone());
            self.parts.insert(part, (row, Packed::new(&counters)));
        }
        for (row, counters) in before.into_values() {
            self.kept.entry(row).or_default().add(&counters.unpack());
        }
        self.kept.retain(|row, _| rows.contains(row));
        self.kept.iter().map(|(row, counters)| (row, counters.unpack()))
    }
}

/// Leaves those counters that are lower now: an edge whose histograms are folded into `other` goes on without them.
fn keep_lost<T: Pod>(before: &mut T, now: &T) {
    for (before, now) in words_mut(before).iter_mut().zip(words(now)) {
        if now >= before {
            *before = 0;
        }
    }
}

#[cfg(test)]
mod tests;
