//! The node at the other end of a flow.

use std::net::IpAddr;

use netcause_common::endpoint::Address;
use netcause_common::flow::FlowKey;

use super::Names;
use crate::enrich::directory::{During, Holder, HolderRef, NodeRef, Span};
use crate::ingest;

/// The node at the other end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerNode<'a> {
    /// It is known.
    Known(NodeRef<'a>),
    /// One of the cluster, and it is not known which: a service may lead to pods on several, a pod may not be on a node yet, and
    /// what is folded has several peers.
    Unknown,
    /// None: the other end is outside of the cluster, or it is the same pod.
    Outside,
}

impl Names {
    /// The node at the other end of a flow whose remote address is not [contested](Self::is_contested).
    #[must_use]
    pub fn peer_node(&self, flow: &FlowKey) -> PeerNode<'_> {
        self.peer_node_by(flow, |address| match self.directory.holder(address, self.now) {
            Some(holder) => of_holder(&holder),
            None => PeerNode::Outside,
        })
    }

    /// The node at the other end of a flow with a contested remote address, for what it sent between two observations.
    #[must_use]
    pub fn peer_node_during(&self, flow: &FlowKey, span: &Span) -> PeerNode<'_> {
        self.peer_node_by(flow, |address| match self.directory.holder_during(address, span) {
            During::One(holder) => of_holder(&holder),
            During::Several => PeerNode::Unknown,
            During::None => PeerNode::Outside,
        })
    }

    fn peer_node_by<'a>(&'a self, flow: &FlowKey, at: impl Fn(IpAddr) -> PeerNode<'a>) -> PeerNode<'a> {
        if flow.is_other() || [Address::OTHER, Address::UNKNOWN].contains(&flow.remote) {
            return PeerNode::Unknown;
        }
        let address = ingest::ip(flow.remote);
        if flow.remote.is_placeholder() || address.is_loopback() {
            return PeerNode::Outside;
        }
        if self.is_of_service(flow) { PeerNode::Unknown } else { at(address) }
    }
}

fn of_holder<'a>(holder: &Holder<'a>) -> PeerNode<'a> {
    match holder.entity {
        HolderRef::Pod(pod) => pod.node.map_or(PeerNode::Unknown, PeerNode::Known),
        HolderRef::Node(node) => PeerNode::Known(node),
    }
}
