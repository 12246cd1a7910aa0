//! A name that does not exist, and how often it was asked for.

use std::time::Duration;

use netcause_common::dns::QueryType;

use super::{WINDOW, Waste};
use crate::ingest::dns::Name;

/// Questions that are steps of one lookup.
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

/// See above.
#[derive(Debug)]
pub(super) struct Failed {
    pub name: Name,
    pub family: Family,
    /// [`super::stem`] of the name.
    pub stem: u64,
    /// When it was asked for last.
    pub last: Duration,
    /// When all below was nothing, or all was counted.
    since: Duration,
    /// Answers for AAAA. Those of a lookup may come one before and one after it is counted, so the surplus of either type
    /// over the other is kept.
    aaaa: u32,
    /// Answers for A, or for the other type.
    rest: u32,
    /// Lookups among them that were counted.
    counted: u32,
    /// Answers that were not counted.
    queries: u32,
}

impl Failed {
    pub fn new(name: Name, family: Family, stem: u64, at: Duration) -> Self {
        Self { name, family, stem, last: at, since: at, aaaa: 0, rest: 0, counted: 0, queries: 0 }
    }

    /// It was answered once more. Returns what is known to be waste already: the other half of a lookup that was counted.
    pub fn ask(&mut self, kind: u16, at: Duration) -> Waste {
        // Asked for again and again, and no sign of a search list for so long.
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

    /// All that was not counted yet is waste.
    pub fn count_as_waste(&mut self, at: Duration) -> Waste {
        let lookups = self.aaaa.max(self.rest);
        let expansions = lookups.saturating_sub(self.counted).into();
        let waste = Waste { expansions, queries: self.queries.into() };
        (self.counted, self.queries) = (lookups, 0);
        self.drop_pairs();
        // A surplus that old waits for nothing: this client asks for one type only.
        if self.counted == 0 || at.saturating_sub(self.since) > WINDOW {
            self.reset(at);
        }
        waste
    }

    /// Lookups with both types answered leave the account.
    fn drop_pairs(&mut self) {
        let pairs = self.aaaa.min(self.rest);
        (self.aaaa, self.rest) = (self.aaaa - pairs, self.rest - pairs);
        self.counted = self.counted.saturating_sub(pairs);
    }

    /// Whether it still counts.
    pub fn is_recent(&self, at: Duration) -> bool {
        at.saturating_sub(self.last) <= WINDOW
    }

    /// What is least may be forgotten first.
    pub fn worth(&self) -> (bool, bool, Duration) {
        (self.queries > 0, self.counted > 0, self.last)
    }

    fn reset(&mut self, at: Duration) {
        (self.since, self.aaaa, self.rest, self.counted, self.queries) = (at, 0, 0, 0, 0);
    }
}
