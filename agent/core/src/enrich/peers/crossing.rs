//! Connections between two network namespaces of this node.
//!
//! The same addresses may be in use in several namespaces, so equal addresses at two ends prove nothing. Nor does the number of a
//! namespace prove that it is still the same one: the kernel gives it to the next. Two local ends are a pair, for one client address
//! and one server address, once
//!
//! - both have announced a connection with the same four addresses and ports at the same time, and no other has; or
//! - all connections of that path that the node has seen since the last reading were between these two: one end has opened as many
//!   as the other has accepted, as many are open, each has received every byte that the other has sent, and nothing else is
//!   connected by the same addresses and port. So connections are paired that are older than the agent, or than a server that took
//!   the address over.
//!
//! Datagrams are counted as connections are, those that the client has sent and the server has received. Periodic ones are equal
//! by chance, so that they prove a pair by their announcements alone. Of DNS it is the other way round, since a server announces all its
//! clients once: those that ask one address, in whatever namespaces, are paired with the one server that has been asked as much.
//!
//! What else connects to the server under the address of a known client (masqueraded clients have that of their gateway) is found by
//! counting: a server that has accepted more connections than its known clients have opened has others, too.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::flow::{FlowKey, PROTOCOL_UDP, ROLE_CLIENT, TcpCounters, UdpCounters};

use super::{Link, Member, Path, Peer, Peers};

/// Two announcements of one connection are no further apart: the SYN-ACK may be lost some times.
const APART: Duration = Duration::from_secs(10);
/// How long an announcement waits for that of its other end.
const KEPT: Duration = Duration::from_secs(60);
/// The most connections that wait, with some 150 bytes each; further ones prove nothing.
const MAX_WAITING: usize = 4096;
/// The most announcements of one connection, and of pairs between the same two addresses. More prove nothing.
const MAX_EQUAL: usize = 64;

/// A connection: its path, and the port of its client.
type Tuple = (Path, u16);

/// A local end in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub namespace: u32,
    /// As [`FlowKey::local`].
    pub local: u64,
}

/// An announcement of a connection.
#[derive(Clone, Copy, Debug)]
struct Seen {
    place: Place,
    is_client: bool,
    at: Duration,
}

/// Two ends that reach each other under these addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    client: Place,
    server: Place,
}

/// Which ends are paired.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: HashMap<Tuple, Vec<Seen>>,
    /// By the address of the client and of the server.
    proved: HashMap<(IpAddr, IpAddr), Vec<Pair>>,
}

/// The connections of a local end at one side of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connections {
    /// Opened since the last reading, and ever.
    opened: u64,
    total: u64,
    open: i64,
    /// Since the last reading.
    sent_bytes: u64,
    received_bytes: u64,
    /// The client's port in the connection announced last; 0 when unknown.
    port: u16,
    /// When the first one was announced.
    began: Option<Duration>,
    /// At a server: how many more it has accepted than its known clients have opened.
    ahead: i64,
    has_others: bool,
    /// What is counted are datagrams. Some are always on their way while the tables are read.
    is_of_datagrams: bool,
    /// It had some that may have been with others before its other end was known.
    has_past: bool,
}

impl Connections {
    pub(super) fn announce(&mut self, port: u16, at: Duration) {
        self.port = port;
        self.began.get_or_insert(at);
    }

    fn count(&mut self, delta: &TcpCounters) {
        self.opened += delta.opened;
        self.total += delta.opened.max(delta.open.try_into().unwrap_or(0));
        self.open += delta.open;
        self.sent_bytes += delta.sent_bytes;
        self.received_bytes += delta.received_bytes;
    }

    fn count_datagrams(&mut self, delta: &UdpCounters, is_client: bool) {
        let asked = if is_client { delta.sent_datagrams } else { delta.received_datagrams };
        self.opened += asked;
        self.total += asked;
        self.sent_bytes += delta.sent_bytes;
        self.received_bytes += delta.received_bytes;
        self.is_of_datagrams = true;
    }

