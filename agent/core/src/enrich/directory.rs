//! Who is who: which pod or node held an address at a time, which service an address and a port belong to, what is behind a
//! service, and which workload a pod is of. It is told by sources of names and asked by address, by uid or by service.
//!
//! Wrong names are worse than none: where two answers are possible there is none. Nothing here reads a clock: times are passed
//! in, and are those of this machine.
//!
//! Memory: some 130 octets a pod with one address, 60 more for a second one (`cargo bench -p netcause --bench directory`
//! measures it); everything is bounded by [`Limits`], and what was beyond is counted.

mod address;
mod effects;
mod few;
mod holdings;
mod nodes;
mod owners;
mod pods;
mod services;
mod slices;
mod table;
mod told;
mod update;
mod workloads;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use address::octets;
#[cfg(test)]
pub use holdings::SKEW;
use holdings::{HolderId, Holdings, Moment};
use nodes::Nodes;
use pods::{Record, moment};
use services::Services;
use slices::Slices;
use table::{NONE, Table};
use told::Lists;
use workloads::{Fingerprints, Workloads};

use super::name::{Interner, Name};
use super::objects::Seconds;
use super::uid::PodUid;

/// How many of what are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pods, those included that are gone and kept for a while.
    pub pods: usize,
    /// Services.
    pub services: usize,
    /// Endpoint slices.
    pub slices: usize,
    /// Addresses of endpoints.
    pub endpoints: usize,
    /// Nodes that are told. Nodes that pods are on are as many as pods at most.
    pub nodes: usize,
    /// Holdings of addresses that are over.
    pub past: usize,
    /// Owners of owners that are known before a pod of theirs, or after the last one.
    pub owners: usize,
    /// For so long is known who a pod was that is gone, and who held an address before.
    pub keep_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pods: 200_000,
            services: 50_000,
            slices: 100_000,
            endpoints: 400_000,
            nodes: 20_000,
            past: 50_000,
            owners: 10_000,
            keep_seconds: 300,
        }
    }
}

impl Limits {
    fn keep(&self) -> Moment {
        self.keep_seconds
    }
}

/// What is kept, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Pods that some source tells of.
    pub pods: usize,
    /// Pods that are gone and still known.
    pub gone_pods: usize,
    /// Workloads.
    pub workloads: usize,
    /// Nodes.
    pub nodes: usize,
    /// Addresses of pods and nodes.
    pub addresses: usize,
    /// Who has or had which: at least as many.
    pub holdings: usize,
    /// Services.
    pub services: usize,
    /// Addresses of services.
    pub service_addresses: usize,
    /// Endpoint slices.
    pub slices: usize,
    /// Addresses of endpoints.
    pub endpoints: usize,
    /// Names of workloads and services.
    pub names: usize,
    /// What found no room.
    pub dropped: Dropped,
}

/// Updates whose objects found no room, since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Of pods.
    pub pods: u64,
    /// Of services.
    pub services: u64,
    /// Of endpoint slices.
    pub slices: u64,
    /// Addresses of endpoints.
    pub endpoints: u64,
    /// Of nodes.
    pub nodes: u64,
    /// Holdings that were forgotten for others of the same address.
    pub holdings: u64,
}

/// Who is who.
#[derive(Debug, Default)]
pub struct Directory {
    limits: Limits,
    names: Interner,
    fingerprints: Fingerprints,
    pods: Table<Record>,
    static_uids: HashMap<PodUid, u32>,
    static_uid_of: HashMap<u32, PodUid>,
    /// Pods that are gone, by the time when it was told.
    gone: VecDeque<(Moment, u32)>,
    gone_pods: usize,
    workloads: Workloads,
    nodes: Nodes,
    nodes_told: usize,
    holdings: Holdings,
    services: Services,
    slices: Slices,
    lists: Lists,
    dropped: Dropped,
    /// The latest time that was passed in.
    now: Moment,
    /// When names that nobody holds were looked for.
    names_forgotten: Moment,
}

/// A pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRef<'a> {
    /// Its workload.
    pub name: &'a Name,
    /// Its uid.
    pub uid: PodUid,
    /// Where it runs, if that is known.
    pub node: Option<NodeRef<'a>>,
    /// Whether it shares its node's addresses.
    pub is_host_network: bool,
    /// Whether it is no more.
    pub is_gone: bool,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its zone, if that is known.
    pub zone: Option<&'a str>,
}

/// Who holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// A pod.
    Pod(PodRef<'a>),
    /// A node, and the pods of its network.
    Node(NodeRef<'a>),
}

/// Who holds an address, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Who.
    pub who: Who<'a>,
    /// It did not hold it before: what began earlier was another's. 0: not known.
    pub since: Seconds,
}

/// What listens at an address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRef<'a> {
    /// The service, if it is one.
    pub service: Option<&'a Name>,
    /// The workload, if it is one.
    pub pod: Option<&'a Name>,
}

