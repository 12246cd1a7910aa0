//! Stores the Kubernetes objects that give names to addresses: pods, nodes, services and endpoint slices.
//!
//! Sources send [updates](Directory::apply). Lookups find which pod or node held an address at a time, which service an
//! address and port belong to, which workloads are behind a service, and which workload a pod belongs to.
//!
//! A wrong name is worse than none: a lookup with two possible answers returns none. Nothing here reads a clock; times are
//! passed in, and are this node's.
//!
//! Memory: some 130 bytes a pod with one address, 60 more for a second one (`cargo bench -p netcause-core --bench directory`
//! measures it). Everything is bounded by [`Limits`], and what exceeds them is counted in [`Dropped`].

mod address;
mod backends;
mod effects;
mod holdings;
mod id_set;
mod nodes;
mod owners;
mod pods;
mod provenance;
mod services;
mod slices;
mod span;
mod table;
mod update;
mod workloads;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use address::to_bytes;
#[cfg(test)]
pub use holdings::SKEW;
use holdings::{HolderId, Holding, Holdings, Moment};
use nodes::Nodes;
use pods::{PodRecord, moment};
use provenance::Lists;
use services::Services;
use slices::Slices;
pub use span::{During, Mark, Span};
use table::{NONE, Table};
use workloads::{Fingerprints, Workloads};

use super::name::{Interner, Name};
use super::objects::Seconds;
use super::uid::PodUid;

/// Bounds of a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pods, including deleted ones that are kept for `keep_seconds`.
    pub pods: usize,
    /// Services.
    pub services: usize,
    /// Endpoint slices.
    pub slices: usize,
    /// Addresses of endpoints, in all slices.
    pub endpoints: usize,
    /// Nodes that a source lists. Of others, which only pods refer to, there are no more than pods.
    pub nodes: usize,
    /// Holdings of addresses that have ended.
    pub past: usize,
    /// Workloads without pods whose name came from an owner object.
    pub owners: usize,
    /// How long deleted pods and ended holdings are kept, in seconds.
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

/// Numbers of objects in a [`Directory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryStatistics {
    /// Pods that a source lists.
    pub pods: usize,
    /// Deleted pods that are still kept.
    pub gone_pods: usize,
    /// Workloads.
    pub workloads: usize,
    /// Nodes, including those that only pods refer to.
    pub nodes: usize,
    /// Addresses of pods and nodes, including former ones.
    pub addresses: usize,
    /// Holdings of these addresses, including ended ones.
    pub holdings: usize,
    /// Services.
    pub services: usize,
    /// Addresses of services.
    pub service_addresses: usize,
    /// Endpoint slices.
    pub slices: usize,
    /// Addresses of endpoints.
    pub endpoints: usize,
    /// Interned names of workloads and services.
    pub names: usize,
    /// Updates dropped because of [`Limits`].
    pub dropped: Dropped,
}

/// Updates that were dropped because of [`Limits`], since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Updates of pods.
    pub pods: u64,
    /// Updates of services.
    pub services: u64,
    /// Updates of endpoint slices.
    pub slices: u64,
    /// Addresses of endpoints.
    pub endpoints: u64,
    /// Updates of nodes.
    pub nodes: u64,
    /// Holdings that were removed for others of the same address.
    pub holdings: u64,
}

/// Names of addresses, pods and services, as the sources have sent them. See the module's documentation.
#[derive(Debug, Default)]
pub struct Directory {
    limits: Limits,
    names: Interner,
    fingerprints: Fingerprints,
    pods: Table<PodRecord>,
    static_uids: HashMap<PodUid, u32>,
    static_uid_of: HashMap<u32, PodUid>,
    /// Deleted pods in the order of deletion, with its time.
    gone: VecDeque<(Moment, u32)>,
    gone_pods: usize,
    workloads: Workloads,
    nodes: Nodes,
    listed_nodes: usize,
    holdings: Holdings,
    services: Services,
    slices: Slices,
    lists: Lists,
    dropped: Dropped,
    /// The latest time that was passed in.
    now: Moment,
    /// When unused names were removed last.
    names_swept: Moment,
}

/// A pod, as a lookup returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRef<'a> {
    /// Namespace and name of its workload.
    pub name: &'a Name,
    /// `metadata.uid`.
    pub uid: PodUid,
    /// The node it runs on, if that is known.
    pub node: Option<NodeRef<'a>>,
    /// Whether it uses its node's network and addresses.
    pub is_host_network: bool,
    /// Whether it was deleted.
    pub is_gone: bool,
}

/// A node, as a lookup returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRef<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The label `topology.kubernetes.io/zone`, if that is known.
    pub zone: Option<&'a str>,
}

/// The pod or node that holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderRef<'a> {
    /// A pod with an address of its own.
    Pod(PodRef<'a>),
    /// A node, and the pods that use its network.
    Node(NodeRef<'a>),
}

/// The holder of an address at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The pod or node.
    pub entity: HolderRef<'a>,
    /// The earliest time at which it can have got the address; 0 when unknown. A flow that began before is another holder's.
    pub since: Seconds,
}

