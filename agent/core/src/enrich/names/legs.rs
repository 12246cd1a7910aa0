//! Detects flows that are legs of a connection through a sidecar.

use netcause_common::flow::FlowKey;

use super::{Names, Remote};
use crate::enrich::directory::{Holder, HolderRef};
use crate::enrich::sidecar::{Leg, Via};
use crate::ingest::{self, Role, role};

impl Names {
    /// Whether a flow, given the name of its remote end, goes through a sidecar.
    #[must_use]
    pub fn via(&self, flow: &FlowKey, remote: &Remote) -> Via {
        if self.sidecars.is_empty() {
            return Via::Direct;
        }
        self.leg(flow, remote).map_or(Via::Direct, |leg| self.sidecars.via(&leg))
    }

    /// Records a listening port of a local end; on a sidecar's port this marks it as one.
    pub fn listens(&mut self, local: u64, port: u16) {
        if self.sidecars.is_port(port) {
            let pod = self.pod(local);
            if self.sidecars.learn(local, pod) {
                self.changes.everything();
            }
        }
    }

    /// Learns the location of sidecars, and their legs, from a flow.
    pub(super) fn observe_legs(&mut self, flow: &FlowKey) {
        if role(flow) == Some(Role::Server) {
            self.listens(flow.local, flow.service_port);
        }
        if self.sidecars.is_empty() {
            return;
        }
        let remote = self.remote(flow);
        if let Some(leg) = self.leg(flow, &remote) {
            for local in self.sidecars.observe(&leg) {
                self.changes.local(local);
            }
        }
    }

    fn leg<'a>(&self, flow: &FlowKey, remote: &'a Remote) -> Option<Leg<'a>> {
        let pod = self.pod(flow.local);
        let address = ingest::ip(flow.remote);
        let is_own = address.is_loopback()
            || pod.is_some_and(|own| {
                let holder = self.directory.holder(address, self.now);
                matches!(holder, Some(Holder { entity: HolderRef::Pod(pod), .. }) if pod.uid == own)
            });
        Some(Leg {
            local: flow.local,
            pod,
            role: role(flow)?,
            port: flow.service_port,
            is_own,
            remote: &remote.workload,
            service: remote.service.as_ref(),
        })
    }
}

#[cfg(test)]
mod tests;
