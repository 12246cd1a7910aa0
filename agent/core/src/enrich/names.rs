//! What both ends of a flow are called, by all that is known now.

mod changes;
mod legs;
mod remote;
mod statistics;
mod zones;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use netcause_common::flow::LOCAL_IS_NAMESPACE;

use super::Workload;
use super::cgroup::Cgroups;
use super::cgroup::path::Place;
use super::conntrack::{self, Conntrack, ServiceAddress, ServiceQuery};
use super::directory::{self, Directory};
use super::extra::Extra;
use super::name::Name;
use super::objects::{Seconds, Update};
use super::outside::Outside;
use super::policy::{DnsNames, Label, Labels};
use super::resolved::ResolvedNames;
use super::sidecar::Sidecars;
use super::uid::PodUid;
use crate::ingest::dns;
pub use changes::Changes;
pub use remote::Remote;
pub use statistics::{Statistics, Tracking};
use zones::Zones;

/// Unknown addresses that are remembered until somebody asks for them.
const MAX_UNKNOWN: usize = 1024;

/// What names are made by.
#[derive(Debug)]
pub struct Options {
    /// Networks whose addresses are told apart.
    pub known_networks: Vec<IpNet>,
    /// Whether names out of DNS may be shown.
    pub labels: Arc<Labels>,
    /// Names that outside addresses are shown by.
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

/// What is known, and by whom.
pub struct Names {
    cgroups: Cgroups,
    directory: Directory,
    conntrack: Conntrack,
    extra: Arc<Extra>,
    known_networks: Vec<IpNet>,
    labels: Arc<Labels>,
    outside: Outside,
    resolved: ResolvedNames,
    sidecars: Sidecars,
    /// The names of cgroups that are in no pod.
    outside_kubernetes: HashMap<u64, Workload>,
    /// The cgroups of this node's pods that have flows.
    local_pods: HashMap<PodUid, BTreeSet<u64>>,
    /// The ways to each service and port whose backends the connection tracking is asked for.
    asked: HashMap<(Name, u16), Vec<ServiceAddress>>,
    zones: Zones,
    changes: Changes,
    /// Addresses that were asked for and that nobody knows.
    unknown: HashSet<IpAddr>,
    /// The time now: by the clock of the API, and since a fixed moment.
    now: Seconds,
    at: Duration,
}

impl Names {
    /// Without any knowledge as yet.
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
            resolved: ResolvedNames::default(),
            sidecars: Sidecars::new(options.sidecar_ports),
            outside_kubernetes: HashMap::new(),
            local_pods: HashMap::new(),
            asked: HashMap::new(),
            unknown: HashSet::new(),
            zones: Zones::default(),
            changes: Changes::default(),
            now: 0,
            at: Duration::ZERO,
        }
    }

    /// The time that names are asked for at: seconds since 1970, and the time since a fixed moment.
    pub fn set_time(&mut self, now: Seconds, at: Duration) {
        (self.now, self.at) = (now, at);
    }

    /// The time that was set last.
    #[must_use]
    pub fn now(&self) -> Seconds {
        self.now
    }

    /// The local end, from [`netcause_common::flow::FlowKey::local`].
    #[must_use]
    pub fn local(&self, local: u64) -> Workload {
        match local {
            0 => Workload::Other,
            local if local & LOCAL_IS_NAMESPACE != 0 => Workload::Namespace(local & !LOCAL_IS_NAMESPACE),
            id => self.cgroup(id),
        }
    }

    fn cgroup(&self, id: u64) -> Workload {
        if let Some(workload) = self.outside_kubernetes.get(&id) {
            return workload.clone();
        }
        let Some(Place::Pod(pod)) = self.cgroups.place(id) else { return Workload::Cgroup(id) };
        // A cluster in a pod of another: that other one is this node's.
        let outer = || self.directory.pod(&pod.outer?);
        match self.directory.pod(&pod.uid).or_else(outer) {
            Some(pod) => Workload::named(pod.name.clone()),
            None => Workload::Pod(pod.uid),
        }
    }

    /// The pod that a local end is in.
    fn pod(&self, local: u64) -> Option<PodUid> {
        match self.cgroups.place(local)? {
            Place::Pod(pod) => Some(pod.uid),
            _ => None,
        }
    }

    /// A local end is in use: asks for its cgroup unless its place is known ([`Self::ask_cgroups`]).
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

    /// The cgroups whose paths are wanted now; each is to be answered with [`Self::answer_cgroup`].
    pub fn ask_cgroups(&mut self) -> Vec<u64> {
        self.cgroups.due(self.at)
    }

    /// The path of a cgroup below the mount of cgroup v2, empty for the root; `None` when there is no such cgroup.
    pub fn answer_cgroup(&mut self, id: u64, path: Option<&[u8]>) {
        if self.cgroups.answer(id, path, self.at) {
            self.name_place(id);
            self.index_pod(id);
            self.changes.local(id);
        }
    }

    /// Keeps the name of a cgroup that is in no pod.
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

    /// Takes what a source of names tells.
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

    /// Takes what the file says beside objects.
    pub fn set_extra(&mut self, extra: Arc<Extra>) {
        self.cgroups.set_rules(extra.cgroups.clone());
        for id in self.cgroups.known() {
            self.name_place(id);
        }
        self.extra = extra;
        self.changes.everything();
    }

    /// A client was told the addresses of a name.
    pub fn learn(&mut self, local: u64, name: &dns::Name, addresses: &[dns::Resolved]) {
        for address in addresses.iter().map(|resolved| resolved.address.to_canonical()) {
            if self.resolved.name(local, address, self.at) != Some(name) {
                self.changes.remote(address);
            }
        }
        self.resolved.learn(local, name, addresses, self.at);
    }

    /// What this client's name for an address is.
    #[must_use]
    pub fn resolved_from(&self, local: u64, address: IpAddr) -> Option<Label> {
        self.labels.label(self.resolved.name(local, address, self.at)?)
    }

    /// The names that addresses were resolved from.
    #[must_use]
    pub fn resolved(&self) -> &ResolvedNames {
        &self.resolved
    }

    /// What has changed since the last time that this was asked.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// What has changed since [`Self::take_changes`] was asked last.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The addresses in known networks that were asked for since the last time, and that nobody knows; at most
    /// [`MAX_UNKNOWN`].
    pub fn take_unknown(&mut self) -> HashSet<IpAddr> {
        std::mem::take(&mut self.unknown)
    }

    /// What is to be asked of the connection tracking now, if anything; its outcome goes to [`Self::answer_conntrack`].
    pub fn ask_conntrack(&mut self) -> Option<conntrack::Pass> {
        self.conntrack.plan(self.at)
    }

    /// Takes what the connection tracking answered. True when [`Self::tracking`] has changed by it.
    pub fn answer_conntrack(&mut self, outcome: conntrack::Outcome) -> bool {
        let before = self.conntrack.statistics().answered;
        let is_news = self.conntrack.handle(outcome, self.at);
        if self.conntrack.statistics().answered != before {
            for service in self.asked.values().flatten() {
                self.changes.remote(service.address);
            }
        }
        is_news
    }

    /// Whether the connection tracking can be asked.
    #[must_use]
    pub fn tracking(&self) -> &conntrack::Support {
        self.conntrack.support()
    }

    /// Forgets what is over by now, and wants to know still what was asked for.
    pub fn expire(&mut self) {
        self.directory.expire(self.now);
        for service in self.asked.values().flatten() {
            self.conntrack.register_interest(ServiceQuery { service: *service, client: None }, self.at);
        }
    }

    /// Forgets the names of all local and remote ends but these.
    pub fn retain(&mut self, in_use: &HashSet<u64>, remotes: &HashSet<IpAddr>) {
        self.zones.retain(remotes);
        self.asked.retain(|_, ways| {
            ways.retain(|way| remotes.contains(&way.address));
            !ways.is_empty()
        });
        self.cgroups.retain(|id| in_use.contains(&id));
        self.sidecars.retain(|id| in_use.contains(&id));
        self.resolved.retain(|id| in_use.contains(&id));
        self.outside_kubernetes.retain(|id, _| in_use.contains(id));
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
