//! What the kernel's tables have counted, kept over their entries' lives and shared out to edges.
//!
//! Each reading tells the present counters of every flow. What an edge shows is the sum of its flows' counters and its
//! *base*, which makes up for everything that must not move what is shown:
//!
//! - a flow is removed from the kernel's table: what it had counted goes to the base;
//! - an edge gives its histograms to `other`, or is folded into it altogether: that part of its base moves to the base
//!   of `other`, and its flows count there;
//! - a flow counts for another edge from now on, because its end has another name: what it has counted up to now goes to
//!   the base of the one, and is taken off the base of the other ([`rename`]);
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
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::FlowKey;

use super::slab::Slab;
use super::totals::{Counters, Totals};
use super::{Edge, Reporter, edge};
use crate::enrich::Names;
use crate::enrich::objects::Seconds;
use crate::ingest::{ip, role};
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
    by_edge: BTreeMap<Arc<Edge>, usize>,
    /// Flows whose ends may be called otherwise by now.
    unsure: HashSet<FlowKey>,
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
            unsure: HashSet::new(),
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
        let changes = names.take_changes();
        if !changes.is_empty() {
            self.unsure.extend(self.flows.keys().filter(|flow| changes.concern(flow)));
        }
        Reading { ledger: self, now, names, unsure: HashMap::new() }
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
        account.retire(counters, &mut self.others[account.reporter()]);
    }

    /// What there is to show after a reading: edges in order, then `other` of each end that has any. Always in the same
    /// order, and cheap enough to walk over more than once.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let accounts = self.by_edge.iter().filter_map(|(edge, number)| {
            let edge = edge.as_ref();
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

    /// The remote ends that have flows.
    #[must_use]
    pub fn remotes(&self) -> HashSet<IpAddr> {
        self.flows.keys().map(|flow| ip(flow.remote)).collect()
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
    /// What the flows have counted that may go to other edges.
    unsure: HashMap<FlowKey, Totals>,
}

impl Reading<'_> {
    /// Takes a flow as one of the kernel's tables has it; the spare table may have a second part. Every entry must be
    /// told in every reading, but for those that were removed since the last one and retired.
    pub fn flow(&mut self, key: &FlowKey, counters: &impl Counters) {
        let Ledger { flows, accounts, by_edge, unsure, others, reading, .. } = &mut *self.ledger;
        if key.is_other() {
            if let Some(role) = role(key) {
                counters.add_to(&mut others[Reporter::from(role) as usize].totals);
            }
            return;
        }
        let flow = match flows.entry(*key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Some(named) = edge(key, self.names) else { return };
                let account = account(named.edge, by_edge, accounts, self.names.now());
                entry.insert(Flow::new(account, self.now))
            }
        };
        if !unsure.is_empty() && unsure.contains(key) {
            counters.add_to(self.unsure.entry(*key).or_insert(Totals::ZERO));
        }
        flow.count(*reading, counters);
        if let Some(account) = accounts.get_mut(flow.account) {
            account.count(*reading, counters);
        }
    }

    /// Ends the reading: decides what is shown, and returns the flows that may be removed from the kernel's tables, which
    /// is told with [`Ledger::retire`]. They are returned again by the next reading when they were not.
    ///
    /// `cost` says how many series an edge's totals make; never fewer when a counter has grown.
    #[must_use]
    pub fn finish(self, cost: impl Fn(&Edge, &Totals) -> usize) -> Vec<FlowKey> {
        let Self { ledger, now, names, unsure } = self;
        let known = ledger.flows.len();
        let idle = ledger.close_flows(now);
        ledger.move_flows(&unsure, now, names);
        ledger.drop_edges(now);
        ledger.rename(names);
        ledger.share_out(&cost);
        ledger.is_complete = true;
        if ledger.flows.len() < known {
            let locals: HashSet<u64> = ledger.flows.keys().map(|flow| flow.local).collect();
            names.retain(&locals, &ledger.remotes());
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
                let (in_other, reporter) = (flow.open().min(0), account.reporter());
                for (open, more) in [
                    (&mut account.totals.tcp.open, in_other.saturating_neg()),
                    (&mut self.others[reporter].totals.tcp.open, in_other),
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

    /// Drops the edges whose flows are all gone; those that flows have left for another name stay as long as a flow that
    /// is idle.
    fn drop_edges(&mut self, now: Duration) {
        let (reading, idle) = (self.reading, self.limits.idle);
        self.by_edge.retain(|_, number| {
            let lives = self.accounts.get_mut(*number).is_some_and(|account| {
                if account.left.is_some_and(|left| now.saturating_sub(left) < idle) {
                    account.begin(reading);
                }
                account.reading == reading
            });
            if !lives {
                self.accounts.remove(*number);
            }
            lives
        });
    }
}

/// The number of an edge's account, which is new when the edge is.
fn account(
    edge: Edge,
    by_edge: &mut BTreeMap<Arc<Edge>, usize>,
    accounts: &mut Slab<Account>,
    began: Seconds,
) -> usize {
    if let Some(number) = by_edge.get(&edge) {
        return *number;
    }
    let edge = Arc::new(edge);
    let number = accounts.insert(Account::new(Arc::clone(&edge), began));
    by_edge.insert(edge, number);
    number
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
