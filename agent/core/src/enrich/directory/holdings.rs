//! Decides which pod or node held an address at a given time, so that a flow never gets the name of an earlier or later
//! holder of its address.
//!
//! Kubernetes may give a freed address to another pod within seconds. Reports of both pods arrive late, by an unknown delay, and
//! in either order. So a holding (one holder, one address) does not have a start and an end but a range for each:
//!
//! ```text
//!           possible_from    certain_from              certain_until()   possible_until
//!                 |                |                          |                |
//!   -- not held --|--- possible ---|-------- certain ---------|--- possible ---|-- not held --> time
//!                 |                |                          |                |
//!             pod created,    a source has            the end less what   the end, as a
//!             less clock      reported the            its report may be   source reported
//!             skew            address                 late by             or recorded it
//! ```
//!
//! An open holding, which has not ended as far as is known, is certain until [`DELAY`] ago and possible from then on.
//!
//! The holder of an address at a time is the one holder that is certain then; if there is none, the one holder that is
//! possible then. If there are two, there is no answer: no name is better than a wrong one.
//!
//! ```text
//!   pod A     ....===============...............              . possible
//!   pod B                          .........==============    = certain
//!   answer    AAAAAAAAAAAAAAAAAAAAA---------BBBBBBBBBBBBBB    - none
//! ```
//!
//! Two pods do not hold an address at the same time. So where one holding certainly began after another had begun, the
//! later one ends the earlier one, although the end of that was reported late or not at all ([`Holding::is_after`]).
//!
//! Seconds are too coarse where an address is used again at once. What was observed between two readings of the kernel's
//! tables ([`Span`]) is compared by order too: nothing that was sent after an end was reported belongs to that holder.

use std::collections::VecDeque;

use super::address::AddressBytes;
use super::effects::Effects;
use super::provenance::SourceSet;
use super::span::{During, NEVER, Order, Span};
use super::table::{Chained, Keyed, NONE, Table};

/// Seconds since 1970 in 32 bits: up to the year 2106.
pub type Moment = u32;

/// Clock skew in seconds that is allowed for between the API server, other nodes and this one. Timestamps that others recorded
/// (creation of a pod, end of its containers) are exact to within this only; they are also truncated to whole seconds.
pub const SKEW: Moment = 3;
/// Seconds within which a source that is connected reports a change.
pub const DELAY: Moment = 10;
/// The most holdings of one address that are kept; the one reported first is removed for another.
pub const MAX_OF_ADDRESS: usize = 16;
/// The value of [`Holding::possible_until`] of a holding that has not ended.
pub const OPEN: Moment = Moment::MAX;

/// One holder of one address, with the ranges of its start and its end.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The address.
    pub address: AddressBytes,
    next: u32,
    /// The next holding of the same holder, or [`NONE`].
    pub next_of_holder: u32,
    /// The pod or node: its id, and which of both. Apart, because a [`HolderId`] takes four bytes more.
    holder: u32,
    is_of_node: bool,
    /// The earliest start; 0 when unknown.
    pub possible_from: Moment,
    /// The latest start: when a source first reported the address, by this node's clock.
    pub certain_from: Moment,
    /// The latest end, by this node's clock; [`OPEN`] while it has not ended.
    pub possible_until: Moment,
    /// How the end became known. Only of meaning once it has ended.
    pub ending: Ending,
    /// The sources that list the holder with this address.
    pub sources: SourceSet,
    /// The [`Order`] in which the address was reported.
    reported: Order,
    /// The [`Order`] in which its end was reported; [`NEVER`] while it has not ended.
    end_reported: Order,
}

/// A pod or a node by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderId {
    /// An id in the table of pods.
    Pod(u32),
    /// An id in the table of nodes.
    Node(u32),
}

/// How the end of a holding became known, which decides how exact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The object has a timestamp of its end: exact to within clock skew.
    Recorded,
    /// A source reported the change when it happened: at most [`DELAY`] late.
    Observed,
    /// It was missing from a new list: it may have ended at any time since it was reported.
    Inferred,
}

impl Keyed for Holding {
    type Key = AddressBytes;

