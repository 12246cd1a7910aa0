//! Kubernetes objects as sources of names send them, reduced to the fields that names need. A names file sends the same.

use std::net::IpAddr;

/// Where an update comes from. A source's list removes only objects that no other source lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The Kubernetes API.
    Api,
    /// The kubelet of this node.
    Kubelet,
    /// A static file.
    File,
}

/// The kinds of objects that sources list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pods.
    Pod,
    /// Services.
    Service,
    /// Endpoint slices.
    EndpointSlice,
    /// Nodes.
    Node,
}

/// A change that a source reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The source that reports it.
    pub source: Source,
    /// The change.
    pub change: Change,
}

/// A change of the objects that a source lists, in the words of kube's `watcher::Event`.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A complete list of this kind begins. At [`Change::InitDone`] this source's objects that were not applied in between are
    /// deleted.
    Init(Kind),
    /// The list of this kind is complete.
    InitDone(Kind),
    /// A pod was added or modified.
    ApplyPod(Box<Pod>),
    /// A service was added or modified.
    ApplyService(Box<Service>),
    /// An endpoint slice was added or modified.
    ApplyEndpointSlice(Box<EndpointSlice>),
    /// A node was added or modified.
    ApplyNode(Box<Node>),
    /// An object was deleted. It is named by its uid (a pod), its name (a node) or `namespace/name` (others).
    Delete(Kind, Box<str>),
    /// The owner of pods has an owner itself: a Job's CronJob, a ReplicaSet's Deployment.
    Owner {
        /// The namespace of both.
        namespace: Box<str>,
        /// The owner of the pods.
        of: Owner,
        /// The top-level owner: the owner of `of`, which has none itself.
        is: Owner,
    },
}

/// A timestamp of the Kubernetes API: seconds since 1970.
pub type Seconds = u64;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// The uid of a static pod at its kubelet and in its cgroup's path: the annotation `kubernetes.io/config.hash`.
    pub static_uid: Option<Box<str>>,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// The controller among `metadata.ownerReferences`, or the only owner.
    pub owner: Option<Owner>,
    /// The label `pod-template-hash` (or `rollouts-pod-template-hash`), which ends the name of its ReplicaSet.
    pub template_hash: Option<Box<str>>,
    /// `spec.nodeName`.
    pub node: Option<Box<str>>,
    /// `spec.hostNetwork`: it uses its node's addresses.
    pub is_host_network: bool,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// `metadata.creationTimestamp`.
    pub since: Option<Seconds>,
    /// When it freed its addresses: the end of its last container, if `status.phase` is Succeeded or Failed. A pod that is
    /// being deleted keeps its addresses until then.
    pub until: Option<Seconds>,
    /// Whether it has ended at an unknown time; then `until` is `None`.
    pub has_ended: bool,
}

/// An owner reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// `ReplicaSet`, `Job`, `Rollout`, …
    pub kind: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's API group and version, such as `apps/v1`.
    pub api_version: Box<str>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.clusterIPs`, `spec.externalIPs` and the load balancer's addresses; empty for a headless service.
    pub addresses: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
}

/// A port of a service or of an endpoint slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// IANA protocol number.
    pub protocol: u8,
    /// The port, at the service's address or at the endpoint's.
    pub port: u16,
    /// `nodePort`, if any.
    pub node_port: Option<u16>,
}

/// An endpoint slice: some of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSlice {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// The service's name: the label `kubernetes.io/service-name`.
    pub service: Box<str>,
    /// The ports of each of its endpoints.
    pub ports: Vec<ServicePort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// `addresses`.
    pub addresses: Vec<IpAddr>,
    /// The uid of the pod in `targetRef`, if it is one.
    pub pod: Option<Box<str>>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `status.addresses` that are IP addresses, not names.
    pub addresses: Vec<IpAddr>,
    /// The label `topology.kubernetes.io/zone`.
    pub zone: Option<Box<str>>,
}
