//! Recognises sidecars, proxies in the same pod as a workload (Envoy in a service mesh), and the legs of connections through
//! them.
//!
//! A workload's traffic goes to its sidecar first, over loopback or because packet filters redirect it there, and from the
//! sidecar to the other workload. The leg between the pods is the edge between the workloads, marked as through a sidecar. The
//! leg between a workload and its own sidecar is counted apart, so that no byte counts twice and a fault can be traced to one
//! leg.
//!
//! A sidecar is recognised by the ports it listens on: in Istio 15001 for outbound traffic and 15006 for inbound traffic.
//! What was redirected to it is known by the connections that it accepted ([`ledger`]). Until those are counted, what it has
//! connected to itself is taken for redirected: the same address and port, or the same service.

mod ledger;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use netcause_common::flow::FlowKey;
use serde::{Deserialize, Serialize};

use super::name::Name;
use super::uid::PodUid;
use crate::ingest::Role;
use ledger::{End, Ledger};

/// The ports that Istio redirects outbound and inbound connections to. Any other port of a sidecar takes outbound ones from
/// its own pod, and inbound ones from elsewhere.
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
/// The most sidecars that are recognised; further ones are treated as workloads.
const MAX_PODS: usize = 1024;
/// The most destinations, services and ports that are remembered of one sidecar.
const MAX_DESTINATIONS: usize = 1024;
/// The most flows whose new connections are kept for the end of a reading; when there are more, none is compared.
const MAX_OPENED: usize = 4096;
/// How many readings they are kept for while the pod of one is not known.
const MAX_WAITING: u8 = 5;

/// Whether an edge passes a sidecar, and which leg of the connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Via {
    /// Between two workloads without a sidecar on this node.
    Direct,
    /// Between the sidecar of the local workload and the other workload.
    Sidecar,
    /// Between a workload and its own sidecar.
    OwnSidecar(Direction),
}

/// The direction of a connection that a sidecar forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// Out of the pod: the workload is its client.
    Outbound,
    /// Into the pod: the workload is its server.
    Inbound,
}

/// The properties of a TCP flow by which its leg is recognised.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// The local end: [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// The pod of the local end, if it is in one.
    pub pod: Option<PodUid>,
    /// Whether the local end is client or server.
    pub role: Role,
    /// The remote address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
    /// Whether the remote end is in the same pod: a loopback address, or the pod's own.
    pub is_own: bool,
    /// The service that a sidecar's connection was made to, at an address of its own or of a pod; of a workload's connection
    /// only if it was made to the service's own address.
    pub service: Option<&'a Name>,
}

impl Leg<'_> {
    fn end(&self) -> End {
        End { local: self.local, address: self.address, port: self.port }
    }
}

/// The sidecars of this node.
#[derive(Debug, Default)]
pub struct Sidecars {
    ports: Vec<u16>,
    /// The sidecars' cgroups, each with its pod.
    pods: HashMap<u64, Option<PodUid>>,
    by_pod: HashMap<PodUid, Sidecar>,
    /// Connections that flows have opened since they were counted last, and the readings since.
    opened: Vec<(FlowKey, u64)>,
    waiting: u8,
}

/// The sidecar of one pod.
#[derive(Debug, Default)]
struct Sidecar {
    /// Addresses and ports that it has connected to.
    destinations: HashSet<(IpAddr, u16)>,
    /// Services that it has connected to.
    services: HashSet<Name>,
    /// Ports in its own pod that it has connected to.
    inbound_ports: HashSet<u16>,
    /// Ports that it listens on, and those that the rest of its pod listens on.
    own_ports: HashSet<u16>,
    served_ports: HashSet<u16>,
    /// The other cgroups of its pod that have flows.
    beside: BTreeSet<u64>,
    /// Connections of the pod to elsewhere, and those that the sidecar accepted.
    outbound: Ledger,
    /// By port: connections that the pod accepted from itself, and those that the sidecar made.
    inbound: HashMap<u16, Ledger>,
}