    fn key(&self) -> &AddressBytes {
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
    /// An open holding that began between these two times.
    pub fn new(address: AddressBytes, holder: HolderId, earliest: Moment, latest: Moment) -> Self {
        Self {
            address,
            next: NONE,
            next_of_holder: NONE,
            holder: match holder {
                HolderId::Pod(id) | HolderId::Node(id) => id,
            },
            is_of_node: matches!(holder, HolderId::Node(_)),
            possible_from: earliest.min(latest),
            certain_from: latest,
            possible_until: OPEN,
            ending: Ending::Inferred,
            sources: SourceSet::default(),
            reported: 0,
            end_reported: NEVER,
        }
    }

    /// The pod or node.
    pub fn holder(&self) -> HolderId {
        if self.is_of_node { HolderId::Node(self.holder) } else { HolderId::Pod(self.holder) }
    }

    /// Whether it has not ended, as far as is known.
    pub fn is_open(&self) -> bool {
        self.possible_until == OPEN
    }

    /// Withdraws the end.
    pub fn reopen(&mut self) {
        self.possible_until = OPEN;
        self.ending = Ending::Inferred;
        self.end_reported = NEVER;
    }

    /// The earliest end: up to this time it is certain, from [`Self::certain_from`] on.
    fn certain_until(&self, now: Moment) -> Moment {
        match self.ending {
            _ if self.is_open() => now.saturating_sub(DELAY),
            Ending::Recorded => self.possible_until.saturating_sub(2 * SKEW),
            Ending::Observed => self.possible_until.saturating_sub(DELAY),
            Ending::Inferred => self.certain_from,
        }
    }

    fn is_possible(&self, at: Moment) -> bool {
        (self.possible_from..=self.possible_until).contains(&at)
    }

    /// Whether any of what was sent in a span may be of this one.
    fn may_be_in(&self, span: &Span) -> bool {
        let Span { from, until } = span;
        self.possible_from <= until.at && from.at <= self.possible_until && from.order <= self.end_reported
    }

    /// Whether all of a span that may be of either was of this one: it has a timestamp of a later end, or had its end reported at
    /// the end of the span and before the other one was heard of. How long reports take does not matter.
    fn was_before(&self, other: &Self, span: &Span, now: Moment) -> bool {
        let is_recorded = !self.is_open()
            && self.ending == Ending::Recorded
            && self.certain_from <= span.from.at
            && span.until.at <= self.certain_until(now);
        let is_in_order = span.until.order <= self.end_reported && self.end_reported < other.reported;
        is_recorded || (is_in_order && span.until.at <= self.possible_until)
    }

    /// Whether this one certainly began after that one had begun, and so after that one had ended.
    fn is_after(&self, that: &Self) -> bool {
        self.possible_from > that.certain_from
            || (self.possible_from == that.certain_from && self.certain_from > that.certain_from)
    }

    /// Whether a later holding `other` may have begun by `at`, although the end of this one was reported later or never: an
    /// object may exist for long after its address was freed.
    fn may_be_over(&self, other: &Self, at: Moment) -> bool {
        let from = match self.ending {
            _ if self.is_open() => other.possible_from,
            Ending::Observed => other.possible_from.max(other.certain_from.saturating_sub(DELAY)),
            Ending::Recorded | Ending::Inferred => return false,
        };
        other.is_after(self) && at >= from
    }
}

/// All holdings, found by address.
#[derive(Debug, Default)]
pub struct Holdings {
    table: Table<Holding>,
    /// The number of what is reported now.
    order: Order,
    /// Something was reported since the last observation.
    has_reports: bool,
    /// Holdings that have ended, in the order of the reports: when that came, the id, [`Holding::possible_until`].
    past: VecDeque<(Moment, u32, Moment)>,
}

impl Holdings {
    /// Finds who held an address at the time `at`, as far as is known `now`.
    pub fn at(&self, address: &AddressBytes, at: Moment, now: Moment) -> Option<&Holding> {
        let first = self.get(self.table.find(address)?)?;
        // What has ended before the last observation is over, though it be in the same second.
        let is_over = |holding: &Holding| at >= now && holding.end_reported < self.order;
        if first.following() == NONE {
            return (first.is_possible(at) && !is_over(first)).then_some(first);
        }
        let all = || self.table.chain(address).map(|(_, holding)| holding).filter(|held| !is_over(held));
        let is_certain = |holding: &&Holding| {
            let may_be_over = |other: &Holding| holding.may_be_over(other, at);
            (holding.certain_from..=holding.certain_until(now)).contains(&at) && !all().any(may_be_over)
        };
        let is_possible = |holding: &&Holding| {
            holding.is_possible(at) && !all().any(|other| other.is_after(holding) && at >= other.certain_from)
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

    /// Finds who held an address between two observations, as far as is known `now`.
    pub fn during(&self, address: &AddressBytes, span: &Span, now: Moment) -> During<&Holding> {
        let all = || self.table.chain(address).map(|(_, holding)| holding);
        let is_after_another = |holding: &Holding| {
            all().any(|other| other.is_after(holding) && span.from.order > other.reported)
        };
        let candidates = || all().filter(|held| held.may_be_in(span) && !is_after_another(held));
        let mut found = candidates();
        let Some(first) = found.next() else { return During::None };
        if found.next().is_none() {
            return During::One(first);
        }
        let is_first = |held: &&Holding| {
            candidates().all(|other| std::ptr::eq(*held, other) || held.was_before(other, span, now))
        };
        candidates().find(is_first).map_or(During::Several, During::One)
    }

    /// True when an address has or had another holder than the one that has it: who held it depends on the time.
    pub fn is_contested(&self, address: &AddressBytes) -> bool {
        let mut all = self.table.chain(address);
        all.next().is_some_and(|(_, first)| !first.is_open()) || all.next().is_some()
    }

    /// The holding of an address that had no other one and, as far as is observed, has not ended.
    pub fn only(&self, address: &AddressBytes) -> Option<&Holding> {
        let holding = self.get(self.table.find(address)?)?;
        (holding.following() == NONE && holding.end_reported >= self.order).then_some(holding)
    }

    /// The place of what is observed now among the reports.
    pub fn order(&self) -> Order {
        self.order
    }

    /// As [`Self::order`]; whatever is reported from here on came after it.
    pub fn observe(&mut self) -> Order {
        self.order = self.order.saturating_add(std::mem::take(&mut self.has_reports).into()).min(NEVER - 1);
        self.order
    }

    /// Something is reported.
    pub fn report(&mut self) {
        self.has_reports = true;
    }

    /// The holding with this id.
    pub fn get(&self, id: u32) -> Option<&Holding> {
        self.table.get(id)
    }

    /// The holding with this id, to be changed. Its address must stay.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Holding> {
        self.table.get_mut(id)
    }

    /// The holdings of one holder, whose first one has this id.
    pub fn of(&self, mut id: u32) -> impl Iterator<Item = (u32, &Holding)> {
        std::iter::from_fn(move || {
            let holding = self.get(id)?;
            let found = (id, holding);
            id = holding.next_of_holder;
            Some(found)
        })
    }

    /// Unlinks `id` from the list of its holder's holdings, which begins with `first`; `next` follows it there.
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
    pub fn is_known(&self, address: &AddressBytes) -> bool {
        self.table.find(address).is_some()
    }

    /// The holding to remove before another is added to an address that has [`MAX_OF_ADDRESS`]: the one reported first, of
    /// those that have ended if there are any.
    pub fn excess(&self, address: &AddressBytes) -> Option<u32> {
        self.table.chain(address).nth(MAX_OF_ADDRESS - 1)?;
        let key = |(_, holding): &(u32, &Holding)| (holding.is_open(), holding.certain_from);
        self.table.chain(address).min_by_key(key).map(|(id, _)| id)
    }

    /// Adds a holding and returns its id.
    pub fn insert(&mut self, mut holding: Holding) -> u32 {
        holding.reported = self.order;
        self.table.push(holding)
    }

    /// Removes a holding. Its holder's list is not changed: see [`Self::skip`].
    pub fn remove(&mut self, id: u32) -> Option<Holding> {
        self.table.unlink(id)
    }

    /// Ends an open holding at `until`, as became known `now`.
    pub fn close(&mut self, id: u32, until: Moment, ending: Ending, now: Moment, effects: &mut Effects) {
        let Some(holding) = self.table.get_mut(id).filter(|holding| holding.is_open()) else { return };
        holding.possible_until = until.max(holding.possible_from).min(OPEN - 1);
        holding.certain_from = holding.certain_from.min(holding.possible_until);
        holding.ending = ending;
        holding.end_reported = self.order;
        self.past.push_back((now, id, holding.possible_until));
        effects.address(&holding.address);
    }

    /// The id of a holding to forget: its end was reported before this time, or more than `max` have ended.
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
            if self.get(id).is_some_and(|holding| holding.possible_until == until) {
                return Some(id);
            }
        }
    }

    /// The number of addresses that have or had a holder, and the number of holdings.
    pub fn len(&self) -> (usize, usize) {
        (self.table.keys(), self.table.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holding_is_small() {
        // A pod with two addresses has at most 200 bytes (docs/performance.md): of these, two of these and their index.
        assert!(size_of::<Holding>() <= 52, "{}", size_of::<Holding>());
    }
}
