//! Names both ends of a flow from everything that is known now.

mod changes;
mod handover;
mod holders;
mod legs;
mod namespaces;
mod peer_nodes;
mod peers;
mod remote;
mod statistics;
mod zones;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use netcause_common::flow::LOCAL_IS_NAMESPACE;

use super::Workload;
use super::cgroup::Cgroups;
use super::cgroup::path::Place;
use super::conntrack::{self, Conntrack, ServiceAddress, ServiceQuery};
use super::directory::{self, Directory, Mark};
use super::extra::Extra;
use super::name::Name;
use super::objects::{Seconds, Update};
use super::outside::Outside;
use super::peers::Peers;
use super::policy::{DnsNames, Label, Labels};
use super::resolved::ResolvedNames;
use super::sidecar::Sidecars;
use super::uid::PodUid;
use crate::ingest::dns;
pub use changes::Changes;
pub use peer_nodes::PeerNode;
pub use remote::Remote;
pub use statistics::{Statistics, Tracking};
use zones::Zones;

/// Limit on unknown addresses kept until [`Names::take_unknown`].
const MAX_UNKNOWN: usize = 1024;

/// Settings of [`Names`].
#[derive(Debug)]
pub struct Options {
    /// Networks whose addresses are distinguished.
    pub known_networks: Vec<IpNet>,
    /// The policy for showing names from DNS.
    pub labels: Arc<Labels>,
    /// Limit on DNS names shown for external addresses.
    pub max_outside_names: usize,
    /// Ports that sidecars listen on.
    pub sidecar_ports: Vec<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            known_networks: Vec::new(),
            labels: Arc::new(Labels::new(DnsNames::Off)),
            max_outside_names: 0,
            sidecar_ports: Vec::new(),
        }
    }
}

/// The state of all sources of names, and the queries to them.
pub struct Names {
    cgroups: Cgroups,
    directory: Directory,
    conntrack: Conntrack,
    extra: Arc<Extra>,
    known_networks: Vec<IpNet>,
    labels: Arc<Labels>,
    outside: Outside,
    peers: Peers,
    resolved: ResolvedNames,
    sidecars: Sidecars,
    /// Names of cgroups outside pods.
    outside_kubernetes: HashMap<u64, Workload>,
    /// The cgroups of this node's pods that have flows.
    local_pods: HashMap<PodUid, BTreeSet<u64>>,
    /// Addresses of each service and port whose backends are looked up in conntrack.
    queried: HashMap<(Name, u16), Vec<ServiceAddress>>,
    listening: namespaces::Listeners,
    /// Who serves at listeners that others have made.
    holders: holders::Holders,
    zones: Zones,
    changes: Changes,
    /// Addresses of flows that no source has a name for.
    unknown: HashSet<IpAddr>,
    /// The current time: wall clock (for timestamps of the API), and monotonic.
    now: Seconds,
    at: Duration,
}

