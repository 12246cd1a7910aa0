//! What the kernel's tables have counted, kept over their entries' lives and shared out to edges.
//!
//! Each reading tells the present counters of every flow. What an edge shows is the sum of its flows' counters and its
//! *base*, which makes up for everything that must not move what is shown:
//!
//! - a flow is removed from the kernel's table: what it had counted goes to the base;
//! - an edge gives its histograms to `other`, or is folded into it altogether: that part of its base moves to the base
//!   of `other`, and its flows count there;
//! - a folded edge gets series of its own: what it has counted so far stays in the base of `other`, and its own base is
//!   the same below zero, so that its series begin at zero.
//!
//! So no series goes backwards while it is there, and all of them together are what was counted, less what edges showed
//! whose flows are all gone. Open connections are no such sum: each edge has those of its own flows, and no base does.

mod account;
mod budget;
mod rename;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use netcause_common::flow::FlowKey;

use super::slab::Slab;
use super::totals::{Counters, Totals};
use super::{Edge, Reporter, edge};
use crate::enrich::Names;
use crate::ingest::role;
use account::{Account, Flow, Other, Standing};

/// What the ledger keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Series of all edges together.
    pub max_series: usize,
    /// A flow that has counted nothing for so long, and has no open connection, may go.
    pub idle: Duration,
}

/// The ledger; see above.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    flows: HashMap<FlowKey, Flow>,
    accounts: Slab<Account>,
    by_edge: BTreeMap<Edge, usize>,
    others: [Other; 2],
    /// The number of the reading that is under way or was the last one.
    reading: u64,
    is_complete: bool,
    series: usize,
    folded: u64,
}

/// What an edge shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The edge; [`Edge::other`] takes all that have no series of their own.
    pub edge: &'a Edge,
    /// Its totals. All but the open connections only grow.
    pub totals: Totals,
}

/// What the ledger says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Series that the edges have, `other` included.
    pub series: usize,
    /// Series that they may have.
    pub max_series: usize,
    /// Times an edge was folded into `other`.
    pub folded: u64,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            flows: HashMap::new(),
            accounts: Slab::new(),
            by_edge: BTreeMap::new(),
            others: [Other::new(Reporter::Source), Other::new(Reporter::Destination)],
            reading: 0,
            is_complete: false,
            series: 0,
            folded: 0,
        }
    }

    /// Begins a reading of the kernel's tables; `now` is the time since any fixed moment. A reading that is dropped
    /// before [`Reading::finish`] changes nothing, but nothing is shown until one is finished.
    pub fn read<'a>(&'a mut self, now: Duration, names: &'a mut Names) -> Reading<'a> {
        self.reading += 1;
        self.is_complete = false;
        self.others.iter_mut().for_each(Other::begin);
        Reading { ledger: self, now, names }
    }

    /// True when the kernel's table still has what the last reading found there, all parts of it added up: if not, the
    /// flow is in use again and should stay.
    #[must_use]
    pub fn is_as_read(&self, key: &FlowKey, counters: &impl Counters) -> bool {
        self.flows.get(key).is_some_and(|flow| flow.is_as_read(counters))
    }

    /// An entry of the kernel's table was removed, and this is what it had counted. To be told before the next reading,
    /// of each table that the flow was removed from.
    pub fn retire(&mut self, key: &FlowKey, counters: &impl Counters) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.retire(counters);
        let Some(account) = self.accounts.get_mut(flow.account) else { return };
        account.retire(counters, &mut self.others[account.reporter as usize]);
    }

    /// What there is to show after a reading: edges in order, then `other` of each end that has any. Always in the same
    /// order, and cheap enough to walk over more than once.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let accounts = self.by_edge.iter().filter_map(|(edge, number)| {
            let account = self.accounts.get(*number).filter(|account| account.standing == Standing::Shown)?;
            Some(Shown { edge, totals: account.shown() })
        });
        let others = self.others.iter().filter(|other| !other.is_empty());
        let others = others.map(|other| Shown { edge: &other.edge, totals: other.totals });
        accounts.chain(others).filter(|_| self.is_complete)
    }

    /// The local ends that have flows of a protocol.
    #[must_use]
    pub fn locals(&self, protocol: u8) -> HashSet<u64> {
        self.flows.keys().filter(|flow| flow.protocol == protocol).map(|flow| flow.local).collect()
    }

    /// What the ledger says of itself.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { series: self.series, max_series: self.limits.max_series, folded: self.folded }
    }
}

/// A reading under way.
pub struct Reading<'a> {
    ledger: &'a mut Ledger,
    now: Duration,
    names: &'a mut Names,
}

impl Reading<'_> {
    /// Takes a flow as one of the kernel's tables has it; the spare table may have a second part. Every entry must be
    /// told in every reading, but for those that were removed since the last one and retired.
    pub fn flow(&mut self, key: &FlowKey, counters: &impl Counters) {
        let Ledger { flows, accounts, by_edge, others, reading, .. } = &mut *self.ledger;
        if key.is_other() {
            if let Some(role) = role(key) {
                counters.add_to(&mut others[Reporter::from(role) as usize].totals);
            }
            return;
        }
        let flow = match flows.entry(*key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Some(edge) = edge(key, self.names) else { return };
                let reporter = edge.reporter;
                let account = by_edge.entry(edge).or_insert_with(|| accounts.insert(Account::new(reporter)));
                entry.insert(Flow::new(*account, self.now))
            }
        };
        flow.count(*reading, counters);
        if let Some(account) = accounts.get_mut(flow.account) {
            account.count(*reading, counters);
        }
    }

    /// Ends the reading: decides what is shown, and returns the flows that may be removed from the kernel's tables, which
    /// is told with [`Ledger::retire`]. They are returned again by the next reading when they were not.
    ///
    /// `cost` says how many series an end's totals make; never fewer when a counter has grown.
    #[must_use]
    pub fn finish(self, cost: impl Fn(Reporter, &Totals) -> usize) -> Vec<FlowKey> {
        let Self { ledger, now, names } = self;
        let known = ledger.flows.len();
        let idle = ledger.close_flows(now);
        ledger.drop_edges();
        ledger.rename(names);
        ledger.share_out(&cost);
        ledger.is_complete = true;
        if ledger.flows.len() < known {
            let locals: HashSet<u64> = ledger.flows.keys().map(|flow| flow.local).collect();
            names.retain(&locals);
        }
        idle
    }
}

impl Ledger {
    /// Drops the flows that this reading did not find, and returns the idle ones.
    fn close_flows(&mut self, now: Duration) -> Vec<FlowKey> {
        let mut idle = Vec::new();
        self.flows.retain(|key, flow| {
            if flow.reading != self.reading {
                return false;
            }
            flow.close(now);
            if let Some(account) = self.accounts.get_mut(flow.account) {
                let in_other = flow.open().min(0);
                for (open, more) in [
                    (&mut account.totals.tcp.open, in_other.saturating_neg()),
                    (&mut self.others[account.reporter as usize].totals.tcp.open, in_other),
                ] {
                    *open = open.saturating_add(more);
                }
            }
            if flow.open() <= 0 && now.saturating_sub(flow.quiet_since) >= self.limits.idle {
                idle.push(*key);
            }
            true
        });
        self.others.iter_mut().for_each(Other::close);
        idle
    }

    /// Drops the edges whose flows are all gone.
    fn drop_edges(&mut self) {
        self.by_edge.retain(|_, number| {
            let lives = self.accounts.get(*number).is_some_and(|account| account.reading == self.reading);
            if !lives {
                self.accounts.remove(*number);
            }
            lives
        });
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
