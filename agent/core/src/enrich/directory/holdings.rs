//! Who holds an address, and who held it when: the rule that keeps a flow from a name that was another's.
//!
//! What is told is late, and by how much nobody knows; and what two pods are told of comes in either order. So of each holding
//! four times are kept or follow: it began not before `since` and not after `told`; it ended not before [`Holding::lasts_to`]
//! and not after `until`. Between `told` and `lasts_to` it is certain, elsewhere only possible. An address is its one certain
//! holder's, else its one possible holder's. Of two it is nobody's: no name is better than a wrong one.

use std::collections::VecDeque;

use super::address::Octets;
use super::effects::Effects;
use super::table::{Chained, Keyed, NONE, Table};
use super::told::Sources;

/// Seconds since 1970 in 32 bits: to the year 2106.
pub type Moment = u32;

/// Seconds by which the clocks of the API server, of nodes and of this one may differ. Times that others have noted (when a
/// pod was made, when its containers ended) are believed within this only, and they are cut to whole seconds.
pub const SKEW: Moment = 3;
/// Seconds within which a source that is up tells of a change.
pub const DELAY: Moment = 10;
/// Holdings of one address that are kept; of more, the one told first is forgotten.
pub const MAX_OF_ADDRESS: usize = 16;
/// The end of what has not ended.
pub const OPEN: Moment = Moment::MAX;

/// An address, and who holds it from when to when.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The address.
    pub address: Octets,
    next: u32,
    /// The next holding of this holder.
    pub next_of_holder: u32,
    /// Who.
    pub holder: HolderId,
    /// It did not begin before. 0: not known.
    pub since: Moment,
    /// It had begun when it was told, by this clock.
    pub told: Moment,
    /// It ended at this time at the latest, by this clock; [`OPEN`]: it has not.
    pub until: Moment,
    /// How well the end is known.
    pub ending: Ending,
    /// Who tells that it goes on.
    pub sources: Sources,
}

/// A pod or a node by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderId {
    /// In the table of pods.
    Pod(u32),
    /// In the table of nodes.
    Node(u32),
}

/// How well the end of a holding is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody noted the time.
    Noted,
    /// It was told when it happened.
    Told,
    /// It was found to be over.
    Found,
}

impl Keyed for Holding {
    type Key = Octets;

    fn key(&self) -> &Octets {
        &self.address
    }
}

impl Chained for Holding {
    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }

    fn following(&self) -> u32 {
        self.next
    }
}

impl Holding {
    /// One that goes on.
    pub fn new(address: Octets, holder: HolderId, since: Moment, told: Moment) -> Self {
        let (next, next_of_holder) = (NONE, NONE);
        let (until, ending, sources) = (OPEN, Ending::Found, Sources::default());
        Self { address, next, next_of_holder, holder, since: since.min(told), told, until, ending, sources }
    }

    /// Whether it goes on, as far as it is known.
    pub fn is_open(&self) -> bool {
        self.until == OPEN
    }

    /// It goes on after all.
    pub fn reopen(&mut self) {
        self.until = OPEN;
        self.ending = Ending::Found;
    }

    /// It certainly goes on to this time, if it has begun before.
    fn lasts_to(&self, now: Moment) -> Moment {
        match self.ending {
            _ if self.is_open() => now.saturating_sub(DELAY),
            Ending::Noted => self.until.saturating_sub(2 * SKEW),
            Ending::Told => self.until.saturating_sub(DELAY),
            Ending::Found => self.told,
        }
    }

    fn is_possible(&self, at: Moment) -> bool {
        (self.since..=self.until).contains(&at)
    }

    /// Whether this began after that had begun, for certain; and so after that had ended.
    fn is_after(&self, that: &Self) -> bool {
        self.since > that.told || (self.since == that.told && self.told > that.told)
    }

    /// Whether another that came after may have come before this time, though this one's end was told later or never: an
    /// object may stay for long after its end.
    fn may_be_over(&self, other: &Self, at: Moment) -> bool {
        let from = match self.ending {
            _ if self.is_open() => other.since,
            Ending::Told => other.since.max(other.told.saturating_sub(DELAY)),
            Ending::Noted | Ending::Found => return false,
        };
        other.is_after(self) && at >= from
    }
}

