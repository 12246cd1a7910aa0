//! Counts the queries of a name that does not exist, until they turn out to be waste or expire.

use std::time::Duration;

use netcause_common::dns::QueryType;

use super::{WINDOW, Waste};
use crate::ingest::dns::Name;

/// Record types that a resolver queries in one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A and AAAA: resolvers ask both at once.
    Address,
    /// Any other type, by its number.
    Other(u16),
}

impl Family {
    pub fn of(kind: u16) -> Self {
        match QueryType::of(kind) {
            QueryType::A | QueryType::Aaaa => Self::Address,
            _ => Self::Other(kind),
        }
    }
}

/// A name that does not exist, with its queries of one client.
#[derive(Debug)]
pub(super) struct Failed {
    pub name: Name,
    pub family: Family,
    /// [`super::stem`] of the name.
    pub stem: u64,
    /// When it was queried last.
    pub last: Duration,
    /// When the counters below were reset.
    since: Duration,
    /// Answers to AAAA queries without a matching one in `rest`. The two answers of a lookup may come before and after it is
    /// counted, so the surplus of either type is kept.
    aaaa: u32,
    /// Answers to A queries, or to those of the other type, without a matching one in `aaaa`.
    rest: u32,
    /// Lookups among them that were counted as waste.
    counted: u32,
    /// Answers that were not counted as waste.
    queries: u32,
}

impl Failed {
    pub fn new(name: Name, family: Family, stem: u64, at: Duration) -> Self {
        Self { name, family, stem, last: at, since: at, aaaa: 0, rest: 0, counted: 0, queries: 0 }
    }

    /// Counts one more answer. Returns the waste that is known already: the other half of a lookup that was counted.
    pub fn ask(&mut self, kind: u16, at: Duration) -> Waste {
        // It was queried again and again without evidence of a search list.
        if at.saturating_sub(self.since) > WINDOW * 2 {
            self.reset(at);
        }
        let count = if QueryType::of(kind) == QueryType::Aaaa { &mut self.aaaa } else { &mut self.rest };
        *count = count.saturating_add(1);
        self.last = at;
        if *count <= self.counted {
            self.drop_pairs();
            return Waste { expansions: 0, queries: 1 };
        }
        self.queries = self.queries.saturating_add(1);
        Waste::default()
    }

    /// Counts as waste all that was not counted yet, and returns it.
    pub fn count_as_waste(&mut self, at: Duration) -> Waste {
        let lookups = self.lookups();
        let expansions = lookups.saturating_sub(self.counted).into();
        let waste = Waste { expansions, queries: self.queries.into() };
        (self.counted, self.queries) = (lookups, 0);
        self.drop_pairs();
        // The other half of so old a surplus will not come: this client queries one type only.
        if self.counted == 0 || at.saturating_sub(self.since) > WINDOW {
            self.reset(at);
        }
        waste
    }

    /// Removes lookups with both types answered from the counters.
    fn drop_pairs(&mut self) {
        let pairs = self.aaaa.min(self.rest);
        (self.aaaa, self.rest) = (self.aaaa - pairs, self.rest - pairs);
        self.counted = self.counted.saturating_sub(pairs);
    }

    /// Lookups of it, that were not completed yet.
    pub fn lookups(&self) -> u32 {
        self.aaaa.max(self.rest)
    }

    /// Whether it is not expired.
    pub fn is_recent(&self, at: Duration) -> bool {
        at.saturating_sub(self.last) <= WINDOW
    }

    /// The order in which entries are removed for others: the least first.
    pub fn worth(&self) -> (bool, bool, Duration) {
        (self.queries > 0, self.counted > 0, self.last)
    }

    fn reset(&mut self, at: Duration) {
        (self.since, self.aaaa, self.rest, self.counted, self.queries) = (at, 0, 0, 0, 0);
    }
}
