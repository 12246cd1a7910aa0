//! Workloads: what pods have the same owner, and what they are called.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};

use super::owners::{Rank, group, workload};
use super::table::{Keyed, NONE, Table};
use crate::enrich::name::{Interner, Name};
use crate::enrich::objects::{Owner, Pod};
use crate::enrich::uid::PodUid;

/// What stands for a text that would be long to keep: 128 bits under secret seeds, which do not meet.
pub type Fingerprint = [u64; 2];

/// Makes fingerprints.
#[derive(Debug, Default)]
pub struct Fingerprints(RandomState, RandomState);

impl Fingerprints {
    /// Of anything.
    pub fn of(&self, value: &(impl Hash + ?Sized)) -> Fingerprint {
        [self.0.hash_one(value), self.1.hash_one(value)]
    }

    /// The uid of a pod; what is none stands for itself by its fingerprint.
    pub fn uid(&self, text: &str) -> Option<PodUid> {
        text.parse().ok().or_else(|| {
            let [high, low] = self.of(text);
            format!("{high:016x}{low:016x}").parse().ok()
        })
    }
}

/// Pods with the same owner.
#[derive(Debug)]
pub struct Workload {
    /// Of the owner.
    owner: Fingerprint,
    /// What they are called.
    pub name: Name,
    /// The first pod.
    pub first: u32,
    /// How many.
    pods: u32,
    rank: Rank,
}

impl Keyed for Workload {
    type Key = Fingerprint;

    fn key(&self) -> &Fingerprint {
        &self.owner
    }
}

/// Workloads by owner.
#[derive(Debug, Default)]
pub struct Workloads {
    table: Table<Workload>,
    fingerprints: Fingerprints,
    /// Owners' owners that were told and concern no pod yet, or no more.
    idle: VecDeque<u32>,
}

impl Workloads {
    /// The workload of a pod, and whether its other pods are called otherwise now.
    pub fn of(&mut self, pod: &Pod, names: &mut Interner) -> (u32, bool) {
        let (name, rank) = workload(pod);
        // The pods that stand for static pods are owned by their nodes, and are a workload by their names.
        let owner = match &pod.owner {
            Some(owner) if &*owner.kind != "Node" => self.owner(&pod.namespace, owner),
            _ => self.fingerprints.of(&(&*pod.namespace, name)),
        };
        let Some(id) = self.table.find(&owner) else {
            let name = names.name(&pod.namespace, name);
            return (self.table.insert(Workload { owner, name, first: NONE, pods: 0, rank }), false);
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

    /// An owner is owned itself. Says which workload is called otherwise now. Of owners without pods at most `max` are kept.
    pub fn owned(
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
            let id = self.table.insert(Workload { owner, name, first: NONE, pods: 0, rank: Rank::Told });
            self.idle(id, max);
            return None;
        };
        let workload = self.table.get_mut(id)?;
        workload.rank = Rank::Told;
        let is_other = workload.name != name;
        workload.name = name;
        is_other.then_some(id)
    }

    /// The workload of this number.
    pub fn get(&self, id: u32) -> Option<&Workload> {
        self.table.get(id)
    }

    /// A pod is put in as the first; returns the one that was.
    pub fn enter(&mut self, id: u32, pod: u32) -> u32 {
        let Some(workload) = self.table.get_mut(id) else { return NONE };
        workload.pods += 1;
        std::mem::replace(&mut workload.first, pod)
    }

    /// A pod is taken out; `next` is the one after it, if it was the first.
    pub fn leave(&mut self, id: u32, next: Option<u32>, max: usize) {
        let Some(workload) = self.table.get_mut(id) else { return };
        workload.pods = workload.pods.saturating_sub(1);
        workload.first = next.unwrap_or(workload.first);
        if workload.pods == 0 {
            match workload.rank {
                Rank::Told => self.idle(id, max),
                Rank::Reference | Rank::Form => _ = self.table.remove(id),
            }
        }
    }

    /// Workloads.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Keeps an owner's owner for pods to come, in the place of one that has waited for longer.
    fn idle(&mut self, id: u32, max: usize) {
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
