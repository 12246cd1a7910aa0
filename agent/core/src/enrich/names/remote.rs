//! Resolves the remote address of a flow to a name.
//!
//! The first match wins: a service, an endpoint of a service, the pod that has the address now, the workload of the socket at the
//! other end if that is on this node, the node that has the address, a named network, the DNS name it was
//! resolved from. An unknown address in the known networks is shown as is; any other is `external`.

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

/// Limit on services and ports looked up in conntrack.
const MAX_QUERIED: usize = 4096;
/// Limit on addresses looked up for each; TCP and UDP count separately.
const MAX_ADDRESSES: usize = 8;

/// The name of a remote end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The workload at the remote address.
    pub workload: Workload,
    /// The service the client connected to, if the remote end is the server.
    pub service: Option<Name>,
    /// Since when the workload has this address, if known.
    pub since: Option<Seconds>,
}

impl Remote {
    pub(super) fn plain(workload: Workload) -> Self {
        Self { workload, service: None, since: None }
    }
}

impl Names {
    /// The name of the remote end of a flow.
    #[must_use]
    pub fn remote(&self, flow: &FlowKey) -> Remote {
        match flow.remote {
            Address::EXTERNAL => return Remote::plain(Workload::External),
            Address::ANY => return Remote::plain(Workload::Any),
            Address::OTHER => return Remote::plain(Workload::Other),
            Address::UNKNOWN => return Remote::plain(Workload::Unknown),
            _ => {}
        }
        let address = ingest::ip(flow.remote);
        if let Some(peer) = self.peer(flow) {
            return Remote::plain(peer);
        }
        if address.is_loopback() {
            return Remote::plain(self.same_pod(flow.local, address));
        }
        let port = server_port(flow);
        self.at(address, port).unwrap_or_else(|| self.nameless(flow, address))
    }

    /// The remote end of a flow whose address no source has a name for.
    pub(super) fn nameless(&self, flow: &FlowKey, address: IpAddr) -> Remote {
        let port = server_port(flow);
        if self.is_shown_by_address(flow, address) {
            return Remote::plain(Workload::Address(address));
        }
        let resolved = port.and_then(|_| self.resolved_from(flow.local, address));
        match resolved.and_then(|label| self.outside.name(&label).cloned()) {
            Some(name) => Remote::plain(Workload::named(name)),
            None => Remote::plain(Workload::External),
        }
    }

    /// Whether an unknown address is shown as is: those in the known networks, those of loopback, and all DNS servers, which are
    /// few.
    fn is_shown_by_address(&self, flow: &FlowKey, address: IpAddr) -> bool {
        flow.protocol == PROTOCOL_DNS
            || address.is_loopback()
            || self.known_networks.iter().any(|network| network.contains(&address))
    }

    /// Records a flow that is in use: requests the lookups that its names still need, and learns sidecars from it. Resolving
    /// names ([`Self::local`], [`Self::remote`], [`Self::via`]) has no side effects.
    pub fn observe(&mut self, flow: &FlowKey) {
        self.observe_local(flow.local);
        self.observe_remote(flow);
        self.observe_legs(flow);
    }

