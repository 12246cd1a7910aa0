//! The remote end of a flow: whose address it is.
//!
//! The first that knows it names it: a service, an endpoint of one, the pod or node that holds the address now, a network
//! outside, the name it was resolved from. An address in the known networks that nobody knows is shown as it is; any other
//! is `external`.

use std::net::{IpAddr, SocketAddr};

use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT};

use super::{MAX_UNKNOWN, Names};
use crate::enrich::Workload;
use crate::enrich::conntrack::{ServiceAddress, ServiceBackends, ServiceQuery};
use crate::enrich::directory::{Holder, HolderRef};
use crate::enrich::name::Name;
use crate::enrich::objects::Seconds;
use crate::ingest;

/// Services whose connections are asked for in the kernel's connection tracking.
const MAX_ASKED: usize = 4096;
/// Ways to reach one that are asked for: its addresses, over TCP and over UDP.
const MAX_WAYS: usize = 8;

/// What a remote end is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The workload.
    pub workload: Workload,
    /// The service that was asked, when the remote end is the server.
    pub service: Option<Name>,
    /// Since when it has its address, where that is known.
    pub since: Option<Seconds>,
}

impl Remote {
    fn plain(workload: Workload) -> Self {
        Self { workload, service: None, since: None }
    }
}

impl Names {
    /// The remote end.
    #[must_use]
    pub fn remote(&self, flow: &FlowKey) -> Remote {
        match flow.remote {
            Address::EXTERNAL => return Remote::plain(Workload::External),
            Address::ANY => return Remote::plain(Workload::Any),
            Address::UNKNOWN => return Remote::plain(Workload::Unknown),
            _ => {}
        }
        let address = ingest::ip(flow.remote);
        if address.is_loopback() {
            return Remote::plain(self.same_pod(flow.local, address));
        }
        let port = server_port(flow);
        if let Some(known) = self.at(address, port) {
            return known;
        }
        if self.is_shown_by_address(flow, address) {
            return Remote::plain(Workload::Address(address));
        }
        let resolved = port.and_then(|_| self.resolved_from(flow.local, address));
        match resolved.and_then(|label| self.outside.name(&label).cloned()) {
            Some(name) => Remote::plain(Workload::named(name)),
            None => Remote::plain(Workload::External),
        }
    }

    /// An address that no source knows is shown as it is in the known networks. Servers of DNS are few, and each is of
    /// interest.
    fn is_shown_by_address(&self, flow: &FlowKey, address: IpAddr) -> bool {
        flow.protocol == PROTOCOL_DNS || self.known_networks.iter().any(|network| network.contains(&address))
    }

    /// A flow is in use: registers interest in whatever its names still lack, so that sources are asked for it, and
    /// learns from it. Naming it ([`Self::local`], [`Self::remote`], [`Self::via`]) changes nothing.
    pub fn observe(&mut self, flow: &FlowKey) {
        self.observe_local(flow.local);
        self.observe_remote(flow);
        self.observe_legs(flow);
    }

    fn observe_remote(&mut self, flow: &FlowKey) {
        let address = ingest::ip(flow.remote);
        if [Address::EXTERNAL, Address::ANY, Address::UNKNOWN].contains(&flow.remote) || address.is_loopback()
        {
            return;
        }
        let port = server_port(flow);
        if let Some(port) = port
            && let Some((service, ways)) = self.service(address, port)
        {
            let service = service.clone();
            if self.is_tracked(&service) {
                self.track(service, port, &ways);
            }
            return;
        }
        if let Some(Holder { entity: HolderRef::Node(node), .. }) = self.directory.holder(address, self.now) {
            self.zones.meet(&node, address);
        }
        if self.at(address, port).is_some() {
            return;
        }
        if self.is_shown_by_address(flow, address) {
            if self.unknown.len() < MAX_UNKNOWN {
                self.unknown.insert(address);
            }
        } else if port.is_some()
            && let Some(label) = self.resolved_from(flow.local, address)
        {
            self.outside.reserve(&label);
        }
    }

    /// What is at a loopback address: the pod itself, where it is one.
    fn same_pod(&self, local: u64, address: IpAddr) -> Workload {
        match self.pod(local) {
            Some(_) => self.local(local),
            None => Workload::Address(address),
        }
    }

    /// The service at an address and port, and the ways to reach it there: over TCP, over UDP, or both.
    fn service(&self, address: IpAddr, port: u16) -> Option<(&Name, Vec<ServiceAddress>)> {
        let service = |protocol| self.directory.service(address, port, protocol);
        let found = service(PROTOCOL_TCP).or_else(|| service(PROTOCOL_UDP))?;
        let is_one = |protocol: &u8| service(*protocol) == Some(found);
        let way = |protocol| ServiceAddress { address, port, protocol };
        Some((found, [PROTOCOL_TCP, PROTOCOL_UDP].into_iter().filter(is_one).map(way).collect()))
    }

    /// What sources of names know to be at an address; `port` where a server is asked there.
    fn at(&self, address: IpAddr, port: Option<u16>) -> Option<Remote> {
        if let Some(port) = port
            && let Some((service, ways)) = self.service(address, port)
        {
            return Some(self.behind(service.clone(), port, &ways));
        }
        let mut service = None;
        if let Some(port) = port {
            let endpoint = |protocol| self.directory.endpoint(address, port, protocol);
            if let Some(endpoint) = endpoint(PROTOCOL_TCP).or_else(|| endpoint(PROTOCOL_UDP)) {
                service = endpoint.service.cloned();
                // On a node's address several pods may listen, each on ports of its own.
                if let Some(pod) = endpoint.pod
                    && !self.is_a_pods(address)
                {
                    return Some(Remote { workload: Workload::named(pod.clone()), service, since: None });
                }
            }
        }
        if let Some(Holder { entity, since }) = self.directory.holder(address, self.now) {
            let since = matches!(entity, HolderRef::Pod(_)).then_some(since);
            return Some(Remote { workload: workload(&entity), service, since });
        }
        if port.is_some()
            && let Some(service) = self.directory.service_any_port(address)
        {
            let service = Some(service.clone());
            return Some(Remote { workload: Workload::Backend, service, since: None });
        }
        self.extra.networks.name(address).map(|name| Remote::plain(Workload::named(name.clone())))
    }