impl Directory {
    /// One that knows nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The pod with this uid, also if it is a static pod's that the API has under another one.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<PodRef<'_>> {
        let id = self.pods.find(uid).or_else(|| self.static_uids.get(uid).copied())?;
        self.pod_ref(self.pods.get(id)?)
    }

    /// The addresses that a pod holds now; none on the host network, where they are its node's.
    pub fn addresses(&self, uid: &PodUid) -> impl Iterator<Item = IpAddr> {
        let id = self.pods.find(uid).or_else(|| self.static_uids.get(uid).copied());
        let first = id.and_then(|id| self.pods.get(id)).map_or(NONE, |pod| pod.holdings);
        let held = self.holdings.of(first).filter(|(_, holding)| holding.is_open());
        held.map(|(_, holding)| address::address(&holding.address))
    }

    /// Who held an address at a time.
    #[must_use]
    pub fn holder(&self, address: IpAddr, at: Seconds) -> Option<Holder<'_>> {
        let holding = self.holdings.at(&octets(address), moment(at), self.now)?;
        let who = match holding.holder {
            HolderId::Pod(id) => Who::Pod(self.pod_ref(self.pods.get(id)?)?),
            HolderId::Node(id) => Who::Node(self.node_ref(id)?),
        };
        Some(Holder { who, since: holding.since.into() })
    }

    /// The service that is reached at an address and port: at its own address, or at a node's. None, if it might be one of two.
    #[must_use]
    pub fn service(&self, address: IpAddr, port: u16, protocol: u8) -> Option<&Name> {
        let octets = octets(address);
        self.services.at(&octets, port, protocol).or_else(|| {
            let service = self.services.at_node_port(port, protocol)?;
            let holding = self.holdings.at(&octets, self.now, self.now)?;
            matches!(holding.holder, HolderId::Node(_)).then_some(service)
        })
    }

    /// The service whose address it is, whatever the port is. None, if it might be one of two.
    #[must_use]
    pub fn service_any_port(&self, address: IpAddr) -> Option<&Name> {
        self.services.on(&octets(address))
    }

    /// What listens at an address and port, if any service has it as its endpoint.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr, port: u16, protocol: u8) -> Option<EndpointRef<'_>> {
        let octets = octets(address);
        let mut found = self.slices.at(&octets, port, protocol);
        let (service, endpoint) = found.next()?;
        let first = EndpointRef { service: Some(service), pod: self.behind(endpoint) };
        Some(found.fold(first, |known, (service, endpoint)| EndpointRef {
            service: known.service.filter(|known| *known == service),
            pod: known.pod.filter(|known| self.behind(endpoint) == Some(known)),
        }))
    }

    /// The different workloads behind a service, in order; none if none is known. Allocates.
    #[must_use]
    pub fn backends(&self, service: &Name) -> Vec<&Name> {
        let mut names: Vec<_> =
            self.slices.behind(service).filter_map(|endpoint| self.behind(endpoint)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The workload behind a service, if all of its endpoints are known to be of one.
    #[must_use]
    pub fn only_backend(&self, service: &Name) -> Option<&Name> {
        let mut names = self.slices.behind(service).map(|endpoint| self.behind(endpoint));
        let first = names.next()??;
        names.all(|name| name == Some(first)).then_some(first)
    }

    /// What is kept, and what was not.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (addresses, holdings) = self.holdings.len();
        let (services, service_addresses) = self.services.len();
        let (slices, endpoints) = self.slices.len();
        Statistics {
            pods: self.pods.len() - self.gone_pods,
            gone_pods: self.gone_pods,
            workloads: self.workloads.len(),
            nodes: self.nodes.len(),
            addresses,
            holdings,
            services,
            service_addresses,
            slices,
            endpoints,
            names: self.names.len(),
            dropped: self.dropped,
        }
    }

    /// The workload of an endpoint: of its pod, or of the pod that has its address.
    fn behind(&self, endpoint: &slices::Endpoint) -> Option<&Name> {
        let id = match &endpoint.pod {
            Some(uid) => self.pods.find(uid)?,
            None => match self.holdings.at(&endpoint.address, self.now, self.now)?.holder {
                HolderId::Pod(id) => id,
                HolderId::Node(_) => return None,
            },
        };
        Some(&self.workloads.get(self.pods.get(id)?.workload)?.name)
    }

    fn pod_ref(&self, pod: &Record) -> Option<PodRef<'_>> {
        let name = &self.workloads.get(pod.workload)?.name;
        let (node, is_host_network) = (self.node_ref(pod.node), pod.is_host_network);
        Some(PodRef { name, uid: pod.uid, node, is_host_network, is_gone: pod.gone != 0 })
    }

    fn node_ref(&self, id: u32) -> Option<NodeRef<'_>> {
        let node = self.nodes.get(id)?;
        Some(NodeRef { name: &node.name, zone: node.zone.as_deref() })
    }
}

#[cfg(test)]
mod tests;
