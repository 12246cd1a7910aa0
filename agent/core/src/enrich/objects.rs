//! What a source of names tells: objects of Kubernetes, cut down to what names need. A static file tells the same.

use std::net::IpAddr;

/// Where an update comes from. What one source has listed is not taken away by another's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The Kubernetes API.
    Api,
    /// The kubelet of this node.
    Kubelet,
    /// A static file.
    File,
}

/// A kind of object.
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

/// Something that a source tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Who tells it.
    pub source: Source,
    /// What.
    pub change: Change,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A whole list begins: what is not told before [`Change::ListEnds`] is gone then, as far as this source had told it.
    ListBegins(Kind),
    /// Every object of the list was told.
    ListEnds(Kind),
    /// A pod is new or has changed.
    Pod(Box<Pod>),
    /// A service is new or has changed.
    Service(Box<Service>),
    /// An endpoint slice is new or has changed.
    EndpointSlice(Box<EndpointSlice>),
    /// A node is new or has changed.
    Node(Box<Node>),
    /// An object is no more. Of a pod the name is its uid, of a node its name, of others `namespace/name`.
    Gone(Kind, Box<str>),
    /// The owner of pods has an owner itself: a Job's CronJob, a ReplicaSet's Deployment.
    Owner {
        /// Where both are.
        namespace: Box<str>,
        /// What owns the pods.
        of: Owner,
        /// What owns that, and is owned by nobody.
        is: Owner,
    },
}

/// A time of the API: seconds since 1970.
pub type Seconds = u64;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// What stands for the uid in the cgroup's path of a static pod: the annotation `kubernetes.io/config.hash`.
    pub static_uid: Option<Box<str>>,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// The controller among `metadata.ownerReferences`, or the only owner.
    pub owner: Option<Owner>,
    /// The label `pod-template-hash` (or `rollouts-pod-template-hash`): its ReplicaSet is called after its Deployment
    /// and this.
    pub template_hash: Option<Box<str>>,
    /// `spec.nodeName`.
    pub node: Option<Box<str>>,
    /// `spec.hostNetwork`: its addresses are its node's.
    pub is_host_network: bool,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// When it was made (`metadata.creationTimestamp`).
    pub since: Option<Seconds>,
    /// Since when it holds its addresses no more, as far as the source knows: it has ended (`status.phase` Succeeded or
    /// Failed, with the end of its last container). A pod that is being deleted holds them until it is gone.
    pub until: Option<Seconds>,
    /// Like `until`, where the source tells that it has ended and not when.
    pub has_ended: bool,
}

/// Who owns an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// `ReplicaSet`, `Job`, `Rollout`, …
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its API group and version: `apps/v1`.
    pub api_version: Box<str>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.clusterIPs`, `spec.externalIPs` and the addresses of its load balancer; none of a headless service.
    pub addresses: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
}

/// A port of a service or of an endpoint slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// IANA protocol number.
    pub protocol: u8,
    /// The port where it is asked for.
    pub port: u16,
    /// `nodePort`, if any.
    pub node_port: Option<u16>,
}

/// A part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointSlice {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// The service: the label `kubernetes.io/service-name`.
    pub service: Box<str>,
    /// The ports of all of its endpoints.
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
    /// `status.addresses` that are addresses.
    pub addresses: Vec<IpAddr>,
    /// The label `topology.kubernetes.io/zone`.
    pub zone: Option<Box<str>>,
}