    /// Those of two ends.
    fn and(self, other: Self) -> Self {
        Self {
            opened: self.opened + other.opened,
            total: self.total + other.total,
            open: self.open + other.open,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            ..Self::default()
        }
    }

    fn end_reading(&mut self) {
        (self.opened, self.sent_bytes, self.received_bytes) = (0, 0, 0);
    }

    fn has_others(&self) -> bool {
        self.has_others || self.ahead > 0 && !self.is_of_datagrams
    }

    pub(super) fn is_active(&self) -> bool {
        self.opened > 0 || self.open > 0
    }

    /// True when these must be the connections of the other side. Without bytes, numbers may be equal by chance.
    fn mirrors(&self, other: &Self) -> bool {
        let is_one_of_each = self.total.max(other.total) == 1 && self.port != 0 && other.port != 0;
        let sent = (self.sent_bytes, self.received_bytes);
        sent != (0, 0)
            && sent == (other.received_bytes, other.sent_bytes)
            && (self.opened, self.open) == (other.opened, other.open)
            && (!is_one_of_each || self.port == other.port)
    }
}

impl Pairs {
    pub(super) fn announce(&mut self, tuple: Tuple, place: Place, is_client: bool, at: Duration) {
        let (path, port) = tuple;
        let is_proof = port != 0 && path.protocol != PROTOCOL_DNS && !path.server.is_loopback();
        if !is_proof || self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&tuple) {
            return;
        }
        let seen = self.waiting.entry(tuple).or_default();
        if seen.len() <= MAX_EQUAL {
            seen.push(Seen { place, is_client, at });
        }
    }

    fn of(&self, path: &Path) -> &[Pair] {
        self.proved.get(&path.addresses()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, path: &Path, place: Place, is_client: bool) -> bool {
        self.of(path).iter().any(|pair| pair.own(is_client) == place)
    }

    /// True if that is new.
    fn prove(&mut self, path: &Path, pair: Pair) -> bool {
        let proved = self.proved.entry(path.addresses()).or_default();
        if proved.contains(&pair) {
            return false;
        }
        if proved.len() >= MAX_EQUAL {
            proved.remove(0);
        }
        proved.push(pair);
        true
    }

    /// The pairs that announcements prove.
    fn announced(&mut self, now: Duration) -> Vec<(Path, Pair)> {
        self.waiting.retain(|_, seen| {
            seen.retain(|seen| now.saturating_sub(seen.at) < KEPT);
            !seen.is_empty()
        });
        let pair = |seen: &Vec<Seen>| {
            let of = |is_client| seen.iter().filter(move |seen| seen.is_client == is_client);
            let (client, server) = (of(true).next()?, of(false).next()?);
            let is_one = of(true).all(|seen| seen.place == client.place)
                && of(false).all(|seen| seen.place == server.place);
            let pair = Pair { client: client.place, server: server.place };
            let is_at_once = client.at.abs_diff(server.at) <= APART;
            (is_one && is_at_once && pair.is_across() && seen.len() <= MAX_EQUAL).then_some(pair)
        };
        self.waiting.iter().filter_map(|((path, _), seen)| Some((*path, pair(seen)?))).collect()
    }

    /// Drops all but those of these ends, each with the addresses of a client and a server.
    pub(super) fn retain(&mut self, used: &HashSet<((IpAddr, IpAddr), Place)>) {
        self.proved.retain(|addresses, pairs| {
            let is_used = |place| used.contains(&(*addresses, place));
            pairs.retain(|pair| is_used(pair.client) && is_used(pair.server));
            !pairs.is_empty()
        });
    }
}

impl Pair {
    fn own(self, is_client: bool) -> Place {
        if is_client { self.client } else { self.server }
    }

    fn is_across(self) -> bool {
        self.client.namespace != self.server.namespace
    }
}

