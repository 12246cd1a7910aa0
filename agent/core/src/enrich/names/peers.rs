//! Names the other end of a flow by its own socket, where that is on this node and no source names its address.

use std::net::IpAddr;
use std::time::Duration;

use netcause_common::flow::{FlowKey, ROLE_CLIENT};

use super::remote::server_port;
use super::{Names, Remote};
use crate::enrich::Workload;
use crate::enrich::directory::{During, Holder, HolderRef, Span};
use crate::enrich::peers::{First, Peer};
use crate::ingest::{self, Own};

impl Names {
    /// A flow has begun, from this address of its own, with a connection of this client's port. True if the flows of its other
    /// end may have another name now.
    pub fn announced(&mut self, flow: &FlowKey, own: Own, client_port: u16, at: Duration) -> bool {
        self.directory.report();
        let since = self.observed(None);
        let is_new = self.peers.announce(flow, First { own, client_port, at, since });
        if is_new {
            self.changes.remote(own.address);
        }
        is_new
    }

    /// Ends a reading: finds out which ends in different network namespaces belong together.
    pub fn settle_peers(&mut self) {
        for address in self.peers.settle(self.at) {
            self.changes.remote(address);
        }
    }

    /// The other ends of a flow on this node, if they name it: what a source says of an address is better, but for the name of a
    /// node.
    fn peers(&self, flow: &FlowKey) -> Vec<Peer> {
        if flow.remote.is_placeholder() {
            return Vec::new();
        }
        let peers = self.peers.of(flow);
        if peers.is_empty() {
            return peers;
        }
        let address = ingest::ip(flow.remote);
        let is_named = !address.is_loopback()
            && self.at(address, server_port(flow)).is_some_and(|known| !self.is_node(address, &known));
        if is_named { Vec::new() } else { peers }
    }

    /// True if this is the name of the node that has the address, not that of something on it.
    fn is_node(&self, address: IpAddr, known: &Remote) -> bool {
        let Some(Holder { entity: HolderRef::Node(node), .. }) = self.directory.holder(address, self.now)
        else {
            return false;
        };
        known.workload == Workload::plain(node.name)
    }

    /// The name of the other end of a flow, if that is on this node: the last one that listened, or all clients. None of several
    /// servers that get the datagrams of a client.
    pub(super) fn peer(&self, flow: &FlowKey) -> Option<Workload> {
        let peers = self.peers(flow);
        if self.peers.is_shared(flow) {
            return self.common(flow, &peers).filter(|server| *server != Workload::Several);
        }
        if flow.role == ROLE_CLIENT {
            return Some(self.peer_server(flow, peers.last()?.local?));
        }
        let clients = self.common(flow, &peers).filter(|_| !self.peers.has_others(flow))?;
        (clients != Workload::Several || self.of_node(flow).is_none()).then_some(clients)
    }

    /// The name of the node that has the address of several clients: it says more.
    fn of_node(&self, flow: &FlowKey) -> Option<Remote> {
        self.at(ingest::ip(flow.remote), None)
    }

    /// True when a flow is named by the socket at its other end, which is the one of all that it has counted.
    #[must_use]
    pub fn has_late_peer(&self, flow: &FlowKey) -> bool {
        self.has_peer(flow) && !self.is_handed_over(flow) && !self.peers.has_past(flow)
    }

    /// True when a flow is named by the socket at its other end.
    #[must_use]
    pub fn has_peer(&self, flow: &FlowKey) -> bool {
        !self.peers(flow).is_empty()
    }

    /// True when the socket at the other end of a flow is or was one of several.
    pub(super) fn has_several_peers(&self, flow: &FlowKey) -> bool {
        let peers = self.peers(flow);
        peers.len() > 1 && self.common(flow, &peers) == Some(Workload::Several)
    }

    /// True when connections may count for a flow of a server that its known client has not opened: who it was is decided when
    /// both ends were read.
    pub(super) fn is_shared_address(&self, flow: &FlowKey) -> bool {
        flow.role != ROLE_CLIENT && self.has_peer(flow) && self.peers.is_across(flow)
    }

    /// As [`Names::remote_during`], for a flow that [has several peers](Self::has_several_peers) or [is at a shared
    /// address](Self::is_shared_address).
    pub(super) fn peer_during(&self, flow: &FlowKey, span: &Span) -> During<Remote> {
        if self.peers.has_others(flow) {
            return self.of_node(flow).map_or(During::Several, During::One);
        }
        let peers = self.peers(flow);
        let end = peers.partition_point(|peer| peer.since.order <= span.until.order);
        // One listens after the other; clients may be there all at once.
        let begin = match flow.role {
            ROLE_CLIENT if !self.peers.is_shared(flow) => {
                peers.partition_point(|peer| peer.since.order <= span.from.order).saturating_sub(1)
            }
            _ => 0,
        };
        match self.common(flow, peers.get(begin..end).unwrap_or_default()) {
            None => During::None,
            Some(Workload::Several) if flow.role == ROLE_CLIENT => During::Several,
            Some(Workload::Several) => {
                During::One(self.of_node(flow).unwrap_or_else(|| Remote::plain(Workload::Several)))
            }
            Some(workload) => During::One(Remote::plain(workload)),
        }
    }

    /// The name of a server at the other end of a client's flow.
    fn peer_server(&self, flow: &FlowKey, local: u64) -> Workload {
        self.server_of(flow.protocol, local, flow.service_port)
    }

    /// The name of all of these other ends of a flow.
    fn common(&self, flow: &FlowKey, peers: &[Peer]) -> Option<Workload> {
        let name = |local| match flow.role {
            ROLE_CLIENT => self.peer_server(flow, local),
            _ => self.local(local),
        };
        let mut names = peers.iter().map(|peer| peer.local.map(name));
        let first = names.next()?;
        Some(if names.all(|name| name == first) {
            first.unwrap_or(Workload::Several)
        } else {
            Workload::Several
        })
    }
}
