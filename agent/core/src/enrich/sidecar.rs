//! Recognises sidecars, proxies in the same pod as a workload (Envoy in a service mesh), and the legs of connections through
//! them.
//!
//! A workload's traffic goes to its sidecar first, over loopback or because packet filters redirect it there, and from the
//! sidecar to the other workload. The leg between the pods is the edge between the workloads, marked as through a sidecar. The
//! leg between a workload and its own sidecar is counted apart, so that no byte counts twice and a fault can be traced to one
//! leg.
//!
//! A sidecar is recognised by the ports it listens on: in Istio 15001 for outbound traffic and 15006 for inbound traffic.

use std::collections::{HashMap, HashSet};

use super::Workload;
use super::name::Name;
use super::uid::PodUid;
use crate::ingest::Role;

/// The port that Istio redirects outbound connections to. Any other port of a sidecar takes inbound ones.
const OUTBOUND: u16 = 15001;
/// The most sidecars that are recognised; further ones are treated as workloads.
const MAX_PODS: usize = 1024;
/// The most destinations, services and ports that are remembered of one sidecar.
const MAX_DESTINATIONS: usize = 1024;

/// Whether an edge passes a sidecar, and which leg of the connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// Between two workloads without a sidecar on this node.
    Direct,
    /// Between the sidecar of the local workload and the other workload.
    Sidecar,
    /// Between a workload and its own sidecar.
    OwnSidecar(Direction),
}

/// The direction of a connection that a sidecar forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Out of the pod: the workload is its client.
    Outbound,
    /// Into the pod: the workload is its server.
    Inbound,
}

/// The properties of a flow by which its leg is recognised.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// The local end: [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// The pod of the local end, if it is in one.
    pub pod: Option<PodUid>,
    /// Whether the local end is client or server.
    pub role: Role,
    /// The server's port.
    pub port: u16,
    /// Whether the remote end is in the same pod: a loopback address, or the pod's own.
    pub is_own: bool,
    /// The workload at the remote end.
    pub remote: &'a Workload,
    /// The service that the connection was made to, if any.
    pub service: Option<&'a Name>,
}

/// The sidecars of this node.
#[derive(Debug, Default)]
pub struct Sidecars {
    ports: Vec<u16>,
    /// The sidecars' cgroups, each with its pod.
    pods: HashMap<u64, Option<PodUid>>,
    by_pod: HashMap<PodUid, Sidecar>,
}

/// The sidecar of one pod.
#[derive(Debug, Default)]
struct Sidecar {
    /// Workloads that it has connected to.
    destinations: HashSet<Workload>,
    /// Services that it has connected to.
    services: HashSet<Name>,
    /// Ports in its own pod that it has connected to.
    inbound_ports: HashSet<u16>,
    /// The other cgroups of its pod that have flows.
    beside: HashSet<u64>,
}

impl Sidecars {
    /// Recognises sidecars by these ports.
    #[must_use]
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, ..Self::default() }
    }

    /// Whether this is a port of sidecars.
    #[must_use]
    pub fn is_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Learns that this cgroup listens on a port of sidecars, or has accepted a connection there. Returns whether it is new.
    pub fn learn(&mut self, local: u64, pod: Option<PodUid>) -> bool {
        match self.pods.get(&local) {
            // Its pod was not known before.
            Some(known) if *known != pod && pod.is_some() => {}
            None if self.pods.len() < MAX_PODS => {}
            _ => return false,
        }
        self.pods.insert(local, pod);
        if let Some(pod) = pod {
            self.by_pod.entry(pod).or_default();
        }
        true
    }

    /// Whether there is no sidecar.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Whether this cgroup is a sidecar.
    #[must_use]
    pub fn contains(&self, local: u64) -> bool {
        self.pods.contains_key(&local)
    }

    /// Learns the destination of a sidecar's flow. Returns the cgroups of the same pod whose flows may be other legs than they
    /// seemed.
    pub fn observe(&mut self, leg: &Leg<'_>) -> Vec<u64> {
        if !self.contains(leg.local)
            && let Some(sidecar) = leg.pod.and_then(|pod| self.by_pod.get_mut(&pod))
        {
            sidecar.beside.insert(leg.local);
        }
        let (true, Role::Client, Some(pod)) = (self.contains(leg.local), leg.role, leg.pod) else {
            return Vec::new();
        };
        let sidecar = self.by_pod.entry(pod).or_default();
        let mut is_news = false;
        if leg.is_own {
            is_news |=
                sidecar.inbound_ports.len() < MAX_DESTINATIONS && sidecar.inbound_ports.insert(leg.port);
        } else {
            if sidecar.destinations.len() < MAX_DESTINATIONS && is_specific(leg.remote) {
                is_news |= sidecar.destinations.insert(leg.remote.clone());
            }
            if let Some(service) = leg.service
                && sidecar.services.len() < MAX_DESTINATIONS
            {
                is_news |= sidecar.services.insert(service.clone());
            }
        }
        if is_news { sidecar.beside.iter().copied().collect() } else { Vec::new() }
    }

    /// The leg that a flow is.
    #[must_use]
    pub fn via(&self, leg: &Leg<'_>) -> Via {
        let is_port = self.is_port(leg.port);
        if self.pods.contains_key(&leg.local) {
            return match (leg.role, leg.is_own) {
                (Role::Server, _) if !is_port => Via::Direct,
                (Role::Server, true) => Via::OwnSidecar(Direction::Outbound),
                (Role::Client, true) => Via::OwnSidecar(Direction::Inbound),
                (_, false) => Via::Sidecar,
            };
        }
        if leg.role == Role::Client && leg.is_own && is_port {
            return Via::OwnSidecar(Direction::Outbound);
        }
        let takes_outbound = self.is_port(OUTBOUND);
        let Some(sidecar) = leg.pod.and_then(|pod| self.by_pod.get(&pod)) else { return Via::Direct };
        match leg.role {
            // Redirected: the workload sees the address that it connected to, and its sidecar has a connection to the same end.
            // What is excluded from the redirection has no such connection, and is direct.
            Role::Client if takes_outbound && sidecar.forwards(leg) => Via::OwnSidecar(Direction::Outbound),
            Role::Server if leg.is_own && sidecar.inbound_ports.contains(&leg.port) => {
                Via::OwnSidecar(Direction::Inbound)
            }
            _ => Via::Direct,
        }
    }

    /// Removes sidecars whose cgroups have no flow any more.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.pods.retain(|local, _| is_there(*local));
        let pods: HashSet<_> = self.pods.values().flatten().copied().collect();
        self.by_pod.retain(|pod, sidecar| {
            sidecar.beside.retain(|local| is_there(*local));
            pods.contains(pod)
        });
    }
}

impl Sidecar {
    /// Whether this sidecar has a connection to the same remote end.
    fn forwards(&self, leg: &Leg<'_>) -> bool {
        let to_same = || is_specific(leg.remote) && self.destinations.contains(leg.remote);
        !leg.is_own && (to_same() || leg.service.is_some_and(|service| self.services.contains(service)))
    }
}

/// Whether two flows to this workload certainly go to the same one.
fn is_specific(workload: &Workload) -> bool {
    matches!(workload, Workload::Named(_) | Workload::Address(_))
}

#[cfg(test)]
mod tests;
