//! Flows whose two ends are both on this node: over loopback, between two workloads of the host network, or between network
//! namespaces. Each end is announced by itself, with the same two addresses: those of the first connection, or of the first
//! datagram.
//!
//! Within a network namespace that is enough. In another one the same addresses may be those of others, so that namespaces are
//! paired only by proof ([`crossing`]). What is translated on its way has other addresses at its other end, and finds none.
//!
//! All clients of a DNS server are one flow at its end, so that it is found by its own address alone. It has announced the first one
//! that it was asked at, and is not found at others.

mod crossing;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_CLIENT};

use super::directory::Mark;
use crate::ingest::{self, Own};
use crossing::{Connections, Pairs, Place};

/// The most flows that are kept, with some 250 bytes each; further ones have no peers.
const MAX_FLOWS: usize = 8192;
/// Those of UDP and DNS leave as much to TCP.
const MAX_FLOWS_WITH_DATAGRAMS: usize = MAX_FLOWS / 2;
/// The most local ends at one side of a link. The oldest goes first: it is gone, or one of so many that they have no common name.
const MAX_PEERS: usize = 8;

/// The connections of one client address to one server address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Path {
    /// Of DNS, all clients: `::`.
    client: IpAddr,
    server: IpAddr,
    port: u16,
    protocol: u8,
}

impl Path {
    fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.client, self.server)
    }

    /// Whether a listener takes over from the one before, as those of TCP do.
    fn is_tcp(&self) -> bool {
        self.protocol == PROTOCOL_TCP
    }
}

/// A path as sockets in one network namespace have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Link {
    path: Path,
    namespace: u32,
}

/// The ends of a link by their roles.
#[derive(Debug, Default)]
struct Ends {
    clients: Side,
    servers: Side,
    /// An earlier server of datagrams went on when the last one had begun: who gets which is not known.
    is_shared: bool,
}

/// One side of a link: its local ends, in the order of their announcements.
#[derive(Debug, Default)]
struct Side(Vec<Member>);

/// A local end at one side of a link.
#[derive(Clone, Copy, Debug)]
struct Member {
    local: u64,
    since: Mark,
    /// The same by the kernel's monotonic clock.
    at: Duration,
    connections: Connections,
}

/// A local end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// As [`FlowKey::local`]; `None` where it is not proved that it is the other end.
    pub local: Option<u64>,
    /// When it was announced.
    pub since: Mark,
}

/// What is announced of a flow's first connection.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// The flow's own end.
    pub own: Own,
    /// The client's port; 0 when unknown.
    pub client_port: u16,
    /// When it was announced, by the kernel's monotonic clock.
    pub at: Duration,
    /// The same, in the order of what sources report.
    pub since: Mark,
}

/// All links of flows in use.
#[derive(Debug, Default)]
pub struct Peers {
    flows: HashMap<FlowKey, Link>,
    links: HashMap<Link, Ends>,
    /// The network namespaces that have ends of a path.
    places: HashMap<Path, Vec<u32>>,
    pairs: Pairs,
    /// The end of the last reading.
    read_at: Duration,
    refused: u64,
}

impl Link {
    fn of(flow: &FlowKey, own: &Own) -> Option<Self> {
        let is_dns = flow.protocol == PROTOCOL_DNS;
        let is_one_peer = !flow.remote.is_placeholder() || is_dns && flow.remote == Address::ANY;
        if !is_one_peer || flow.is_other() || flow.local & LOCAL_IS_NAMESPACE != 0 || own.namespace == 0 {
            return None;
        }
        let (own_address, remote) = (own.address, ingest::ip(flow.remote));
        let (client, server) =
            if flow.role == ROLE_CLIENT { (own_address, remote) } else { (remote, own_address) };
        // Several sockets may get one datagram.
        if server.is_multicast() || server == Ipv4Addr::BROADCAST {
            return None;
        }
        let client = if is_dns { Ipv6Addr::UNSPECIFIED.into() } else { client };
        let path = Path { client, server, port: flow.service_port, protocol: flow.protocol };
        Some(Self { path, namespace: own.namespace })
    }
}

impl Ends {
    fn of(&self, is_client: bool) -> &Side {
        if is_client { &self.clients } else { &self.servers }
    }

    fn of_mut(&mut self, is_client: bool) -> &mut Side {
        if is_client { &mut self.clients } else { &mut self.servers }
    }

