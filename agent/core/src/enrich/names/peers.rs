//! Names the other end of a flow by its own socket, where that is in the same network namespace and no source names its address.

use std::net::IpAddr;

use netcause_common::flow::{FlowKey, ROLE_CLIENT};

use super::remote::server_port;
use super::{Names, Remote};
use crate::enrich::Workload;
use crate::enrich::directory::{During, Holder, HolderRef, Span};
use crate::enrich::peers::Peer;
use crate::ingest::{self, Own};

impl Names {
    /// A flow has begun, from this address of its own. True if the flows of its other end may have another name now.
    pub fn announced(&mut self, flow: &FlowKey, own: Own) -> bool {
        self.directory.report();
        let since = self.observed(None);
        let is_new = self.peers.announce(flow, &own, since);
        if is_new {
            self.changes.remote(own.address);
        }
        is_new
    }

    /// The other ends of a flow in its network namespace, if they name it: what a source says of an address is better, but for the
    /// name of a node.
    fn peers(&self, flow: &FlowKey) -> &[Peer] {
        let peers = self.peers.of(flow);
        if peers.is_empty() {
            return peers;
        }
        let address = ingest::ip(flow.remote);
        let is_named = !address.is_loopback()
            && self.at(address, server_port(flow)).is_some_and(|known| !self.is_node(address, &known));
        if is_named { &[] } else { peers }
    }

    /// True if this is the name of the node that has the address, not that of something on it.
    fn is_node(&self, address: IpAddr, known: &Remote) -> bool {
        let Some(Holder { entity: HolderRef::Node(node), .. }) = self.directory.holder(address, self.now)
        else {
            return false;
        };
        known.workload == Workload::plain(node.name)
    }

    /// The name of the other end of a flow, if that is in its network namespace: the last one that listened, or all clients.
    pub(super) fn peer(&self, flow: &FlowKey) -> Option<Workload> {
        let peers = self.peers(flow);
        if flow.role == ROLE_CLIENT { Some(self.local(peers.last()?.local)) } else { self.common(peers) }
    }

    /// True when a flow is named by the socket at its other end.
    #[must_use]
    pub fn has_peer(&self, flow: &FlowKey) -> bool {
        !self.peers(flow).is_empty()
    }

    /// True when the socket at the other end of a flow is or was one of several.
    pub(super) fn has_several_peers(&self, flow: &FlowKey) -> bool {
        let peers = self.peers(flow);
        peers.len() > 1 && self.common(peers) == Some(Workload::Several)
    }

    /// As [`Names::remote_during`], for a flow that [has several peers](Self::has_several_peers).
    pub(super) fn peer_during(&self, flow: &FlowKey, span: &Span) -> During<Remote> {
        let peers = self.peers(flow);
        let end = peers.partition_point(|peer| peer.since.order <= span.until.order);
        // One listens after the other; clients may be there all at once.
        let begin = match flow.role {
            ROLE_CLIENT => {
                peers.partition_point(|peer| peer.since.order <= span.from.order).saturating_sub(1)
            }
            _ => 0,
        };
        match self.common(peers.get(begin..end).unwrap_or_default()) {
            None => During::None,
            Some(Workload::Several) if flow.role == ROLE_CLIENT => During::Several,
            Some(workload) => During::One(Remote::plain(workload)),
        }
    }

    /// The name of all of them.
    fn common(&self, peers: &[Peer]) -> Option<Workload> {
        let mut names = peers.iter().map(|peer| self.local(peer.local));
        let first = names.next()?;
        Some(if names.all(|name| name == first) { first } else { Workload::Several })
    }
}
