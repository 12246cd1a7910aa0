//! What DNS answers tell of names: which are wasted on search domains, which are asked for most, and which addresses
//! they stand for. All of it is of the answers looked at: the kernel side passes on only some under load. Exact counts
//! come from its tables.

pub mod search;
pub mod timeout;
pub mod top;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::dns::ResponseCode;

use crate::enrich::Workload;
use crate::enrich::policy::{DnsNames, Label, Labels};
use crate::enrich::resolved::{Known, ResolvedNames};
use crate::ingest::dns::Question;
use search::{Search, Waste};
use top::{Lists, Looked, Top};

/// Workloads whose search domains are counted apart; further ones count for [`Workload::Other`].
const MAX_WORKLOADS: usize = 1024;
/// Clients that are known by their workload; what further ones do counts for [`Workload::Other`].
const MAX_CLIENTS: usize = 4096;

/// An answer that reached a client here.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// As [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// Whose it is.
    pub workload: &'a Workload,
    /// What was asked.
    pub question: &'a Question,
    /// The four bits in the head of the message.
    pub rcode: u8,
    /// First query to answer.
    pub duration: Duration,
    /// Time since a fixed moment, the same one for all answers.
    pub at: Duration,
}

/// A query that was not answered in time.
#[derive(Clone, Copy, Debug)]
pub struct TimedOut<'a> {
    /// As in [`Answer`].
    pub local: u64,
    /// Whose it is.
    pub workload: &'a Workload,
    /// What was asked.
    pub question: &'a Question,
    /// As in [`Answer`].
    pub at: Duration,
}

/// What a workload's search domains cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// What was wasted.
    pub waste: Waste,
    /// Queries that were looked at.
    pub queries: u64,
}

/// What is known of a workload.
#[derive(Debug, PartialEq)]
pub struct WorkloadRow {
    /// Which.
    pub workload: Workload,
    /// Its search domains.
    pub searched: Searched,
    /// Its names.
    pub lists: Lists,
    /// The addresses it knows, in order.
    pub resolved: Vec<ResolvedRow>,
}

/// An address and the name it was resolved from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRow {
    /// The address.
    pub address: IpAddr,
    /// What is shown of its name.
    pub label: Label,
    /// For how long this counts.
    pub expires_in: Duration,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Details {
    labels: Arc<Labels>,
    search: Search,
    top: Top,
    /// Whose the clients are.
    clients: HashMap<u64, Workload>,
    searched: BTreeMap<Workload, Searched>,
}

impl Details {
    /// Of no answer yet.
    #[must_use]
    pub fn new(labels: Arc<Labels>) -> Self {
        Self {
            labels,
            search: Search::default(),
            top: Top::default(),
            clients: HashMap::new(),
            searched: BTreeMap::new(),
        }
    }

    /// The policy for names.
    #[must_use]
    pub fn policy(&self) -> DnsNames {
        self.labels.policy()
    }

    /// Takes an answer.
    pub fn answered(&mut self, answer: &Answer<'_>) {
        let Answer { local, workload, question, rcode, duration, at } = *answer;
        let Some(label) = self.labels.label(&question.name) else { return };
        let code = ResponseCode::of(rcode);
        self.top.looked(workload, label, Looked::Answered(code, duration), at);
        let waste = self.search.answered(local, question, rcode, at);
        self.searched(local, workload, waste);
    }

    /// Takes a query that was not answered in time.
    pub fn timed_out(&mut self, query: &TimedOut<'_>) {
        let TimedOut { local, workload, question, at } = *query;
        let Some(label) = self.labels.label(&question.name) else { return };
        self.top.looked(workload, label, Looked::TimedOut, at);
        self.searched(local, workload, Waste::default());
    }

    /// What search domains have cost each workload, in order. A workload's sums never shrink; they end with its last
    /// client ([`Details::retain`]), or go to another name when that is the client's only from then on.
    pub fn expansions(&self) -> impl Iterator<Item = (&Workload, Waste)> {
        self.searched.iter().map(|(workload, searched)| (workload, searched.waste))
    }

