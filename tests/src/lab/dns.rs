//! DNS in pods: real servers and clients with counts of their own, and the counts that the agent must have.

pub(crate) mod clients;
pub(crate) mod counted;
pub(crate) mod dnsmasq;
pub(crate) mod nsd;
pub(crate) mod resolved;
pub(crate) mod server;

use std::collections::BTreeMap;

/// The port of DNS (RFC 1035 §4.2).
pub(crate) const PORT: u16 = 53;

/// Counts by word: by the type of a query or the code of an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn of<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut tally = Self::default();
        for (word, count) in counts {
            tally.add(word, count);
        }
        tally
    }

    /// Adds to a count. Zero adds no entry, since an absent series counts as zero.
    pub(crate) fn add(&mut self, word: &str, count: u64) {
        if count > 0 {
            *self.0.entry(word.to_owned()).or_default() += count;
        }
    }

    /// The sum of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (word, count) in &other.0 {
            sum.add(word, *count);
        }
        sum
    }

    pub(crate) fn get(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.values().sum()
    }
}