    fn observe_remote(&mut self, flow: &FlowKey) {
        let address = ingest::ip(flow.remote);
        if flow.remote.is_placeholder() || address.is_loopback() {
            return;
        }
        let port = server_port(flow);
        if let Some(port) = port
            && let Some((service, addresses)) = self.service(address, port)
        {
            let service = service.clone();
            if self.is_tracked(&service) {
                self.track(service, port, &addresses);
            }
            return;
        }
        if let Some(Holder { entity: HolderRef::Node(node), .. }) = self.directory.holder(address, self.now) {
            self.zones.record(&node, address);
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

    /// The workload at a loopback address: the pod itself, if the local end is in one with a network of its own.
    fn same_pod(&self, local: u64, address: IpAddr) -> Workload {
        let is_on_host = |uid| self.directory.pod(&uid).is_some_and(|pod| pod.is_host_network);
        match self.pod(local) {
            Some(uid) if !is_on_host(uid) => self.local(local),
            _ => Workload::Address(address),
        }
    }

    /// The service at an address and port, over TCP, UDP, or both.
    fn service(&self, address: IpAddr, port: u16) -> Option<(&Name, Vec<ServiceAddress>)> {
        let service = |protocol| self.directory.service(address, port, protocol);
        let found = service(PROTOCOL_TCP).or_else(|| service(PROTOCOL_UDP))?;
        let is_one = |protocol: &u8| service(*protocol) == Some(found);
        let of = |protocol| ServiceAddress { address, port, protocol };
        Some((found, [PROTOCOL_TCP, PROTOCOL_UDP].into_iter().filter(is_one).map(of).collect()))
    }

    /// The name that sources have for an address; `port` is the server's, if that is the remote end.
    pub(super) fn at(&self, address: IpAddr, port: Option<u16>) -> Option<Remote> {
        if let Some(port) = port
            && let Some((service, addresses)) = self.service(address, port)
        {
            return Some(self.backend(service.clone(), port, &addresses));
        }
        let mut service = None;
        if let Some(port) = port {
            let endpoint = |protocol| self.directory.endpoint(address, port, protocol);
            if let Some(endpoint) = endpoint(PROTOCOL_TCP).or_else(|| endpoint(PROTOCOL_UDP)) {
                service = endpoint.service.cloned();
                // Several pods may share a node's address, each with its own ports.
                if let Some(pod) = endpoint.pod
                    && !self.is_pod_address(address)
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

    /// The name of an address that had none. If several held it, each flow is asked again for itself
    /// (`aggregate::model::handover`).
    fn late(&self, address: IpAddr, port: Option<u16>) -> Option<Remote> {
        let known = self.at(address, port);
        if !self.directory.is_contested(address) || known.as_ref().is_some_and(|known| known.since.is_none())
        {
            return known;
        }
        let Holder { entity, since } = self.directory.only_holder(address)?;
        Some(Remote { since: Some(since), ..Remote::plain(workload(&entity)) })
    }

    fn is_pod_address(&self, address: IpAddr) -> bool {
        matches!(self.directory.holder(address, self.now), Some(Holder { entity: HolderRef::Pod(_), .. }))
    }

    /// The backend of a service: from its endpoints, or from conntrack.
    fn backend(&self, service: Name, port: u16, addresses: &[ServiceAddress]) -> Remote {
        let workload = if let Some(only) = self.directory.only_backend(&service) {
            Workload::named(only.clone())
        } else if self.directory.backends(&service).len() > 1 {
            Workload::Several
        } else {
            self.tracked(&service, port, addresses)
        };
        let since = self.directory.leads_since(&service);
        Remote { workload, service: Some(service), since }
    }

    /// Whether a service needs conntrack lookups, because sources list no endpoints of it.
    fn is_tracked(&self, service: &Name) -> bool {
        self.directory.only_backend(service).is_none() && self.directory.backends(service).len() < 2
    }

    /// The backend of a service according to the conntrack lookups answered so far.
    fn tracked(&self, service: &Name, port: u16, addresses: &[ServiceAddress]) -> Workload {
        let queried = self.queried.get(&(service.clone(), port)).map_or(addresses, Vec::as_slice);
        let mut answers = queried.iter().map(|service| self.answered(*service));
        answers.find(|workload| *workload != Workload::Backend).unwrap_or(Workload::Backend)
    }

    /// Registers conntrack lookups for the backends of a service.
    fn track(&mut self, service: Name, port: u16, addresses: &[ServiceAddress]) {
        let key = (service, port);
        if self.queried.len() >= MAX_QUERIED && !self.queried.contains_key(&key) {
            return;
        }
        let queried = self.queried.entry(key).or_default();
        for service in addresses {
            if queried.len() < MAX_ADDRESSES && !queried.contains(service) {
                queried.push(*service);
                self.conntrack.register_interest(ServiceQuery { service: *service, client: None }, self.at);
            }
        }
    }

    /// The backend of one address of a service according to conntrack.
    fn answered(&self, service: ServiceAddress) -> Workload {
        let question = ServiceQuery { service, client: None };
        let ServiceBackends::Known(backends) = self.conntrack.backends(question) else {
            return Workload::Backend;
        };
        let mut only = None;
        for backend in backends {
            // The holder at the time of the lookup, because the address may have changed hands since.
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

    /// Records the client port of a flow's first connection. If the service's backends are unknown, a conntrack lookup of
    /// that connection finds one; this needs the client's own address, which is known for pods only.
    pub fn connected(&mut self, flow: &FlowKey, client_port: u16) {
        if flow.role != ROLE_CLIENT || flow.protocol != PROTOCOL_TCP || client_port == 0 {
            return;
        }
        let service_address = ServiceAddress {
            address: ingest::ip(flow.remote),
            port: flow.service_port,
            protocol: flow.protocol,
        };
        let service = self.directory.service(service_address.address, flow.service_port, flow.protocol);
        if !service.is_some_and(|service| self.is_tracked(service)) {
            return;
        }
        let Some(pod) = self.pod(flow.local) else { return };
        let is_v4 = service_address.address.is_ipv4();
        if let Some(client) = self.directory.addresses(&pod).find(|address| address.is_ipv4() == is_v4) {
            let question = ServiceQuery { service: service_address, client: None };
            self.conntrack.register_connection(question, SocketAddr::new(client, client_port), self.at);
        }
    }

    /// Resolves an end of an edge again that had no name; `None` if it still has none.
    #[must_use]
    pub fn resolve_again(&self, end: &Workload, service: Option<&Name>, port: Option<u16>) -> Option<Remote> {
        match end {
            Workload::Cgroup(id) => Some(Remote::plain(self.local(*id))),
            Workload::Namespace(inode) => Some(Remote::plain(self.namespace(*inode))),
            Workload::Pod(uid) => {
                let local = self.local_pods.get(uid).and_then(|locals| locals.first().copied());
                Some(Remote::plain(self.local(local?)))
            }
            Workload::Address(address) if !address.is_loopback() => self.late(*address, port),
            Workload::Backend => {
                let (service, port) = (service?.clone(), port?);
                self.queried.contains_key(&(service.clone(), port)).then(|| self.backend(service, port, &[]))
            }
            _ => None,
        }
    }
}

/// The server's port, if the remote end is the server.
pub(super) fn server_port(flow: &FlowKey) -> Option<u16> {
    (flow.role == ROLE_CLIENT).then_some(flow.service_port)
}

/// The name of a holder of an address.
pub(super) fn workload(entity: &HolderRef<'_>) -> Workload {
    match entity {
        HolderRef::Pod(pod) => Workload::named(pod.name.clone()),
        HolderRef::Node(node) => Workload::plain(node.name),
    }
}

#[cfg(test)]
mod tests;