impl Peers {
    /// The other ends of a local end in other network namespaces.
    pub(super) fn across(&self, link: &Link, local: u64, is_client: bool) -> Vec<Peer> {
        let (pairs, own) = (self.pairs.of(&link.path), Place { namespace: link.namespace, local });
        let others = pairs.iter().filter(|pair| pair.own(is_client) == own).map(|pair| pair.own(!is_client));
        let mut found: Vec<Peer> =
            others.filter_map(|place| Some(self.member(&link.path, place, !is_client)?.peer())).collect();
        if found.is_empty() {
            return found;
        }
        if self.places.get(&link.path).is_none_or(|places| places.len() > MAX_EQUAL) {
            return Vec::new();
        }
        if is_client {
            // A server that nobody is proved to reach may be the one that this client reaches by now.
            let is_proved = |place| pairs.iter().any(|pair| pair.server == place);
            let servers = self.members(link.path, false).filter(|(place, _)| !is_proved(*place));
            found.extend(servers.map(|(_, server)| Peer { local: None, since: server.since }));
        }
        found.sort_unstable_by_key(|peer| peer.since.order);
        found
    }

    /// All local ends at one side of a path.
    fn members(&self, path: Path, is_client: bool) -> impl Iterator<Item = (Place, &Member)> {
        let namespaces = self.places.get(&path).map_or(&[][..], Vec::as_slice);
        namespaces.iter().flat_map(move |namespace| {
            let ends = self.links.get(&Link { path, namespace: *namespace });
            let members = ends.map_or(&[][..], |ends| &ends.of(is_client).0);
            members.iter().map(|member| (Place { namespace: *namespace, local: member.local }, member))
        })
    }

    fn member(&self, path: &Path, place: Place, is_client: bool) -> Option<&Member> {
        let ends = self.links.get(&Link { path: *path, namespace: place.namespace })?;
        ends.of(is_client).get(place.local)
    }

    fn connections_mut(&mut self, path: &Path, place: Place, is_client: bool) -> Option<&mut Connections> {
        let ends = self.links.get_mut(&Link { path: *path, namespace: place.namespace })?;
        Some(&mut ends.of_mut(is_client).get_mut(place.local)?.connections)
    }

    fn connections(&self, flow: &FlowKey) -> Option<&Connections> {
        let ends = self.links.get(self.flows.get(flow)?)?;
        Some(&ends.of(flow.role == ROLE_CLIENT).get(flow.local)?.connections)
    }

    /// Takes what a flow has counted since the last reading.
    pub fn count(&mut self, flow: &FlowKey, delta: &TcpCounters) {
        let Some(link) = self.flows.get(flow) else { return };
        if let Some(ends) = self.links.get_mut(link)
            && let Some(member) = ends.of_mut(flow.role == ROLE_CLIENT).get_mut(flow.local)
        {
            member.connections.count(delta);
        }
    }

    /// As [`Self::count`], of a flow of datagrams.
    pub fn count_datagrams(&mut self, flow: &FlowKey, delta: &UdpCounters) {
        let Some(link) = self.flows.get(flow) else { return };
        let is_client = flow.role == ROLE_CLIENT;
        if let Some(ends) = self.links.get_mut(link)
            && let Some(member) = ends.of_mut(is_client).get_mut(flow.local)
        {
            member.connections.count_datagrams(delta, is_client);
        }
    }

    /// True when a flow of a server has other clients than those that are known, or seems to until the next reading.
    pub fn has_others(&self, flow: &FlowKey) -> bool {
        flow.role != ROLE_CLIENT
            && self.is_across(flow)
            && self.connections(flow).is_some_and(Connections::has_others)
    }

    /// True when a flow had counted what may have been another end's, before that in another namespace was known.
    pub fn has_past(&self, flow: &FlowKey) -> bool {
        self.connections(flow).is_some_and(|connections| connections.has_past)
    }