/// The service and the workload that listen at an address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRef<'a> {
    /// The service; `None` when the endpoint belongs to several.
    pub service: Option<&'a Name>,
    /// The workload; `None` when it is unknown or there are several.
    pub pod: Option<&'a Name>,
}

impl Directory {
    /// An empty directory with these bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The pod with this uid. A static pod is found by both its uids: the API's and its kubelet's.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<PodRef<'_>> {
        let id = self.pods.find(uid).or_else(|| self.static_uids.get(uid).copied())?;
        self.pod_ref(self.pods.get(id)?)
    }

    /// The addresses that a pod holds now; none when it uses its node's.
    pub fn addresses(&self, uid: &PodUid) -> impl Iterator<Item = IpAddr> {
        let id = self.pods.find(uid).or_else(|| self.static_uids.get(uid).copied());
        let first = id.and_then(|id| self.pods.get(id)).map_or(NONE, |pod| pod.holdings);
        let held = self.holdings.of(first).filter(|(_, holding)| holding.is_open());
        held.map(|(_, holding)| address::to_ip(&holding.address))
    }

    /// The holder of an address at this time; `None` when unknown or ambiguous.
    #[must_use]
    pub fn holder(&self, address: IpAddr, at: Seconds) -> Option<Holder<'_>> {
        self.as_holder(self.holdings.at(&to_bytes(address), moment(at), self.now)?)
    }

    fn as_holder(&self, holding: &Holding) -> Option<Holder<'_>> {
        let entity = match holding.holder() {
            HolderId::Pod(id) => HolderRef::Pod(self.pod_ref(self.pods.get(id)?)?),
            HolderId::Node(id) => HolderRef::Node(self.node_ref(id)?),
        };
        Some(Holder { entity, since: holding.possible_from.into() })
    }

    /// The holder of an address between two observations.
    #[must_use]
    pub fn holder_during(&self, address: IpAddr, span: &Span) -> During<Holder<'_>> {
        match self.holdings.during(&to_bytes(address), span, self.now) {
            During::One(holding) => self.as_holder(holding).map_or(During::None, During::One),
            During::None => During::None,
            During::Several => During::Several,
        }
    }

    /// True when an address has or had another holder than the one that has it.
    #[must_use]
    pub fn is_contested(&self, address: IpAddr) -> bool {
        self.holdings.is_contested(&to_bytes(address))
    }

    /// The holder of an address that had no other one and, as far as is observed, has not ended. It held the address whenever
    /// something was sent.
    #[must_use]
    pub fn only_holder(&self, address: IpAddr) -> Option<Holder<'_>> {
        self.as_holder(self.holdings.only(&to_bytes(address))?)
    }

    /// Something else than an update is reported, so that it has its place in the order.
    pub fn report(&mut self) {
        self.holdings.report();
    }

    /// What is observed now. Whatever is applied from here on came after it.
    pub fn observe(&mut self, at: Seconds) -> Mark {
        Mark { order: self.holdings.observe(), at: moment(at) }
    }

    /// What is observed now.
    #[must_use]
    pub fn mark(&self, at: Seconds) -> Mark {
        Mark { order: self.holdings.order(), at: moment(at) }
    }

    /// The service at this address, port and IANA protocol number: at one of its own addresses, or at a node's address and its
    /// node port. `None` when unknown or ambiguous.
    #[must_use]
    pub fn service(&self, address: IpAddr, port: u16, protocol: u8) -> Option<&Name> {
        let bytes = to_bytes(address);
        self.services.at(&bytes, port, protocol).or_else(|| {
            let service = self.services.at_node_port(port, protocol)?;
            let holding = self.holdings.at(&bytes, self.now, self.now)?;
            matches!(holding.holder(), HolderId::Node(_)).then_some(service)
        })
    }

    /// The service with this address, on any port. `None` when unknown or ambiguous.
    #[must_use]
    pub fn service_any_port(&self, address: IpAddr) -> Option<&Name> {
        self.services.on(&to_bytes(address))
    }

    /// The endpoint at this address, port and IANA protocol number, if a service has it.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr, port: u16, protocol: u8) -> Option<EndpointRef<'_>> {
        let bytes = to_bytes(address);
        let mut found = self.slices.at(&bytes, port, protocol);
        let (service, endpoint) = found.next()?;
        let first = EndpointRef { service: Some(service), pod: self.behind(endpoint) };
        Some(found.fold(first, |known, (service, endpoint)| EndpointRef {
            service: known.service.filter(|known| *known == service),
            pod: known.pod.filter(|known| self.behind(endpoint) == Some(known)),
        }))
    }

    /// The numbers of objects, and of dropped updates.
    #[must_use]
    pub fn statistics(&self) -> DirectoryStatistics {
        let (addresses, holdings) = self.holdings.len();
        let (services, service_addresses) = self.services.len();
        let (slices, endpoints) = self.slices.len();
        DirectoryStatistics {
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
            names: self.names.count(),
            dropped: self.dropped,
        }
    }

    fn pod_ref(&self, pod: &PodRecord) -> Option<PodRef<'_>> {
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
