//! Counters of network namespaces, which have the name of what runs in them.

use std::collections::BTreeSet;

use super::growth::{Growth, Width};
use crate::enrich::Workload;

/// What was read of the network namespaces of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces<T> {
    /// That of the agent, which is the node's own.
    pub own: T,
    /// Those of pods and other workloads.
    pub pods: Vec<Namespace<T>>,
    /// How many there are of which nothing was read.
    pub left_out: u64,
}

/// What was read of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace<T> {
    /// A number of its own while it lives.
    pub id: u64,
    /// The cgroups with a process in it, by their ids.
    pub cgroups: Vec<u64>,
    /// What was read.
    pub counters: T,
}

/// Who a row is of: a workload; `None` for the node itself.
pub type Owner = Option<Workload>;

/// The workload whose cgroups these are. A cgroup that has no name as yet does not count beside one that has; different
/// workloads in one namespace are several.
pub(super) fn owner(cgroups: &[u64], name: impl Fn(u64) -> Workload) -> Workload {
    let all: BTreeSet<Workload> = cgroups.iter().map(|cgroup| name(*cgroup)).collect();
    let named: BTreeSet<_> = all.iter().filter(|workload| !workload.is_nameless()).cloned().collect();
    let mut candidates = if named.is_empty() { all } else { named };
    match candidates.pop_first() {
        Some(one) if candidates.is_empty() => one,
        _ => Workload::Several,
    }
}

/// Rows of namespaces by their owner.
#[derive(Debug)]
pub(super) struct ByOwner<const N: usize> {
    pub(super) rows: Growth<Option<u64>, Owner, N>,
    pub(super) left_out: u64,
}

impl<const N: usize> ByOwner<N> {
    pub(super) fn new(width: Width) -> Self {
        Self { rows: Growth::new(width), left_out: 0 }
    }

    /// Takes the counters of each namespace.
    pub(super) fn read<T>(
        &mut self,
        namespaces: &Namespaces<T>,
        counters: impl Fn(&T) -> [u64; N],
        name: impl Fn(u64) -> Workload,
    ) {
        let Namespaces { own, pods, left_out } = namespaces;
        self.left_out = *left_out;
        let pods = pods.iter().map(|namespace| {
            (Some(namespace.id), Some(owner(&namespace.cgroups, &name)), counters(&namespace.counters))
        });
        self.rows.read([(None, None, counters(own))].into_iter().chain(pods), *left_out == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_belongs_to_what_runs_in_it() {
        let name = |cgroup| match cgroup {
            1 | 2 => Workload::plain("shop"),
            3 => Workload::plain("cart"),
            other => Workload::Cgroup(other),
        };
        assert_eq!(owner(&[1, 2], name), Workload::plain("shop"));
        assert_eq!(owner(&[9, 2], name), Workload::plain("shop"));
        assert_eq!(owner(&[9], name), Workload::Cgroup(9));
        assert_eq!(owner(&[1, 3], name), Workload::Several);
        assert_eq!(owner(&[], name), Workload::Several);
    }
}
