//! Connections within a network namespace: over loopback, or between two workloads of the host network. Each end is announced by
//! itself, with the same two addresses.
//!
//! In another namespace an address may be another one's, and is the name that operators have for it. What is translated on its
//! way has other addresses at its other end, and finds none.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, ROLE_CLIENT};

use super::directory::Mark;
use crate::ingest::{self, Own};

/// The most flows that are kept, with some 150 bytes each; further ones have no peers.
const MAX_FLOWS: usize = 8192;
/// The most local ends at one side of a link. The oldest goes first: it is gone, or one of so many that they have no common name.
const MAX_PEERS: usize = 8;

/// The connections of one client address to one server address and port, in one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Link {
    client: IpAddr,
    server: IpAddr,
    port: u16,
    protocol: u8,
    namespace: u32,
}

/// The local ends of a link by their roles, in the order of their announcements.
#[derive(Debug, Default)]
struct Ends {
    clients: Vec<Peer>,
    servers: Vec<Peer>,
}

/// A local end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// As [`FlowKey::local`].
    pub local: u64,
    /// When it was announced.
    pub since: Mark,
}

/// All links of flows in use.
#[derive(Debug, Default)]
pub struct Peers {
    flows: HashMap<FlowKey, Link>,
    links: HashMap<Link, Ends>,
    refused: u64,
}

impl Link {
    fn of(flow: &FlowKey, own: &Own) -> Option<Self> {
        let is_one_peer = ![Address::EXTERNAL, Address::ANY, Address::UNKNOWN].contains(&flow.remote);
        if !is_one_peer || flow.is_other() || flow.local & LOCAL_IS_NAMESPACE != 0 {
            return None;
        }
        let (own_address, remote) = (own.address, ingest::ip(flow.remote));
        let (client, server) =
            if flow.role == ROLE_CLIENT { (own_address, remote) } else { (remote, own_address) };
        let (port, protocol, namespace) = (flow.service_port, flow.protocol, own.namespace);
        Some(Self { client, server, port, protocol, namespace })
    }
}

impl Ends {
    fn of(&self, is_client: bool) -> &Vec<Peer> {
        if is_client { &self.clients } else { &self.servers }
    }
}

impl Peers {
    /// A flow is new, and this is its own address. True if its other end may have a new name.
    pub fn announce(&mut self, flow: &FlowKey, own: &Own, since: Mark) -> bool {
        if self.flows.len() >= MAX_FLOWS && !self.flows.contains_key(flow) {
            self.refused += 1;
            return false;
        }
        let Some(link) = Link::of(flow, own) else { return false };
        self.flows.insert(*flow, link);
        let ends = self.links.entry(link).or_default();
        let is_client = flow.role == ROLE_CLIENT;
        let own_side = if is_client { &mut ends.clients } else { &mut ends.servers };
        let local = flow.local;
        if own_side.last().is_some_and(|last| last.local == local) {
            return false;
        }
        own_side.retain(|peer| peer.local != local);
        if own_side.len() >= MAX_PEERS {
            own_side.remove(0);
        }
        own_side.push(Peer { local, since });
        !ends.of(!is_client).is_empty()
    }

    /// The other ends of a flow that are known, in the order in which they came; empty if there are none in its namespace.
    pub fn of(&self, flow: &FlowKey) -> &[Peer] {
        let ends = self.flows.get(flow).and_then(|link| self.links.get(link));
        ends.map_or(&[], |ends| ends.of(flow.role != ROLE_CLIENT))
    }

    /// The number of flows that are kept.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Flows that were not kept because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Drops all but the flows of these local and remote ends.
    pub fn retain(&mut self, locals: &HashSet<u64>, remotes: &HashSet<IpAddr>) {
        self.flows
            .retain(|flow, _| locals.contains(&flow.local) && remotes.contains(&ingest::ip(flow.remote)));
        let used: HashSet<Link> = self.flows.values().copied().collect();
        self.links.retain(|link, ends| {
            ends.clients.retain(|peer| locals.contains(&peer.local));
            ends.servers.retain(|peer| locals.contains(&peer.local));
            used.contains(link)
        });
    }
}
