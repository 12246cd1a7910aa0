//! Which flows are legs of a connection through a sidecar.

use netcause_common::flow::FlowKey;

use super::{Names, Remote};
use crate::enrich::directory::{Holder, HolderRef};
use crate::enrich::sidecar::{Leg, Via};
use crate::ingest::{self, Role, role};

impl Names {
    /// How a flow goes whose remote end is called so.
    #[must_use]
    pub fn via(&self, flow: &FlowKey, remote: &Remote) -> Via {
        if self.sidecars.is_empty() {
            return Via::Direct;
        }
        self.leg(flow, remote).map_or(Via::Direct, |leg| self.sidecars.via(&leg))
    }

    /// A port is listened on here: a sidecar may be.
    pub fn listens(&mut self, local: u64, port: u16) {
        if self.sidecars.is_port(port) {
            let pod = self.pod(local);
            if self.sidecars.learn(local, pod) {
                self.changes.everything();
            }
        }
    }

    /// Learns from a flow where sidecars are, and which legs they have.
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
