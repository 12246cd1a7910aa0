//! Proxies beside a workload, in the same pod: Envoy in a service mesh.
//!
//! What a workload sends goes to its sidecar first, over loopback or because packet filters redirect it there, and from
//! the sidecar to the other workload. Both legs are one edge: the one between the pods, marked. The other one, between the
//! workload and its own sidecar, is counted apart, so that no octet counts twice and each leg can be blamed for itself.
//!
//! A sidecar is known by the ports it listens on. Istio's are 15001 for what its pod sends and 15006 for what its pod
//! receives.

use std::collections::{HashMap, HashSet};

use super::Workload;
use super::name::Name;
use super::uid::PodUid;
use crate::ingest::Role;

/// Where an outbound connection is redirected to, in Istio. Any other port of a sidecar takes inbound ones.
const OUTBOUND: u16 = 15001;
/// Pods whose sidecars are known; those of further pods are taken for workloads like others.
const MAX_PODS: usize = 1024;
/// Destinations that are remembered of one sidecar.
const MAX_DESTINATIONS: usize = 1024;

/// How an edge goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// From one workload to the other.
    Direct,
    /// Through a sidecar of the end that was seen: this is the leg between that sidecar and the other workload.
    Sidecar,
    /// Between a workload and its own sidecar.
    OwnSidecar(Direction),
}

/// Which way the connection goes that a sidecar passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Out of the pod: the workload is its client.
    Outbound,
    /// Into the pod: the workload is its server.
    Inbound,
}

/// What tells where a flow goes, as far as sidecars are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// As [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// The pod it is in.
    pub pod: Option<PodUid>,
    /// What the local end is.
    pub role: Role,
    /// The server's port.
    pub port: u16,
    /// Whether the remote end is in the same pod: a loopback address, or the pod's own.
    pub is_own: bool,
    /// What the remote end is called.
    pub remote: &'a Workload,
    /// The service that was asked.
    pub service: Option<&'a Name>,
}

/// The sidecars of this node.
#[derive(Debug, Default)]
pub struct Sidecars {
    ports: Vec<u16>,
    /// By cgroup.
    pods: HashMap<u64, Option<PodUid>>,
    by_pod: HashMap<PodUid, Sidecar>,
}

/// What is known of one.
#[derive(Debug, Default)]
struct Sidecar {
    /// Whom it has connected to.
    destinations: HashSet<Workload>,
    services: HashSet<Name>,
    /// Where it has connected to in its own pod.
    inbound_ports: HashSet<u16>,
    /// The other cgroups of its pod that have flows.
    beside: HashSet<u64>,
}

impl Sidecars {
    /// Of those that listen on one of these ports.
    #[must_use]
    pub fn on(ports: Vec<u16>) -> Self {
        Self { ports, ..Self::default() }
    }

    /// True when a sidecar listens on this port.
    #[must_use]
    pub fn is_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// This cgroup listens on one of the ports, or has accepted a connection there. Returns true when that is news.
    pub fn learn(&mut self, local: u64, pod: Option<PodUid>) -> bool {
        match self.pods.get(&local) {
            // Its cgroup was found late.
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

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Whether this cgroup is one.
    #[must_use]
    pub fn is_one(&self, local: u64) -> bool {
        self.pods.contains_key(&local)
    }

    /// Takes what a flow of a sidecar tells of the legs beside it. Returns the cgroups whose flows may go otherwise than
    /// they seemed to.
    pub fn observe(&mut self, leg: &Leg<'_>) -> Vec<u64> {
        if !self.is_one(leg.local)
            && let Some(sidecar) = leg.pod.and_then(|pod| self.by_pod.get_mut(&pod))
        {
            sidecar.beside.insert(leg.local);
        }
        let (true, Role::Client, Some(pod)) = (self.is_one(leg.local), leg.role, leg.pod) else {
            return Vec::new();
        };
        let sidecar = self.by_pod.entry(pod).or_default();
        let mut is_news = false;
        if leg.is_own {
            is_news |=
                sidecar.inbound_ports.len() < MAX_DESTINATIONS && sidecar.inbound_ports.insert(leg.port);
        } else {
            if sidecar.destinations.len() < MAX_DESTINATIONS && is_telling(leg.remote) {
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

    /// How a flow goes.
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
            // Redirected: the workload sees the address it asked for, and its sidecar has a connection to the same end.
            // What is excluded from the redirection has no such connection, and is direct.
            Role::Client if takes_outbound && sidecar.passes_on(leg) => Via::OwnSidecar(Direction::Outbound),
            Role::Server if leg.is_own && sidecar.inbound_ports.contains(&leg.port) => {
                Via::OwnSidecar(Direction::Inbound)
            }
            _ => Via::Direct,
        }
    }

    /// Forgets the sidecars of cgroups that have no flow any more.
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
    fn passes_on(&self, leg: &Leg<'_>) -> bool {
        let to_same = || is_telling(leg.remote) && self.destinations.contains(leg.remote);
        !leg.is_own && (to_same() || leg.service.is_some_and(|service| self.services.contains(service)))
    }
}

/// Whether two flows to such an end go to the same one.
fn is_telling(workload: &Workload) -> bool {
    matches!(workload, Workload::Named(_) | Workload::Address(_))
}

#[cfg(test)]
mod tests;