/// Holdings by address.
#[derive(Debug, Default)]
pub struct Holdings {
    table: Table<Holding>,
    /// Those that have ended, by the time when it was told, with their ends.
    past: VecDeque<(Moment, u32, Moment)>,
}

impl Holdings {
    /// Who held an address at a time, as it is known now.
    pub fn at(&self, address: &Octets, at: Moment, now: Moment) -> Option<&Holding> {
        let first = self.get(self.table.find(address)?)?;
        if first.following() == NONE {
            return first.is_possible(at).then_some(first);
        }
        let all = || self.table.chain(address).map(|(_, holding)| holding);
        let is_certain = |holding: &&Holding| {
            let is_over = |other: &Holding| holding.may_be_over(other, at);
            (holding.told..=holding.lasts_to(now)).contains(&at) && !all().any(is_over)
        };
        let is_possible = |holding: &&Holding| {
            holding.is_possible(at) && !all().any(|other| other.is_after(holding) && at >= other.told)
        };
        let mut certain = all().filter(is_certain);
        match (certain.next(), certain.next()) {
            (Some(holding), None) => return Some(holding),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        let mut possible = all().filter(is_possible);
        possible.next().filter(|_| possible.next().is_none())
    }

    /// The holding of this number.
    pub fn get(&self, id: u32) -> Option<&Holding> {
        self.table.get(id)
    }

    /// Likewise.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Holding> {
        self.table.get_mut(id)
    }

    /// The holdings of a holder, from its first.
    pub fn of(&self, mut id: u32) -> impl Iterator<Item = (u32, &Holding)> {
        std::iter::from_fn(move || {
            let holding = self.get(id)?;
            let found = (id, holding);
            id = holding.next_of_holder;
            Some(found)
        })
    }

    /// Takes one out of the holdings of its holder, of which `first` is the first: those from `next` follow the one before it.
    pub fn skip(&mut self, first: u32, id: u32, next: u32) {
        let mut before = first;
        while let Some(holding) = self.get_mut(before) {
            if holding.next_of_holder == id {
                holding.next_of_holder = next;
                return;
            }
            before = holding.next_of_holder;
        }
    }

    /// Whether an address has or had a holder.
    pub fn is_known(&self, address: &Octets) -> bool {
        self.table.find(address).is_some()
    }

    /// The one told first, of an address that has too many.
    pub fn excess(&self, address: &Octets) -> Option<u32> {
        self.table.chain(address).nth(MAX_OF_ADDRESS - 1)?;
        let key = |(_, holding): &(u32, &Holding)| (holding.is_open(), holding.told);
        self.table.chain(address).min_by_key(key).map(|(id, _)| id)
    }

    /// Puts one in.
    pub fn insert(&mut self, holding: Holding) -> u32 {
        self.table.push(holding)
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u32) -> Option<Holding> {
        self.table.unlink(id)
    }

    /// One has ended.
    pub fn close(&mut self, id: u32, until: Moment, ending: Ending, now: Moment, effects: &mut Effects) {
        let Some(holding) = self.table.get_mut(id).filter(|holding| holding.is_open()) else { return };
        holding.until = until.max(holding.since).min(OPEN - 1);
        holding.told = holding.told.min(holding.until);
        holding.ending = ending;
        self.past.push_back((now, id, holding.until));
        effects.address(&holding.address);
    }

    /// One that ended before this time is forgotten now, or at once if there are more than `max`: its number.
    pub fn expired(&mut self, before: Moment, max: usize) -> Option<u32> {
        loop {
            let (ended, id, until) = *self.past.front()?;
            if ended >= before && self.past.len() <= max {
                return None;
            }
            self.past.pop_front();
            if self.past.capacity() / 8 > self.past.len().max(1024) {
                self.past.shrink_to(self.past.len() * 2);
            }
            if self.get(id).is_some_and(|holding| holding.until == until) {
                return Some(id);
            }
        }
    }

    /// Addresses that have or had a holder, and all holdings.
    pub fn len(&self) -> (usize, usize) {
        (self.table.keys(), self.table.len())
    }
}