impl Sidecars {
    /// Recognises sidecars by these ports.
    #[must_use]
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, ..Self::default() }
    }

    /// Learns that this cgroup listens on a port, or has accepted a connection there: who listens on a port of sidecars is one.
    /// Returns whether other legs may be recognised by that.
    pub fn listens(&mut self, local: u64, pod: Option<PodUid>, port: u16) -> bool {
        let is_new = self.is_port(port) && self.learn(local, pod);
        let is_sidecar = self.contains(local);
        let Some(sidecar) = pod.and_then(|pod| self.by_pod.get_mut(&pod)) else { return is_new };
        let ports = if is_sidecar { &mut sidecar.own_ports } else { &mut sidecar.served_ports };
        let is_news = ports.len() < MAX_DESTINATIONS && ports.insert(port);
        is_new || is_news && sidecar.inbound_ports.contains(&port)
    }

    fn learn(&mut self, local: u64, pod: Option<PodUid>) -> bool {
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

    fn is_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
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

    /// The other cgroups in the pod of a sidecar.
    pub fn beside(&self, local: u64) -> impl Iterator<Item = u64> {
        let sidecar = self.pods.get(&local).copied().flatten().and_then(|pod| self.by_pod.get(&pod));
        sidecar.into_iter().flat_map(|sidecar| &sidecar.beside).copied()
    }

    /// Learns the destination of a sidecar's flow. Returns the cgroups of the same pod whose flows may be other legs than they
    /// seemed.
    pub fn observe(&mut self, leg: &Leg<'_>) -> Vec<u64> {
        let is_sidecar = self.contains(leg.local);
        let Some(sidecar) = leg.pod.and_then(|pod| self.by_pod.get_mut(&pod)) else { return Vec::new() };
        if !is_sidecar {
            sidecar.beside.insert(leg.local);
        }
        if !is_sidecar || leg.role != Role::Client {
            return Vec::new();
        }
        let mut is_news = false;
        if leg.is_own {
            is_news |=
                sidecar.inbound_ports.len() < MAX_DESTINATIONS && sidecar.inbound_ports.insert(leg.port);
        } else {
            if sidecar.destinations.len() < MAX_DESTINATIONS {
                is_news |= sidecar.destinations.insert((leg.address, leg.port));
            }
            if let Some(service) = leg.service
                && sidecar.services.len() < MAX_DESTINATIONS
            {
                is_news |= sidecar.services.insert(service.clone());
            }
        }
        if !is_news {
            return Vec::new();
        }
        sidecar.beside.iter().copied().chain(leg.is_own.then_some(leg.local)).collect()
    }

    /// Takes how many connections a flow has opened since the last reading. They are compared at the end of one
    /// ([`Self::take_opened`]), because a flow's cgroup may be known only then.
    pub fn opened(&mut self, flow: &FlowKey, connections: u64) {
        if !self.ports.is_empty() && self.opened.len() <= MAX_OPENED {
            self.opened.push((*flow, connections));
        }
    }

    /// What was opened; each goes to [`Self::count`]. `None` while there is one whose local end is not known yet: both ends of a
    /// leg are counted together. Nothing if it was too much to keep.
    pub fn take_opened(&mut self, is_known: impl Fn(u64) -> bool) -> Option<Vec<(FlowKey, u64)>> {
        let is_whole = self.opened.len() <= MAX_OPENED;
        let is_known = || self.opened.iter().all(|(flow, _)| is_known(flow.local));
        if is_whole && self.waiting < MAX_WAITING && !is_known() {
            self.waiting += 1;
            return None;
        }
        self.waiting = 0;
        let opened = std::mem::take(&mut self.opened);
        if is_whole {
            return Some(opened);
        }
        for sidecar in self.by_pod.values_mut() {
            sidecar.ledgers().for_each(Ledger::skip);
        }
        Some(Vec::new())
    }

    /// Counts connections that a flow has opened.
    pub fn count(&mut self, leg: &Leg<'_>, connections: u64) {
        let (is_sidecar, is_port) = (self.contains(leg.local), self.is_port(leg.port));
        let Some(sidecar) = leg.pod.and_then(|pod| self.by_pod.get_mut(&pod)) else { return };
        let signed = i64::try_from(connections).unwrap_or(i64::MAX);
        match (is_sidecar, leg.role, leg.is_own) {
            (true, Role::Server, is_own) if is_port && takes_outbound(leg.port, is_own) => {
                sidecar.outbound.opened_by_sidecar(signed);
            }
            // It did not have to be redirected.
            (false, Role::Client, true) if is_port => sidecar.outbound.opened_by_sidecar(-signed),
            (false, Role::Client, false) => sidecar.outbound.opened(leg.end(), connections),
            (true, Role::Client, true) => {
                if let Some(ledger) = sidecar.inbound_of(leg.port) {
                    ledger.opened_by_sidecar(signed);
                }
            }
            (false, Role::Server, true) => {
                if let Some(ledger) = sidecar.inbound_of(leg.port) {
                    ledger.opened(leg.end(), connections);
                }
            }
            _ => {}
        }
    }

    /// Ends a reading: compares what was counted. Returns the cgroups whose flows are other legs than they seemed.
    pub fn settle(&mut self) -> Vec<u64> {
        self.by_pod.values_mut().flat_map(Sidecar::ledgers).flat_map(Ledger::settle).collect()
    }

    /// The leg that a flow is.
    #[must_use]
    pub fn via(&self, leg: &Leg<'_>) -> Via {
        let is_port = self.is_port(leg.port);
        let sidecar = leg.pod.and_then(|pod| self.by_pod.get(&pod));
        if self.contains(leg.local) {
            return match (leg.role, leg.is_own) {
                (Role::Server, _) if !is_port => Via::Direct,
                (Role::Server, is_own) if takes_outbound(leg.port, is_own) => {
                    Via::OwnSidecar(Direction::Outbound)
                }
                // Its own health and metrics.
                (Role::Client, true) if sidecar.is_some_and(|sidecar| sidecar.is_its_own(leg.port)) => {
                    Via::Direct
                }
                // From itself as well: what the pod sends to a service of its own does not leave it.
                (_, true) => Via::OwnSidecar(Direction::Inbound),
                (_, false) => Via::Sidecar,
            };
        }
        if leg.role == Role::Client && leg.is_own && is_port {
            return Via::OwnSidecar(Direction::Outbound);
        }
        match (sidecar, leg.role) {
            (Some(sidecar), Role::Client) if sidecar.takes(leg, self.is_port(OUTBOUND)) => {
                Via::OwnSidecar(Direction::Outbound)
            }
            (Some(sidecar), Role::Server) if sidecar.makes(leg) => Via::OwnSidecar(Direction::Inbound),
            _ => Via::Direct,
        }
    }

    /// The port that clients have connected to, of connections that were redirected to a sidecar. Known if the sidecar serves
    /// only one.
    #[must_use]
    pub fn served_port(&self, leg: &Leg<'_>) -> Option<u16> {
        if leg.role != Role::Server || leg.port != INBOUND {
            return None;
        }
        let sidecar = self.by_pod.get(&leg.pod?)?;
        let mut ports = sidecar.inbound_ports.iter().filter(|port| !sidecar.is_its_own(**port));
        let (Some(only), None) = (ports.next(), ports.next()) else { return None };
        Some(*only)
    }

    /// Removes sidecars whose cgroups have no flow any more, and what is known of addresses that no flow has.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool, has_flow: impl Fn(IpAddr) -> bool) {
        self.pods.retain(|local, _| is_there(*local));
        let pods: HashSet<_> = self.pods.values().flatten().copied().collect();
        self.by_pod.retain(|pod, sidecar| {
            sidecar.beside.retain(|local| is_there(*local));
            sidecar.destinations.retain(|(address, _)| has_flow(*address));
            let is_in_use = |end: &End| is_there(end.local) && has_flow(end.address);
            sidecar.ledgers().for_each(|ledger| ledger.retain(is_in_use));
            pods.contains(pod)
        });
    }
}