impl Names {
    /// Empty: every end is shown by its id or address.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            cgroups: Cgroups::default(),
            directory: Directory::new(directory::Limits::default()),
            conntrack: Conntrack::default(),
            extra: Arc::default(),
            known_networks: options.known_networks,
            labels: options.labels,
            outside: Outside::new(options.max_outside_names),
            peers: Peers::default(),
            resolved: ResolvedNames::default(),
            sidecars: Sidecars::new(options.sidecar_ports),
            outside_kubernetes: HashMap::new(),
            local_pods: HashMap::new(),
            queried: HashMap::new(),
            unknown: HashSet::new(),
            listening: namespaces::Listeners::new(),
            holders: holders::Holders::new(),
            zones: Zones::default(),
            changes: Changes::default(),
            now: 0,
            at: Duration::ZERO,
        }
    }

    /// Sets the time at which names are resolved: seconds since 1970, and a monotonic time.
    pub fn set_time(&mut self, now: Seconds, at: Duration) {
        (self.now, self.at) = (now, at);
    }

    /// Something was observed, at this monotonic time or at the one set last: whatever sources report from here on came after
    /// it.
    pub fn observed(&mut self, at: Option<Duration>) -> Mark {
        let age = at.map_or(Duration::ZERO, |at| self.at.saturating_sub(at));
        self.directory.observe(self.now.saturating_sub(age.as_secs()))
    }

    /// What is observed now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.directory.mark(self.now)
    }

    /// The wall-clock time set last.
    #[must_use]
    pub fn now(&self) -> Seconds {
        self.now
    }

    /// The name of a local end ([`netcause_common::flow::FlowKey::local`]).
    #[must_use]
    pub fn local(&self, local: u64) -> Workload {
        match local {
            0 => Workload::Other,
            local if local & LOCAL_IS_NAMESPACE != 0 => self.namespace(local & !LOCAL_IS_NAMESPACE),
            id => self.cgroup(id),
        }
    }

    fn cgroup(&self, id: u64) -> Workload {
        if let Some(workload) = self.outside_kubernetes.get(&id) {
            return workload.clone();
        }
        let Some(Place::Pod(pod)) = self.cgroups.place(id) else { return Workload::Cgroup(id) };
        // In a nested cluster, only the outer pod may be in this node's API.
        let outer = || self.directory.pod(&pod.outer?);
        match self.directory.pod(&pod.uid).or_else(outer) {
            Some(pod) => Workload::named(pod.name.clone()),
            None => Workload::Pod(pod.uid),
        }
    }

    /// The pod of a local end.
    fn pod(&self, local: u64) -> Option<PodUid> {
        match self.cgroups.place(local)? {
            Place::Pod(pod) => Some(pod.uid),
            _ => None,
        }
    }

    /// The pods of a workload on this node that have flows, as far as a source of names has them.
    pub fn pods_of(&self, workload: &Workload) -> impl Iterator<Item = PodUid> {
        let pods = self.local_pods.keys().filter_map(|uid| self.directory.pod(uid));
        pods.filter(move |pod| !pod.is_gone && Workload::named(pod.name.clone()) == *workload)
            .map(|pod| pod.uid)
    }

    /// Records that a local end has flows, and requests a lookup of its cgroup unless it is known ([`Self::ask_cgroups`]).
    pub fn observe_local(&mut self, local: u64) {
        if local == 0 || local & LOCAL_IS_NAMESPACE != 0 {
            return;
        }
        self.cgroups.request(local, self.at);
        self.index_pod(local);
    }

    fn index_pod(&mut self, local: u64) {
        if let Some(Place::Pod(pod)) = self.cgroups.place(local) {
            for uid in [Some(pod.uid), pod.outer].into_iter().flatten() {
                self.local_pods.entry(uid).or_default().insert(local);
            }
        }
    }

    /// Ids of cgroups whose paths must be looked up now; answer each with [`Self::answer_cgroup`].
    pub fn ask_cgroups(&mut self) -> Vec<u64> {
        self.cgroups.due(self.at)
    }

    /// Takes the path of a cgroup below the cgroup v2 mount, empty for the root; `None` if there is no such cgroup.
    pub fn answer_cgroup(&mut self, id: u64, path: Option<&[u8]>) {
        if self.cgroups.answer(id, path, self.at) {
            self.name_place(id);
            self.index_pod(id);
            self.changes.local(id);
            self.name_namespaces_of(id);
            self.place_holder(id);
        }
    }

    /// Caches the name of a cgroup outside pods.
    fn name_place(&mut self, id: u64) {
        let workload = match self.cgroups.place(id) {
            None | Some(Place::Pod(_)) => return,
            Some(Place::Configured(name)) => {
                let namespace = name.namespace.as_deref().unwrap_or_default();
                Workload::named(Name::new(namespace, &name.workload))
            }
            Some(place) => Workload::plain(&place.name()),
        };
        self.outside_kubernetes.insert(id, workload);
    }

    /// Applies an update of a source of names.
    pub fn apply(&mut self, update: &Update) {
        let effects = self.directory.apply(update, self.now);
        for address in effects.addresses {
            self.changes.remote(address);
        }
        if effects.are_many {
            self.changes.everything();
        }
        for renamed in effects.pods {
            let is_renamed = |uid: &PodUid| {
                *uid == renamed || self.directory.pod(uid).is_some_and(|pod| pod.uid == renamed)
            };
            for (_, locals) in self.local_pods.iter().filter(|(uid, _)| is_renamed(uid)) {
                locals.iter().for_each(|local| self.changes.local(*local));
            }
        }
    }

    /// Replaces the networks and cgroup rules of the names file.
    pub fn set_extra(&mut self, extra: Arc<Extra>) {
        self.cgroups.set_rules(extra.cgroups.clone());
        for id in self.cgroups.known() {
            self.name_place(id);
        }
        self.extra = extra;
        self.changes.everything();
    }

    /// Records the addresses in a DNS answer to a local client.
    pub fn learn(&mut self, local: u64, name: &dns::Name, addresses: &[dns::Resolved]) {
        for address in addresses.iter().map(|resolved| resolved.address.to_canonical()) {
            if self.resolved.name(local, address, self.at) != Some(name) {
                self.changes.remote(address);
            }
        }
        self.resolved.learn(local, name, addresses, self.at);
    }

    /// The DNS name that this client resolved to an address, as the policy shows it.
    #[must_use]
    pub fn resolved_from(&self, local: u64, address: IpAddr) -> Option<Label> {
        // A sidecar connects to what the workload beside it has resolved.
        let mut clients = iter::once(local).chain(self.sidecars.beside(local));
        self.labels.label(clients.find_map(|client| self.resolved.name(client, address, self.at))?)
    }

    /// The cache of DNS names by client and address.
    #[must_use]
    pub fn resolved(&self) -> &ResolvedNames {
        &self.resolved
    }

    /// Returns the changes since the last call, and clears them.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// The changes since [`Self::take_changes`] was last called.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Returns the addresses in known networks observed since the last call that no source has a name for; at most
    /// [`MAX_UNKNOWN`].
    pub fn take_unknown(&mut self) -> HashSet<IpAddr> {
        std::mem::take(&mut self.unknown)
    }

    /// The conntrack lookups that are due, if any; their outcome goes to [`Self::answer_conntrack`].
    pub fn ask_conntrack(&mut self) -> Option<conntrack::Pass> {
        self.conntrack.plan(self.at)
    }

    /// Takes the outcome of conntrack lookups. True if it changed [`Self::tracking`].
    pub fn answer_conntrack(&mut self, outcome: conntrack::Outcome) -> bool {
        let before = self.conntrack.statistics().answered;
        let is_news = self.conntrack.handle(outcome, self.at);
        if self.conntrack.statistics().answered != before {
            for service in self.queried.values().flatten() {
                self.changes.remote(service.address);
            }
        }
        is_news
    }

    /// Whether conntrack lookups work.
    #[must_use]
    pub fn tracking(&self) -> &conntrack::Support {
        self.conntrack.support()
    }

    /// Removes expired objects, and renews the interest in services that are looked up in conntrack.
    pub fn expire(&mut self) {
        self.directory.expire(self.now);
        for service in self.queried.values().flatten() {
            self.conntrack.register_interest(ServiceQuery { service: *service, client: None }, self.at);
        }
    }

    /// Drops the state of all local and remote ends except these.
    pub fn retain(&mut self, in_use: &HashSet<u64>, remotes: &HashSet<IpAddr>) {
        self.zones.retain(remotes);
        self.queried.retain(|_, addresses| {
            addresses.retain(|service| remotes.contains(&service.address));
            !addresses.is_empty()
        });
        self.retain_holders(|id| in_use.contains(&id));
        let holding: HashSet<u64> = self.cgroups.known().into_iter().filter(|id| self.holds(*id)).collect();
        self.cgroups.retain(|id| in_use.contains(&id) || holding.contains(&id));
        self.sidecars.retain(|id| in_use.contains(&id), |address| remotes.contains(&address));
        self.resolved.retain(|id| in_use.contains(&id));
        self.peers.retain(in_use, remotes);
        // With its place: a place that is kept is not looked up again.
        self.outside_kubernetes.retain(|id, _| self.cgroups.place(*id).is_some());
        self.local_pods.retain(|_, locals| {
            locals.retain(|id| in_use.contains(id));
            !locals.is_empty()
        });
        self.outside.forget();
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
