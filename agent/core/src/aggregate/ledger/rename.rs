//! Names that come later than the flow, and names that change.
//!
//! A name that comes late was right all the time: everything that the nameless edge has counted goes to the named one. A
//! name that changes, because an address has another holder now, was right up to then: the flow's past stays where it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::FlowKey;

use super::super::totals::Totals;
use super::super::{Edge, Named, Reporter, Via, edge, name_again};
use super::account::{Account, Standing};
use super::{Ledger, account};
use crate::enrich::objects::Seconds;
use crate::enrich::{Names, Workload};

/// The clocks of two nodes differ by no more than this, most of the time.
const SKEW: Seconds = 5;

impl Ledger {
    /// True when flows whose ends have names may be called otherwise by now: their tables should be read soon, because
    /// what is counted after that is another's.
    #[must_use]
    pub fn is_renamed(&self, names: &Names) -> bool {
        let changes = names.changes();
        let is_named = |number| self.accounts.get(number).is_some_and(|account| !is_nameless(&account.edge));
        !changes.is_empty()
            && self.flows.iter().any(|(key, flow)| changes.concern(key) && is_named(flow.account))
    }

    /// Has flows count for other edges from now on whose ends are called otherwise by now. `counted` is what this reading
    /// has found of them.
    pub(super) fn move_flows(
        &mut self,
        counted: &HashMap<FlowKey, Totals>,
        now: Duration,
        names: &mut Names,
    ) {
        for key in std::mem::take(&mut self.unsure) {
            // Of a flow that is gone, the past is where it was.
            let (Some(flow), Some(counted)) = (self.flows.get_mut(&key), counted.get(&key)) else { continue };
            let (Some(named), Some(from)) = (edge(&key, names), self.accounts.get_mut(flow.account)) else {
                continue;
            };
            if named.edge == *from.edge || is_late(&from.edge, from.began, &named) {
                continue;
            }
            // A leg was one all the time.
            if named.edge.via != from.edge.via && has_late_ends(&from.edge, &named) {
                let (of_other, reporter) = (from.gives(counted), named.edge.reporter as usize);
                flow.account = account(named.edge, &mut self.by_edge, &mut self.accounts, names.now());
                if let Some(to) = self.accounts.get_mut(flow.account) {
                    to.takes(counted, of_other, self.reading, &mut self.others[reporter]);
                }
                continue;
            }
            // The connections that are open were the old holder's; what comes after them is nobody's as yet.
            if flow.open() > 0 && loses_a_name(&from.edge, &named.edge) {
                self.unsure.insert(key);
                continue;
            }
            from.is_left(counted, now, &mut self.others[named.edge.reporter as usize]);
            let reporter = named.edge.reporter as usize;
            flow.account = account(named.edge, &mut self.by_edge, &mut self.accounts, names.now());
            if let Some(to) = self.accounts.get_mut(flow.account) {
                to.is_joined(counted, self.reading, &mut self.others[reporter]);
            }
        }
    }

    /// Asks again for the names of ends that had none. Their series end, and those of the named edge go on from there.
    pub(super) fn rename(&mut self, names: &mut Names) {
        let mut renamed = Vec::new();
        for (edge, number) in self.by_edge.iter().filter(|(edge, _)| is_nameless(edge)) {
            let Some(named) = name_again(edge, names) else { continue };
            let Some(account) = self.accounts.get(*number) else { continue };
            if is_late(edge, account.began, &named) {
                renamed.push((Arc::clone(edge), named.edge));
            }
        }
        let mut moved = HashMap::new();
        for (nameless, named) in renamed {
            let Some(from) = self.by_edge.remove(&nameless) else { continue };
            let named = Arc::new(named);
            let to = *self.by_edge.entry(Arc::clone(&named)).or_insert(from);
            if to != from {
                self.merge(from, to);
                moved.insert(from, to);
            } else if let Some(account) = self.accounts.get_mut(to) {
                account.edge = named;
            }
        }
        if !moved.is_empty() {
            for flow in self.flows.values_mut() {
                flow.account = moved.get(&flow.account).copied().unwrap_or(flow.account);
            }
        }
    }

    fn merge(&mut self, from: usize, to: usize) {
        let (Some(mut from), Some(to)) = (self.accounts.remove(from), self.accounts.get_mut(to)) else {
            return;
        };
        let other = &mut self.others[to.reporter()];
        let mut unfold = |account: &mut Account| {
            other.totals.add(&account.totals.plain());
            account.unfold(other);
        };
        match (from.standing, to.standing) {
            (Standing::Folded, Standing::New | Standing::Shown) => unfold(&mut from),
            (Standing::New | Standing::Shown, Standing::Folded) => unfold(to),
            _ => {}
        }
        let mut unfold_histograms = |account: &mut Account| {
            other.totals.add(&account.totals.histograms());
            account.unfold_histograms(other);
        };
        match (from.is_plain, to.is_plain) {
            (true, false) => unfold_histograms(&mut from),
            (false, true) => unfold_histograms(to),
            _ => {}
        }
        to.merge(*from);
    }
}

fn is_nameless(edge: &Edge) -> bool {
    edge.source.is_nameless() || edge.destination.is_nameless()
}

/// True when the names differ only where there was none, and were right already when the edge began.
fn is_late(edge: &Edge, began: Seconds, named: &Named) -> bool {
    has_late_ends(edge, named)
        && edge.via == named.edge.via
        && (edge.service.is_none() || edge.service == named.edge.service)
        && is_nameless(edge)
        && named.since.is_none_or(|since| since <= began.saturating_add(SKEW))
}

/// True when both ends are called as before, or had no name. A leg to an own sidecar has no end but its own.
fn has_late_ends(edge: &Edge, named: &Named) -> bool {
    let is_same_or_late = |old: &Workload, new: &Workload| old == new || old.is_nameless();
    let new = &named.edge;
    let local = |edge: &Edge| match edge.reporter {
        Reporter::Source => edge.source.clone(),
        Reporter::Destination => edge.destination.clone(),
    };
    let is_leg = |edge: &Edge| matches!(edge.via, Via::OwnSidecar(_));
    if is_leg(edge) || is_leg(new) {
        return is_same_or_late(&local(edge), &local(new));
    }
    is_same_or_late(&edge.source, &new.source) && is_same_or_late(&edge.destination, &new.destination)
}

/// True when an end had a name and has none now. What a client resolved counts for a while only, and its connections last
/// longer.
fn loses_a_name(old: &Edge, new: &Edge) -> bool {
    let has_none = |new: &Workload| new.is_nameless() || *new == Workload::External;
    let loses = |old: &Workload, new: &Workload| !old.is_nameless() && has_none(new);
    loses(&old.source, &new.source) || loses(&old.destination, &new.destination)
}

#[cfg(test)]
mod tests;