impl Sidecar {
    /// Whether a workload's connection to elsewhere is redirected to this sidecar.
    fn takes(&self, leg: &Leg<'_>, takes_outbound: bool) -> bool {
        let connects_to = |end: &End| self.destinations.contains(&(end.address, end.port));
        let is_same = || {
            let is_known =
                connects_to(&leg.end()) || leg.service.is_some_and(|service| self.services.contains(service));
            // A user that is excluded from the redirection connects to the same past the sidecar.
            takes_outbound && is_known && !self.outbound.passes_by(leg.local, connects_to)
        };
        !leg.is_own && self.outbound.is_leg(&leg.end()).unwrap_or_else(is_same)
    }

    /// Whether it was this sidecar that made a connection which the workload accepted.
    fn makes(&self, leg: &Leg<'_>) -> bool {
        // Envoy connects from 127.0.0.6 or 127.0.0.1; what the workload sends to its pod's address comes from there.
        let is_same = || self.inbound_ports.contains(&leg.port) && leg.address.is_loopback();
        let ledger = self.inbound.get(&leg.port);
        leg.is_own && ledger.and_then(|ledger| ledger.is_leg(&leg.end())).unwrap_or_else(is_same)
    }

    /// Whether the sidecar itself listens on a port, and nothing else in its pod.
    fn is_its_own(&self, port: u16) -> bool {
        self.own_ports.contains(&port) && !self.served_ports.contains(&port)
    }

    fn inbound_of(&mut self, port: u16) -> Option<&mut Ledger> {
        if self.inbound.len() >= MAX_DESTINATIONS && !self.inbound.contains_key(&port) {
            return None;
        }
        Some(self.inbound.entry(port).or_default())
    }

    fn ledgers(&mut self) -> impl Iterator<Item = &mut Ledger> {
        std::iter::once(&mut self.outbound).chain(self.inbound.values_mut())
    }
}

/// Whether a sidecar's port takes connections out of its pod, of which the client may be in the same pod.
fn takes_outbound(port: u16, is_own: bool) -> bool {
    port == OUTBOUND || is_own && port != INBOUND
}

#[cfg(test)]
mod tests;
