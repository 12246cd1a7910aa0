//! Names what was sent while an address may have passed from one holder to the next.

use netcause_common::flow::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT};

use super::Names;
use super::remote::{Remote, server_port, workload};
use crate::enrich::directory::{During, Holder, HolderRef, Span};
use crate::enrich::objects::Seconds;
use crate::ingest;

/// The clocks of two nodes differ by no more than this, most of the time.
const SKEW: Seconds = 5;

impl Names {
    /// True when the remote end of a flow is a pod, a node or a socket here, and its address has or had another holder: who it
    /// was depends on when something was sent ([`Self::remote_during`]). So it is where others may use the client's address.
    #[must_use]
    pub fn is_contested(&self, flow: &FlowKey) -> bool {
        self.is_handed_over(flow) || self.is_shared_address(flow)
    }

    /// True when the remote end of a flow has or had another holder.
    pub(super) fn is_handed_over(&self, flow: &FlowKey) -> bool {
        if flow.remote.is_placeholder() {
            return false;
        }
        self.directory.is_contested(ingest::ip(flow.remote)) && !self.is_of_service(flow)
            || self.has_several_peers(flow)
    }

    /// True when the remote end of a flow is a service's address.
    #[must_use]
    pub fn is_of_service(&self, flow: &FlowKey) -> bool {
        let address = ingest::ip(flow.remote);
        let is = |port, protocol| self.directory.service(address, port, protocol).is_some();
        server_port(flow).is_some_and(|port| is(port, PROTOCOL_TCP) || is(port, PROTOCOL_UDP))
    }

    /// The name of the remote end of a contested flow, for what it sent between two observations. Without a name it is as that
    /// of an address that no source knows.
    #[must_use]
    pub fn remote_during(&self, flow: &FlowKey, span: &Span) -> During<Remote> {
        let address = ingest::ip(flow.remote);
        // Several when they counted may have turned out to be of one workload.
        let is_of_peer = self.has_peer(flow) && !self.directory.is_contested(address);
        if is_of_peer || self.has_several_peers(flow) || self.is_shared_address(flow) {
            return self.peer_during(flow, span);
        }
        let Holder { entity, since } = match self.directory.holder_during(address, span) {
            During::One(holder) => holder,
            During::None => return During::None,
            During::Several => return During::Several,
        };
        // A server that is called has its address; clients call an address that is free, too.
        if flow.role == ROLE_CLIENT && since > Seconds::from(span.from.at).saturating_add(SKEW) {
            return During::Several;
        }
        let HolderRef::Pod(pod) = entity else { return During::One(Remote::plain(workload(&entity))) };
        let endpoint = |port| {
            let of = |protocol| self.directory.endpoint(address, port, protocol);
            of(PROTOCOL_TCP).or_else(|| of(PROTOCOL_UDP))
        };
        // An endpoint of another holder's was none of this one's.
        let endpoint = server_port(flow).and_then(endpoint).filter(|endpoint| endpoint.pod == Some(pod.name));
        let service = endpoint.and_then(|endpoint| endpoint.service.cloned());
        During::One(Remote { workload: workload(&entity), service, since: Some(since) })
    }

    /// The remote end of a contested flow where it has no name.
    #[must_use]
    pub fn remote_without_name(&self, flow: &FlowKey) -> Remote {
        self.nameless(flow, ingest::ip(flow.remote))
    }
}