    fn is_a_pods(&self, address: IpAddr) -> bool {
        matches!(self.directory.holder(address, self.now), Some(Holder { entity: HolderRef::Pod(_), .. }))
    }

    /// What stands behind a service: by its endpoints, or by where the kernel sends its connections.
    fn behind(&self, service: Name, port: u16, ways: &[ServiceAddress]) -> Remote {
        let workload = if let Some(only) = self.directory.only_backend(&service) {
            Workload::named(only.clone())
        } else if self.directory.backends(&service).len() > 1 {
            Workload::Several
        } else {
            self.tracked(&service, port, ways)
        };
        Remote { workload, service: Some(service), since: None }
    }

    /// Whether the connection tracking is to tell what is behind a service: sources of names do not.
    fn is_tracked(&self, service: &Name) -> bool {
        self.directory.only_backend(service).is_none() && self.directory.backends(service).len() < 2
    }

    /// The workload that the kernel's connection tracking has behind a service, as far as it has answered.
    fn tracked(&self, service: &Name, port: u16, ways: &[ServiceAddress]) -> Workload {
        let asked = self.asked.get(&(service.clone(), port)).map_or(ways, Vec::as_slice);
        let mut answers = asked.iter().map(|way| self.answered(*way));
        answers.find(|workload| *workload != Workload::Backend).unwrap_or(Workload::Backend)
    }

    /// Has the connection tracking asked for what is behind a service.
    fn track(&mut self, service: Name, port: u16, ways: &[ServiceAddress]) {
        let key = (service, port);
        if self.asked.len() >= MAX_ASKED && !self.asked.contains_key(&key) {
            return;
        }
        let asked = self.asked.entry(key).or_default();
        for way in ways {
            if asked.len() < MAX_WAYS && !asked.contains(way) {
                asked.push(*way);
                self.conntrack.register_interest(ServiceQuery { service: *way, client: None }, self.at);
            }
        }
    }

    /// Where the kernel sends what comes this way.
    fn answered(&self, way: ServiceAddress) -> Workload {
        let question = ServiceQuery { service: way, client: None };
        let ServiceBackends::Known(backends) = self.conntrack.backends(question) else {
            return Workload::Backend;
        };
        let mut only = None;
        for backend in backends {
            // Whose the address was then is whom the service stood for.
            let then = self.now.saturating_sub(self.at.saturating_sub(backend.seen).as_secs());
            let Some(Holder { entity, .. }) = self.directory.holder(backend.address.ip(), then) else {
                return Workload::Backend;
            };
            let workload = workload(&entity);
            if only.as_ref().is_some_and(|only| *only != workload) {
                return Workload::Several;
            }
            only = Some(workload);
        }
        only.unwrap_or(Workload::Backend)
    }

    /// A flow began with a connection from this port of the client's: where a service's backends are not known, it shows one
    /// of them. Only a pod's address is known to be its own.
    pub fn connected(&mut self, flow: &FlowKey, client_port: u16) {
        if flow.role != ROLE_CLIENT || flow.protocol != PROTOCOL_TCP || client_port == 0 {
            return;
        }
        let asked = ServiceAddress {
            address: ingest::ip(flow.remote),
            port: flow.service_port,
            protocol: flow.protocol,
        };
        let service = self.directory.service(asked.address, asked.port, asked.protocol);
        if !service.is_some_and(|service| self.is_tracked(service)) {
            return;
        }
        let Some(pod) = self.pod(flow.local) else { return };
        let is_v4 = asked.address.is_ipv4();
        if let Some(client) = self.directory.addresses(&pod).find(|address| address.is_ipv4() == is_v4) {
            let question = ServiceQuery { service: asked, client: None };
            self.conntrack.register_connection(question, SocketAddr::new(client, client_port), self.at);
        }
    }

    /// Asks again for the name of an end that had none; `None` when it has none still.
    #[must_use]
    pub fn again(&self, end: &Workload, service: Option<&Name>, port: Option<u16>) -> Option<Remote> {
        match end {
            Workload::Cgroup(id) => Some(Remote::plain(self.local(*id))),
            Workload::Pod(uid) => {
                let local = self.local_pods.get(uid).and_then(|locals| locals.first().copied());
                Some(Remote::plain(self.local(local?)))
            }
            Workload::Address(address) if !address.is_loopback() => self.at(*address, port),
            Workload::Backend => {
                let (service, port) = (service?.clone(), port?);
                self.asked.contains_key(&(service.clone(), port)).then(|| self.behind(service, port, &[]))
            }
            _ => None,
        }
    }
}

/// The port that is asked for, at a client's end.
fn server_port(flow: &FlowKey) -> Option<u16> {
    (flow.role == ROLE_CLIENT).then_some(flow.service_port)
}

/// What a holder of an address is called.
fn workload(entity: &HolderRef<'_>) -> Workload {
    match entity {
        HolderRef::Pod(pod) => Workload::named(pod.name.clone()),
        HolderRef::Node(node) => Workload::plain(node.name),
    }
}

#[cfg(test)]
mod tests;
