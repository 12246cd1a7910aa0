//! Workloads: groups the pods of one owner, and names them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};

use super::owners::{Rank, group, workload};
use super::table::{Keyed, NONE, Table};
use crate::enrich::name::{Interner, Name};
use crate::enrich::objects::{Owner, Pod};
use crate::enrich::uid::PodUid;

/// A 128-bit keyed hash that stands for a longer text. The seeds are random, so nobody can construct a collision.
pub type Fingerprint = [u64; 2];

/// The hash functions of fingerprints, with random seeds.
#[derive(Debug, Default)]
pub struct Fingerprints(RandomState, RandomState);

impl Fingerprints {
    /// The fingerprint of a value.
    pub fn of(&self, value: &(impl Hash + ?Sized)) -> Fingerprint {
        [self.0.hash_one(value), self.1.hash_one(value)]
    }

    /// Parses the uid of a pod. A text that is neither a UUID nor a hash is replaced by its fingerprint.
    pub fn uid(&self, text: &str) -> Option<PodUid> {
        text.parse().ok().or_else(|| {
            let [high, low] = self.of(text);
            format!("{high:016x}{low:016x}").parse().ok()
        })
    }
}

/// The pods of one owner.
#[derive(Debug)]
pub struct WorkloadRecord {
    /// Stands for the owner's namespace, kind, API group and name.
    owner: Fingerprint,
    /// Namespace and name of the workload.
    pub name: Name,
    /// The first of its pods, or [`NONE`].
    pub first: u32,
    /// The number of pods.
    pods: u32,
    rank: Rank,
}

impl Keyed for WorkloadRecord {
    type Key = Fingerprint;

    fn key(&self) -> &Fingerprint {
        &self.owner
    }
}

/// All workloads, found by owner.
#[derive(Debug, Default)]
pub struct Workloads {
    table: Table<WorkloadRecord>,
    fingerprints: Fingerprints,
    /// Workloads without pods whose name an owner object gave, the oldest first: pods of them may still come.
    idle: VecDeque<u32>,
}

impl Workloads {
    /// The id of a pod's workload, and whether this pod renamed it.
    pub fn of(&mut self, pod: &Pod, names: &mut Interner) -> (u32, bool) {
        let (name, rank) = workload(pod);
        // The mirror pods of static pods are owned by their nodes; their workload is found by name.
        let owner = match &pod.owner {
            Some(owner) if &*owner.kind != "Node" => self.owner(&pod.namespace, owner),
            _ => self.fingerprints.of(&(&*pod.namespace, name)),
        };
        let Some(id) = self.table.find(&owner) else {
            let name = names.name(&pod.namespace, name);
            return (self.table.insert(WorkloadRecord { owner, name, first: NONE, pods: 0, rank }), false);
        };
        match self.table.get_mut(id) {
            Some(workload) if workload.rank < rank => {
                workload.rank = rank;
                workload.name = names.name(&pod.namespace, name);
                (id, true)
            }
            _ => (id, false),
        }
    }

    /// Names the workload of the owner `of` after that one's own owner `is`. Returns the workload's id if this renamed it. At
    /// most `max` workloads without pods are kept.
    pub fn set_owner(
        &mut self,
        namespace: &str,
        of: &Owner,
        is: &Owner,
        names: &mut Interner,
        max: usize,
    ) -> Option<u32> {
        let owner = self.owner(namespace, of);
        let name = names.name(namespace, &is.name);
        let Some(id) = self.table.find(&owner) else {
            let id = self.table.insert(WorkloadRecord {
                owner,
                name,
                first: NONE,
                pods: 0,
                rank: Rank::OwnerObject,
            });
            self.keep_idle(id, max);
            return None;
        };
        let workload = self.table.get_mut(id)?;
        workload.rank = Rank::OwnerObject;
        let is_other = workload.name != name;
        workload.name = name;
        is_other.then_some(id)
    }

    /// The workload with this id.
    pub fn get(&self, id: u32) -> Option<&WorkloadRecord> {
        self.table.get(id)
    }

    /// Adds a pod at the front of the list; returns the one that was first, or [`NONE`].
    pub fn enter(&mut self, id: u32, pod: u32) -> u32 {
        let Some(workload) = self.table.get_mut(id) else { return NONE };
        workload.pods += 1;
        std::mem::replace(&mut workload.first, pod)
    }

    /// Removes a pod; `next` is the one after it if it was the first.
    pub fn leave(&mut self, id: u32, next: Option<u32>, max: usize) {
        let Some(workload) = self.table.get_mut(id) else { return };
        workload.pods = workload.pods.saturating_sub(1);
        workload.first = next.unwrap_or(workload.first);
        if workload.pods == 0 {
            match workload.rank {
                Rank::OwnerObject => self.keep_idle(id, max),
                Rank::Reference | Rank::NamePattern => _ = self.table.remove(id),
            }
        }
    }

    /// The number of workloads.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Keeps a workload without pods, in place of the one that has had none for longest.
    fn keep_idle(&mut self, id: u32, max: usize) {
        self.idle.push_back(id);
        if self.idle.len() <= max {
            return;
        }
        let Some(id) = self.idle.pop_front() else { return };
        if self.table.get(id).is_some_and(|workload| workload.pods == 0) {
            self.table.remove(id);
        }
    }

    fn owner(&self, namespace: &str, owner: &Owner) -> Fingerprint {
        self.fingerprints.of(&(namespace, &*owner.kind, group(owner), &*owner.name))
    }
}
