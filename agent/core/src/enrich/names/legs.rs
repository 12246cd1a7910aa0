//! Detects flows that are legs of a connection through a sidecar.

use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, TcpCounters, UdpCounters};

use super::{Names, Remote};
use crate::enrich::directory::{Holder, HolderRef};
use crate::enrich::name::Name;
use crate::enrich::sidecar::{Leg, Via};
use crate::ingest::{self, Role, role};

impl Names {
    /// Whether a flow, given the name of its remote end, goes through a sidecar.
    #[must_use]
    pub fn via(&self, flow: &FlowKey, remote: &Remote) -> Via {
        if self.sidecars.is_empty() {
            return Via::Direct;
        }
        let Some(leg) = self.leg(flow, remote.service.as_ref()) else { return Via::Direct };
        match flow.protocol {
            PROTOCOL_TCP => self.sidecars.via(&leg),
            // Sidecars take TCP. What else they send is their own.
            _ if self.sidecars.contains(flow.local) && !leg.is_own => Via::Sidecar,
            _ => Via::Direct,
        }
    }

    /// The port that the client has connected to, of a flow that goes through a sidecar: where connections were redirected to
    /// the sidecar's port, the one that it serves, if that is only one.
    #[must_use]
    pub fn served_port(&self, flow: &FlowKey) -> u16 {
        let leg = (flow.protocol == PROTOCOL_TCP).then(|| self.leg(flow, None)).flatten();
        leg.and_then(|leg| self.sidecars.served_port(&leg)).unwrap_or(flow.service_port)
    }

    /// Records a listening port of a local end; on a sidecar's port this marks it as one.
    pub fn listens(&mut self, local: u64, port: u16) {
        let pod = self.pod(local);
        if self.sidecars.listens(local, pod, port) {
            self.changes.everything();
        }
    }

    /// Takes what a flow has counted since the last reading: what both ends of a connection have counted shows who they are.
    pub fn counted(&mut self, flow: &FlowKey, delta: &TcpCounters) {
        if flow.protocol != PROTOCOL_TCP || flow.is_other() {
            return;
        }
        self.peers.count(flow, delta);
        if delta.opened != 0 {
            self.sidecars.opened(flow, delta.opened);
        }
    }

    /// Takes what a flow of datagrams has counted since the last reading.
    pub fn counted_datagrams(&mut self, flow: &FlowKey, delta: &UdpCounters) {
        if flow.protocol != PROTOCOL_TCP && !flow.is_other() {
            self.peers.count_datagrams(flow, delta);
        }
    }

    /// Ends a reading: recognises legs by what was opened at both of their ends.
    pub fn settle_legs(&mut self) {
        let is_known = |local| local & LOCAL_IS_NAMESPACE != 0 || self.cgroups.place(local).is_some();
        let Some(opened) = self.sidecars.take_opened(is_known) else { return };
        // The pod of a sidecar may be known only now.
        for (flow, _) in opened.iter().filter(|(flow, _)| role(flow) == Some(Role::Server)) {
            self.listens(flow.local, flow.service_port);
        }
        if self.sidecars.is_empty() {
            return;
        }
        for (flow, connections) in opened {
            if let Some(leg) = self.leg(&flow, None) {
                self.sidecars.count(&leg, connections);
            }
        }
        for local in self.sidecars.settle() {
            self.changes.local(local);
        }
    }

    /// Learns the location of sidecars, and their legs, from a flow.
    pub(super) fn observe_legs(&mut self, flow: &FlowKey) {
        if flow.protocol != PROTOCOL_TCP {
            return;
        }
        if role(flow) == Some(Role::Server) {
            self.listens(flow.local, flow.service_port);
        }
        if self.sidecars.is_empty() {
            return;
        }
        let remote = self.remote(flow);
        if let Some(leg) = self.leg(flow, remote.service.as_ref()) {
            for local in self.sidecars.observe(&leg) {
                self.changes.local(local);
            }
        }
    }

    fn leg<'a>(&self, flow: &FlowKey, service: Option<&'a Name>) -> Option<Leg<'a>> {
        let pod = self.pod(flow.local);
        let address = ingest::ip(flow.remote);
        let is_own = address.is_loopback()
            || pod.is_some_and(|own| {
                let holder = self.directory.holder(address, self.now);
                matches!(holder, Some(Holder { entity: HolderRef::Pod(pod), .. }) if pod.uid == own)
            });
        // A pod may be called at a port of a service past the sidecar, which itself leads the service's connections there.
        let is_of_service = || self.sidecars.contains(flow.local) || self.is_of_service(flow);
        Some(Leg {
            local: flow.local,
            pod,
            role: role(flow)?,
            address,
            port: flow.service_port,
            is_own,
            service: service.filter(|_| is_of_service()),
        })
    }
}

#[cfg(test)]
mod tests;
