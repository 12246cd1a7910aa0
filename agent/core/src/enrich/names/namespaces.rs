//! Pods by their network namespace: a connection that is refused has no socket, and is counted for the namespace.

use std::collections::{BTreeMap, BTreeSet};

use netcause_common::flow::LOCAL_IS_NAMESPACE;

use super::Names;
use crate::enrich::Workload;

/// A pod has no more containers that listen; a namespace with more is the host's.
const MAX_LISTENERS: usize = 16;

/// The local ends that listen in each network namespace, by its inode number.
pub(super) type Listeners = BTreeMap<u64, BTreeSet<u64>>;

impl Names {
    /// Takes all that listen now: inode number of the network namespace, and local end.
    pub fn listen_in(&mut self, listeners: impl Iterator<Item = (u32, u64)>) {
        let mut now = Listeners::new();
        for (inode, local) in listeners.filter(|(inode, _)| *inode != 0) {
            let locals = now.entry(inode.into()).or_default();
            // One more than a pod's shows that it is none.
            if locals.len() <= MAX_LISTENERS {
                locals.insert(local);
            }
        }
        let before = std::mem::replace(&mut self.listening, now);
        for inode in before.keys().chain(self.listening.keys()) {
            if before.get(inode) != self.listening.get(inode) {
                self.changes.local(LOCAL_IS_NAMESPACE | inode);
            }
        }
    }

    /// A cgroup has a name now, and what it listens in may have one.
    pub(super) fn name_namespaces_of(&mut self, local: u64) {
        for (inode, _) in self.listening.iter().filter(|(_, locals)| locals.contains(&local)) {
            self.changes.local(LOCAL_IS_NAMESPACE | inode);
        }
    }

    /// The pod that everything that listens in this network namespace is of.
    pub(super) fn namespace(&self, inode: u64) -> Workload {
        let pod_of = |locals: &BTreeSet<u64>| {
            let first = *locals.first()?;
            let pod = self.pod(first)?;
            let is_one =
                locals.len() <= MAX_LISTENERS && locals.iter().all(|local| self.pod(*local) == Some(pod));
            is_one.then(|| self.cgroup(first))
        };
        self.listening.get(&inode).and_then(pod_of).unwrap_or(Workload::Namespace(inode))
    }
}