    /// All that is known at this time, by workload in order, with lists of so many names each.
    #[must_use]
    pub fn rows(&mut self, limit: usize, resolved: &ResolvedNames, at: Duration) -> Vec<WorkloadRow> {
        self.top.turn(at);
        let mut resolved = self.resolved_rows(resolved, at);
        let workloads: BTreeSet<_> =
            self.searched.keys().chain(self.top.workloads()).chain(resolved.keys()).cloned().collect();
        let row = |workload: Workload| WorkloadRow {
            searched: self.searched.get(&workload).copied().unwrap_or_default(),
            lists: self.top.lists(&workload, limit),
            resolved: resolved.remove(&workload).unwrap_or_default(),
            workload,
        };
        workloads.into_iter().map(row).collect()
    }

    /// Asks again for the names of clients that had none: a cgroup that is new may be found a moment later.
    pub fn name_clients(&mut self, mut name: impl FnMut(u64) -> Workload) {
        let nameless = self.clients.iter().filter(|(_, workload)| workload.is_nameless());
        let nameless: Vec<_> = nameless.map(|(local, _)| *local).collect();
        for local in nameless {
            let workload = name(local);
            if !workload.is_nameless() {
                self.rename(local, &workload);
            }
        }
    }

    /// Forgets all clients but these, and workloads without a client.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.search.retain(&is_there);
        self.clients.retain(|local, _| is_there(*local));
        let workloads: BTreeSet<_> = self.clients.values().chain([&Workload::Other]).collect();
        self.searched.retain(|workload, _| workloads.contains(workload));
    }

    /// One more query of a client, and what it showed to be waste.
    fn searched(&mut self, local: u64, workload: &Workload, waste: Waste) {
        self.know(local, workload);
        let workload = if self.searched.contains_key(workload) { workload } else { &Workload::Other };
        if let Some(searched) = self.searched.get_mut(workload) {
            searched.waste.add(waste);
            searched.queries = searched.queries.saturating_add(1);
        }
    }

    /// Sees to it that the workload, or `other`, has a sum.
    fn know(&mut self, local: u64, workload: &Workload) {
        match self.clients.get(&local) {
            Some(known) if known == workload => return,
            Some(_) => self.rename(local, workload),
            None if self.clients.len() < MAX_CLIENTS => {
                self.clients.insert(local, workload.clone());
            }
            None => {}
        }
        let is_client = self.clients.contains_key(&local);
        let has_room = is_client && self.searched.len() < MAX_WORKLOADS;
        let workload = if has_room { workload } else { &Workload::Other };
        if !self.searched.contains_key(workload) {
            self.searched.insert(workload.clone(), Searched::default());
        }
    }

    /// The client's name is another now: a cgroup that is new has none at first. Its sums go with it unless the old name
    /// has other clients.
    fn rename(&mut self, local: u64, workload: &Workload) {
        let Some(old) = self.clients.insert(local, workload.clone()) else { return };
        if self.clients.values().any(|other| *other == old) || old == Workload::Other {
            return;
        }
        self.top.rename(&old, workload);
        let Some(sums) = self.searched.remove(&old) else { return };
        let searched = self.searched.entry(workload.clone()).or_default();
        searched.waste.add(sums.waste);
        searched.queries = searched.queries.saturating_add(sums.queries);
    }

    /// The addresses that workloads know. Where clients of one workload differ, what was learned to last longest stands.
    fn resolved_rows(&self, resolved: &ResolvedNames, at: Duration) -> BTreeMap<Workload, Vec<ResolvedRow>> {
        let mut all: BTreeMap<&Workload, BTreeMap<IpAddr, Known<'_>>> = BTreeMap::new();
        for (local, workload) in &self.clients {
            for known in resolved.known(*local, at) {
                let rank = |known: &Known<'_>| (known.expires_in, known.name.clone());
                let of_workload = all.entry(workload).or_default();
                if of_workload.get(&known.address).is_none_or(|other| rank(other) < rank(&known)) {
                    of_workload.insert(known.address, known);
                }
            }
        }
        let row = |known: Known<'_>| {
            let Known { address, name, expires_in } = known;
            Some(ResolvedRow { address, label: self.labels.label(name)?, expires_in })
        };
        let rows = all.into_iter().map(|(workload, known)| {
            let rows = known.into_values().filter_map(row).collect();
            (workload.clone(), rows)
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
