//! Names that come later than the flow.

use std::collections::HashMap;

use super::super::Edge;
use super::Ledger;
use super::account::{Account, Standing};
use crate::enrich::{Names, Workload};

impl Ledger {
    /// Asks again for the names of cgroups that had none. Their series end, and those of the named edge go on from there.
    pub(super) fn rename(&mut self, names: &mut Names) {
        let renamed: Vec<_> = self
            .by_edge
            .keys()
            .filter(|edge| is_nameless(edge))
            .filter_map(|edge| Some((edge.clone(), named(edge, names)?)))
            .collect();
        let mut moved = HashMap::new();
        for (nameless, named) in renamed {
            let Some(from) = self.by_edge.remove(&nameless) else { continue };
            let to = *self.by_edge.entry(named).or_insert(from);
            if to != from {
                self.merge(from, to);
                moved.insert(from, to);
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
        let other = &mut self.others[to.reporter as usize];
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
    [&edge.source, &edge.destination].into_iter().any(|end| matches!(end, Workload::Cgroup(_)))
}

/// The edge with the names that are known by now; `None` when they are not.
fn named(edge: &Edge, names: &mut Names) -> Option<Edge> {
    let mut name = |end: &Workload| match end {
        Workload::Cgroup(id) => names.local(*id),
        end => end.clone(),
    };
    let named = Edge { source: name(&edge.source), destination: name(&edge.destination), ..edge.clone() };
    (named != *edge).then_some(named)
}