    /// True when a server has counted since the last reading though another one had begun before that.
    fn have_former_server(&self, read_at: Duration) -> bool {
        let Some((last, former)) = self.servers.0.split_last() else { return false };
        last.at <= read_at && former.iter().any(|server| server.connections.is_active())
    }
}

impl Side {
    fn get(&self, local: u64) -> Option<&Member> {
        self.0.iter().find(|member| member.local == local)
    }

    fn get_mut(&mut self, local: u64) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.local == local)
    }
}

impl Member {
    fn peer(&self) -> Peer {
        Peer { local: Some(self.local), since: self.since }
    }
}

impl Peers {
    /// A flow is new. True if its other end may have a new name.
    pub fn announce(&mut self, flow: &FlowKey, first: First) -> bool {
        let Some(link) = Link::of(flow, &first.own) else { return false };
        let limit = if link.path.is_tcp() { MAX_FLOWS } else { MAX_FLOWS_WITH_DATAGRAMS };
        if self.flows.len() >= limit && !self.flows.contains_key(flow) {
            self.refused += 1;
            return false;
        }
        self.flows.insert(*flow, link);
        let is_client = flow.role == ROLE_CLIENT;
        let place = Place { namespace: link.namespace, local: flow.local };
        self.pairs.announce((link.path, first.client_port), place, is_client, first.at);
        let places = self.places.entry(link.path).or_default();
        if !places.contains(&link.namespace) {
            places.push(link.namespace);
        }
        let Side(members) = self.links.entry(link).or_default().of_mut(is_client);
        if let Some(last) = members.last_mut().filter(|last| last.local == flow.local) {
            last.at = first.at;
            last.connections.announce(first.client_port, first.at);
            return false;
        }
        let known = members.iter().position(|member| member.local == flow.local);
        let mut connections = known.map(|at| members.remove(at).connections).unwrap_or_default();
        connections.announce(first.client_port, first.at);
        if members.len() >= MAX_PEERS {
            members.remove(0);
        }
        members.push(Member { local: flow.local, since: first.since, at: first.at, connections });
        let has_end = |namespace: &u32| {
            let ends = self.links.get(&Link { namespace: *namespace, ..link });
            ends.is_some_and(|ends| !ends.of(!is_client).0.is_empty())
        };
        places.iter().any(has_end)
    }

    /// The other ends of a flow that are known, in the order in which they came; empty if there are none on this node, or none that
    /// is proved.
    pub fn of(&self, flow: &FlowKey) -> Vec<Peer> {
        let Some(link) = self.flows.get(flow) else { return Vec::new() };
        let is_client = flow.role == ROLE_CLIENT;
        match self.within(link, is_client) {
            [] => self.across(link, flow.local, is_client),
            members => members.iter().map(Member::peer).collect(),
        }
    }

    /// True when several servers get the datagrams of a client's flow.
    pub fn is_shared(&self, flow: &FlowKey) -> bool {
        let ends = self.flows.get(flow).and_then(|link| self.links.get(link));
        flow.role == ROLE_CLIENT && ends.is_some_and(|ends| ends.is_shared)
    }

    /// True when the other end of a flow is in another network namespace.
    pub fn is_across(&self, flow: &FlowKey) -> bool {
        let is_client = flow.role == ROLE_CLIENT;
        self.flows.get(flow).is_some_and(|link| {
            let place = Place { namespace: link.namespace, local: flow.local };
            self.within(link, is_client).is_empty() && self.pairs.has(&link.path, place, is_client)
        })
    }

    /// The other ends of a link in its own network namespace.
    fn within(&self, link: &Link, is_client: bool) -> &[Member] {
        self.links.get(link).map_or(&[], |ends| &ends.of(!is_client).0)
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
            for side in [&mut ends.clients, &mut ends.servers] {
                side.0.retain(|member| locals.contains(&member.local));
            }
            used.contains(link)
        });
        self.places.retain(|path, places| {
            places.retain(|place| used.contains(&Link { path: *path, namespace: *place }));
            !places.is_empty()
        });
        let place = |(flow, link): (&FlowKey, &Link)| {
            (link.path.addresses(), Place { namespace: link.namespace, local: flow.local })
        };
        self.pairs.retain(&self.flows.iter().map(place).collect());
    }
}
