//! Derives details of names from DNS answers: the cost of search domains, the names that are queried most, that fail and that
//! are slow, and the addresses that names resolve to.
//!
//! All of it is of the answers that reach the daemon: under load the kernel side passes on only some of them. Exact counts come
//! from the kernel's maps.

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
use crate::enrich::resolved::{ResolvedAddress, ResolvedNames};
use crate::ingest::dns::Question;
use crate::seen::Moment;
use search::{Search, Waste};
use top::{Lists, LookupOutcome, Top};

/// Workloads with counts of their own; further ones are counted in [`Workload::Other`].
const MAX_WORKLOADS: usize = 1024;
/// Clients whose workload is remembered; further ones are counted in [`Workload::Other`].
const MAX_CLIENTS: usize = 4096;

/// An answer that reached a client on this node.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredQuery<'a> {
    /// The client: [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// The client's workload.
    pub workload: &'a Workload,
    /// The question that was answered.
    pub question: &'a Question,
    /// The response code, with the bits that EDNS adds.
    pub rcode: u16,
    /// From the first transmission of the query to the answer.
    pub duration: Duration,
    /// When the answer came: time since a fixed moment, the same one for all answers.
    pub at: Duration,
}

/// A query that was not answered in time.
#[derive(Clone, Copy, Debug)]
pub struct TimedOutQuery<'a> {
    /// The client, as in [`AnsweredQuery::local`].
    pub local: u64,
    /// The client's workload.
    pub workload: &'a Workload,
    /// The question that was not answered.
    pub question: &'a Question,
    /// When the timeout passed, as in [`AnsweredQuery::at`].
    pub at: Duration,
}

/// The cost of a workload's search domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Lookups and queries that search domains wasted.
    pub waste: Waste,
    /// All queries of the workload that were examined.
    pub queries: u64,
}

/// The DNS details of one workload.
#[derive(Debug, PartialEq)]
pub struct WorkloadRow {
    /// The workload.
    pub workload: Workload,
    /// The cost of its search domains.
    pub searched: Searched,
    /// The names that it queries most, that fail, and that are slow.
    pub lists: Lists,
    /// The addresses that it resolved names to, sorted.
    pub resolved: Vec<ResolvedRow>,
}

/// An address and the name it was resolved from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRow {
    /// The address.
    pub address: IpAddr,
    /// The name as the policy shows it.
    pub label: Label,
    /// The time until this entry expires.
    pub expires_in: Duration,
}

/// DNS details of all workloads on this node. At most `MAX_CLIENTS` clients and `MAX_WORKLOADS` workloads are kept apart.
#[derive(Debug)]
pub struct DnsDetails {
    labels: Arc<Labels>,
    search: Search,
    top: Top,
    /// The workload of each client.
    clients: HashMap<u64, Workload>,
    searched: BTreeMap<Workload, Sum>,
    moment: Moment,
}

/// What search domains have cost a workload, as a row that is shown.
#[derive(Debug, Default)]
struct Sum {
    searched: Searched,
    /// When it was first shown with a count.
    began: Option<Duration>,
    /// When it lost its last client.
    left: Option<Duration>,
}

impl Sum {
    /// Counts queries that may have been wasted.
    fn add(&mut self, more: &Searched, now: Duration) {
        self.searched.waste.add(more.waste);
        self.searched.queries = self.searched.queries.saturating_add(more.queries);
        if self.searched.waste != Waste::default() {
            self.began.get_or_insert(now);
        }
    }

    fn is_seen(&self, moment: &Moment) -> bool {
        self.began.is_some_and(|began| moment.has_seen(began))
    }
}

impl DnsDetails {
    /// Without any answer yet; names are shown as these labels allow.
    #[must_use]
    pub fn new(labels: Arc<Labels>) -> Self {
        Self {
            labels,
            search: Search::default(),
            top: Top::default(),
            clients: HashMap::new(),
            searched: BTreeMap::new(),
            moment: Moment::default(),
        }
    }

    /// The time from here on, and what scrapers have got by then.
    pub fn at(&mut self, moment: Moment) {
        self.moment = moment;
    }

    /// Whether names are shown, hashed or off.
    #[must_use]
    pub fn policy(&self) -> DnsNames {
        self.labels.policy()
    }

    /// Counts an answer. No effect when names are off.
    pub fn answered(&mut self, answer: &AnsweredQuery<'_>) {
        let AnsweredQuery { local, workload, question, rcode, duration, at } = *answer;
        let Some(label) = self.labels.label(&question.name) else { return };
        let code = ResponseCode::of(rcode);
        self.top.record(workload, label, LookupOutcome::Answered(code, duration), at);
        let waste = self.search.answered(local, question, rcode, at);
        self.add_searched(local, workload, waste);
    }

    /// Counts a query that timed out. No effect when names are off.
    pub fn timed_out(&mut self, query: &TimedOutQuery<'_>) {
        let TimedOutQuery { local, workload, question, at } = *query;
        let Some(label) = self.labels.label(&question.name) else { return };
        self.top.record(workload, label, LookupOutcome::TimedOut, at);
        self.add_searched(local, workload, Waste::default());
    }