    /// Ends a reading: pairs ends, and compares what was opened with what was accepted. Returns the addresses whose names may
    /// have changed by that.
    pub fn settle(&mut self, now: Duration) -> HashSet<IpAddr> {
        let mut changed = HashSet::new();
        let announced = self.pairs.announced(now);
        let counted = self.places.keys().flat_map(|path| {
            let pairs = self.counted(path).into_iter();
            pairs.map(move |pair| (*path, pair))
        });
        let counted: Vec<_> = counted.collect();
        for (path, pair) in announced.into_iter().chain(counted) {
            if self.pairs.prove(&path, pair) {
                changed.extend([path.client, path.server]);
                self.remember_past(&path, pair);
            }
        }
        let servers = self.places.keys().flat_map(|path| {
            let servers = self.members(*path, false).map(|(place, _)| place);
            servers.filter(|place| self.pairs.has(path, *place, false)).map(|place| (*path, place))
        });
        let servers: Vec<_> = servers.collect();
        for (path, place) in servers {
            if self.balance(&path, place) {
                changed.insert(path.client);
            }
        }
        for (link, ends) in &mut self.links {
            if !link.path.is_tcp() && !ends.is_shared && ends.have_former_server(self.read_at) {
                ends.is_shared = true;
                changed.insert(link.path.server);
            }
            for member in ends.clients.0.iter_mut().chain(&mut ends.servers.0) {
                member.connections.end_reading();
            }
        }
        self.read_at = now;
        changed
    }

    /// Two ends are a pair from now on: what one of them had counted before may have been with others.
    fn remember_past(&mut self, path: &Path, pair: Pair) {
        let began = self.member(path, pair.server, false).and_then(|server| server.connections.began);
        if let Some(client) = self.connections_mut(path, pair.client, true) {
            client.has_past = began.zip(client.began).is_some_and(|(server, client)| server > client + APART);
        }
        if let Some(server) = self.connections_mut(path, pair.server, false) {
            server.has_past = server.total > server.opened.max(server.open.try_into().unwrap_or(0));
        }
    }

    /// The pairs that all connections of a path are between, if those are one server's and of clients in one namespace.
    fn counted(&self, path: &Path) -> Vec<Pair> {
        let is_proof = path.protocol != PROTOCOL_UDP && !path.server.is_loopback();
        let places = self.places.get(path).map_or(0, Vec::len);
        if !is_proof || !(2..=MAX_EQUAL).contains(&places) {
            return Vec::new();
        }
        let active = |is_client| {
            let members = self.members(*path, is_client);
            members.filter(|(_, member)| member.connections.is_active()).collect::<Vec<_>>()
        };
        let (clients, servers) = (active(true), active(false));
        let ([(first, _), ..], [(server, accepted)]) = (&clients[..], &servers[..]) else {
            return Vec::new();
        };
        // A server that has clients elsewhere would have them among these, unless its two ends were read at different times.
        // Those of a DNS server ask from everywhere.
        let is_elsewhere =
            |client: &Place| client.namespace != first.namespace && path.protocol != PROTOCOL_DNS;
        let mut known = self.pairs.of(path).iter().filter(|pair| pair.server == *server);
        if clients.iter().any(|(place, _)| is_elsewhere(place))
            || known.any(|pair| is_elsewhere(&pair.client))
        {
            return Vec::new();
        }
        let opened = clients.iter().map(|(_, client)| client.connections).reduce(Connections::and);
        if !opened.is_some_and(|all| all.mirrors(&accepted.connections)) {
            return Vec::new();
        }
        let pairs = clients.iter().map(|(client, _)| Pair { client: *client, server: *server });
        pairs.filter(|pair| pair.is_across()).collect()
    }

    /// Compares what a server has accepted with what its clients have opened. True when a difference has come or gone.
    fn balance(&mut self, path: &Path, place: Place) -> bool {
        let clients = self.pairs.of(path).iter().filter(|pair| pair.server == place);
        let clients = clients.filter_map(|pair| self.member(path, pair.client, true));
        let opened: u64 = clients.map(|client| client.connections.opened).sum();
        let Some(server) = self.connections_mut(path, place, false) else { return false };
        let [opened, accepted] =
            [opened, server.opened].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let had_others = server.has_others();
        // A client counts a connection before its server does, and one may be read after the other.
        server.has_others |= server.ahead > opened;
        server.ahead = server.ahead.saturating_add(accepted).saturating_sub(opened).max(-opened);
        had_others != server.has_others()
    }
}