    /// What search domains have cost each workload, sorted by workload. A workload's sums never decrease. When it has
    /// no client any more ([`DnsDetails::retain`]) or its only client is renamed, they are removed once every scraper has got them;
    /// what no scraper has got moves to the other name.
    pub fn expansions(&self) -> impl Iterator<Item = (&Workload, Waste)> {
        self.searched().map(|(workload, searched)| (workload, searched.waste))
    }

    /// The same, with all queries.
    pub fn searched(&self) -> impl Iterator<Item = (&Workload, Searched)> {
        self.searched.iter().map(|(workload, sum)| (workload, sum.searched))
    }

    /// The details of all workloads, sorted by workload, with at most `limit` names in each list.
    #[must_use]
    pub fn rows(&mut self, limit: usize, resolved: &ResolvedNames, at: Duration) -> Vec<WorkloadRow> {
        self.top.turn(at);
        let mut resolved = self.resolved_rows(resolved, at);
        let workloads: BTreeSet<_> =
            self.searched.keys().chain(self.top.workloads()).chain(resolved.keys()).cloned().collect();
        let row = |workload: Workload| WorkloadRow {
            searched: self.searched.get(&workload).map(|sum| sum.searched).unwrap_or_default(),
            lists: self.top.lists(&workload, limit),
            resolved: resolved.remove(&workload).unwrap_or_default(),
            workload,
        };
        workloads.into_iter().map(row).collect()
    }

    /// Looks up the workloads of clients that had none yet: a new cgroup may be found a moment late.
    pub fn name_clients(&mut self, mut name: impl FnMut(u64) -> Workload) {
        let nameless = self.clients.iter().filter(|(_, workload)| workload.is_nameless());
        let nameless: Vec<_> = nameless.map(|(local, _)| *local).collect();
        for local in nameless {
            let workload = name(local);
            if !workload.is_nameless() {
                self.rename(local, &workload);
            }
        }
        self.searched.retain(|_, sum| sum.left.is_none_or(|left| !self.moment.is_over(left)));
    }

    /// Removes all clients but these, and workloads without a client.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.search.retain(&is_there);
        self.clients.retain(|local, _| is_there(*local));
        let workloads: BTreeSet<_> = self.clients.values().chain([&Workload::Other]).collect();
        let moment = &self.moment;
        self.searched.retain(|workload, sum| {
            sum.left = if workloads.contains(workload) { None } else { sum.left.or(Some(moment.now)) };
            sum.left.is_none() || moment.is_scraped() && sum.began.is_some()
        });
    }

    /// Counts one query of a client, and the waste that it revealed.
    fn add_searched(&mut self, local: u64, workload: &Workload, waste: Waste) {
        self.know(local, workload);
        let workload = if self.searched.contains_key(workload) { workload } else { &Workload::Other };
        if let Some(sum) = self.searched.get_mut(workload) {
            sum.add(&Searched { waste, queries: 1 }, self.moment.now);
        }
    }

    /// Remembers the client's workload, and makes sure that it, or else `other`, has a sum.
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
        match self.searched.get_mut(workload) {
            Some(known) => known.left = None,
            None => drop(self.searched.insert(workload.clone(), Sum::default())),
        }
    }

    /// The client's name is another now: a cgroup that is new has none at first. Its sums go with it unless the old name
    /// has other clients or a scraper has got them.
    fn rename(&mut self, local: u64, workload: &Workload) {
        let Some(old) = self.clients.insert(local, workload.clone()) else { return };
        if self.clients.values().any(|other| *other == old) || old == Workload::Other {
            return;
        }
        self.top.rename(&old, workload);
        let Some(sum) = self.searched.get_mut(&old) else { return };
        let (is_seen, past) = (sum.is_seen(&self.moment), sum.searched);
        if is_seen {
            sum.left = Some(self.moment.now);
        } else {
            self.searched.remove(&old);
        }
        let new = self.searched.entry(workload.clone()).or_default();
        new.left = None;
        if !is_seen {
            new.add(&past, self.moment.now);
        }
    }

    /// The addresses that each workload resolved. Where its clients have different names for one, the name that expires last is
    /// shown.
    fn resolved_rows(&self, resolved: &ResolvedNames, at: Duration) -> BTreeMap<Workload, Vec<ResolvedRow>> {
        let mut all: BTreeMap<&Workload, BTreeMap<IpAddr, ResolvedAddress<'_>>> = BTreeMap::new();
        for (local, workload) in &self.clients {
            for known in resolved.known(*local, at) {
                let rank = |known: &ResolvedAddress<'_>| (known.expires_in, known.name.clone());
                let of_workload = all.entry(workload).or_default();
                if of_workload.get(&known.address).is_none_or(|other| rank(other) < rank(&known)) {
                    of_workload.insert(known.address, known);
                }
            }
        }
        let row = |known: ResolvedAddress<'_>| {
            let ResolvedAddress { address, name, expires_in } = known;
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
