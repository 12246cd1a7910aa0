//! Connections between two network namespaces of this node.
//!
//! The same addresses may be in use in several namespaces, so equal addresses at two ends prove nothing. Two namespaces are a pair,
//! for one client address and one server address, once
//!
//! - both have announced a connection with the same four addresses and ports at the same time, and no other has; or
//! - all connections of that path that the node has seen since the last reading were between these two: one end has opened as many
//!   as the other has accepted, as many are open, each has received every byte that the other has sent, and nothing else is
//!   connected by the same addresses and port. So connections are paired that are older than the agent, or than a server that took
//!   the address over.
//!
//! What else connects to the server under the address of a known client (masqueraded clients have that of their gateway) is found by
//! counting: a server that has accepted more connections than its known clients have opened has others, too.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use netcause_common::flow::{FlowKey, ROLE_CLIENT, TcpCounters};

use super::{Link, Path, Peer, Peers, Side};

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

/// An announcement of a connection.
#[derive(Clone, Copy, Debug)]
struct Seen {
    namespace: u32,
    is_client: bool,
    at: Duration,
}

/// Two namespaces whose workloads reach each other under these addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    client: u32,
    server: u32,
}

/// Which namespaces are paired.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: HashMap<Tuple, Vec<Seen>>,
    /// By the address of the client and of the server.
    proved: HashMap<(IpAddr, IpAddr), Vec<Pair>>,
}

/// The connections at one side of a link.
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
    /// It had some that may have been with others, before its other end was known.
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

    fn end_reading(&mut self) {
        (self.opened, self.sent_bytes, self.received_bytes) = (0, 0, 0);
    }

    fn is_active(&self) -> bool {
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
    pub(super) fn announce(&mut self, link: Link, is_client: bool, port: u16, at: Duration) {
        let tuple = (link.path, port);
        if port == 0 || self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&tuple) {
            return;
        }
        let seen = self.waiting.entry(tuple).or_default();
        if seen.len() <= MAX_EQUAL {
            seen.push(Seen { namespace: link.namespace, is_client, at });
        }
    }

    fn of(&self, path: &Path) -> &[Pair] {
        self.proved.get(&(path.client, path.server)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, link: &Link, is_client: bool) -> bool {
        self.of(&link.path).iter().any(|pair| pair.own(is_client) == link.namespace)
    }

    /// True if that is new.
    fn prove(&mut self, path: &Path, pair: Pair) -> bool {
        let proved = self.proved.entry((path.client, path.server)).or_default();
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
            let is_one = of(true).all(|seen| seen.namespace == client.namespace)
                && of(false).all(|seen| seen.namespace == server.namespace);
            let is_across = client.namespace != server.namespace && client.at.abs_diff(server.at) <= APART;
            let pair = Pair { client: client.namespace, server: server.namespace };
            (is_one && is_across && seen.len() <= MAX_EQUAL).then_some(pair)
        };
        self.waiting.iter().filter_map(|((path, _), seen)| Some((*path, pair(seen)?))).collect()
    }

    pub(super) fn retain(&mut self, used: &HashSet<Link>) {
        let used: HashSet<_> =
            used.iter().map(|Link { path, namespace }| (path.client, path.server, *namespace)).collect();
        self.proved.retain(|(client, server), pairs| {
            let is_used = |namespace| used.contains(&(*client, *server, namespace));
            pairs.retain(|pair| is_used(pair.client) && is_used(pair.server));
            !pairs.is_empty()
        });
    }
}

impl Pair {
    fn own(self, is_client: bool) -> u32 {
        if is_client { self.client } else { self.server }
    }
}

impl Peers {
    /// The other ends of a link in other network namespaces.
    pub(super) fn across(&self, link: &Link, is_client: bool) -> Vec<Peer> {
        let pairs = self.pairs.of(&link.path);
        let paired = pairs.iter().filter(|pair| pair.own(is_client) == link.namespace);
        let peers = |namespace| &self.side(link.path, namespace, !is_client).peers[..];
        let mut found: Vec<Peer> = paired.flat_map(|pair| peers(pair.own(!is_client))).copied().collect();
        if found.is_empty() {
            return found;
        }
        let places = self.places.get(&link.path).map_or(&[][..], Vec::as_slice);
        if places.len() > MAX_EQUAL {
            return Vec::new();
        }
        if is_client {
            // A server that nobody is proved to reach may be the one that this client reaches by now.
            let is_proved = |place| place == link.namespace || pairs.iter().any(|pair| pair.server == place);
            let others = places.iter().filter(|place| !is_proved(**place));
            found.extend(others.flat_map(|place| peers(*place)).map(|peer| Peer { local: None, ..*peer }));
        }
        found.sort_unstable_by_key(|peer| peer.since.order);
        found
    }

    fn side(&self, path: Path, namespace: u32, is_client: bool) -> &Side {
        static NONE: Side = Side::NONE;
        self.links.get(&Link { path, namespace }).map_or(&NONE, |ends| ends.of(is_client))
    }

    /// Takes what a flow has counted since the last reading.
    pub fn count(&mut self, flow: &FlowKey, delta: &TcpCounters) {
        let Some(link) = self.flows.get(flow) else { return };
        if let Some(ends) = self.links.get_mut(link) {
            ends.of_mut(flow.role == ROLE_CLIENT).connections.count(delta);
        }
    }

    /// True when a flow of a server has other clients than those that are known, or seems to until the next reading.
    pub fn has_others(&self, flow: &FlowKey) -> bool {
        flow.role != ROLE_CLIENT
            && self.is_across(flow)
            && self.flows.get(flow).and_then(|link| self.links.get(link)).is_some_and(|ends| {
                let Connections { ahead, has_others, .. } = ends.servers.connections;
                has_others || ahead > 0
            })
    }

    /// True when a flow had counted what may have been another end's, before that in another namespace was known.
    pub fn has_past(&self, flow: &FlowKey) -> bool {
        let ends = self.flows.get(flow).and_then(|link| self.links.get(link));
        ends.is_some_and(|ends| ends.of(flow.role == ROLE_CLIENT).connections.has_past)
    }

    /// Ends a reading: pairs namespaces, and compares what was opened with what was accepted. Returns the addresses whose names may
    /// have changed by that.
    pub fn settle(&mut self, now: Duration) -> HashSet<IpAddr> {
        let mut changed = HashSet::new();
        let announced = self.pairs.announced(now);
        let counted: Vec<_> =
            self.places.keys().filter_map(|path| Some((*path, self.counted(path)?))).collect();
        for (path, pair) in announced.into_iter().chain(counted) {
            if self.pairs.prove(&path, pair) {
                changed.extend([path.client, path.server]);
                self.remember_past(path, pair);
            }
        }
        let servers: Vec<_> = self.links.keys().filter(|link| self.pairs.has(link, false)).copied().collect();
        for link in servers {
            if self.balance(&link) {
                changed.insert(link.path.client);
            }
        }
        for ends in self.links.values_mut() {
            ends.clients.connections.end_reading();
            ends.servers.connections.end_reading();
        }
        changed
    }

    /// Two ends are a pair from now on: what one of them had counted before may have been with others.
    fn remember_past(&mut self, path: Path, pair: Pair) {
        let of = |namespace| Link { path, namespace };
        let began = self.side(path, pair.server, false).connections.began;
        if let Some(ends) = self.links.get_mut(&of(pair.client)) {
            let client = &mut ends.clients.connections;
            client.has_past = began.zip(client.began).is_some_and(|(server, client)| server > client + APART);
        }
        if let Some(ends) = self.links.get_mut(&of(pair.server)) {
            let server = &mut ends.servers.connections;
            server.has_past = server.total > server.opened.max(server.open.try_into().unwrap_or(0));
        }
    }

    /// The pair that all connections of a path are between, if they are.
    fn counted(&self, path: &Path) -> Option<Pair> {
        let places = self.places.get(path).filter(|places| places.len() <= MAX_EQUAL)?;
        let only = |is_client| {
            let side = |place: &u32| self.side(*path, *place, is_client).connections;
            let mut active = places.iter().filter(|place| side(place).is_active());
            let place = *active.next()?;
            active.next().is_none().then(|| (place, side(&place)))
        };
        let ((client, opened), (server, accepted)) = (only(true)?, only(false)?);
        let pair = Pair { client, server };
        // A server that has a client would have it among these, unless its two ends were read at different times.
        let is_free = !self.pairs.of(path).iter().any(|other| other.server == server && *other != pair);
        (client != server && is_free && opened.mirrors(&accepted)).then_some(pair)
    }

    /// Compares what a server has accepted with what its clients have opened. True when a difference has come or gone.
    fn balance(&mut self, link: &Link) -> bool {
        let clients = self.pairs.of(&link.path).iter().filter(|pair| pair.server == link.namespace);
        let opened: u64 =
            clients.map(|pair| self.side(link.path, pair.client, true).connections.opened).sum();
        let Some(ends) = self.links.get_mut(link) else { return false };
        let Connections { opened: accepted, ahead, has_others, .. } = &mut ends.servers.connections;
        let [opened, accepted] = [opened, *accepted].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let (before, had_others) = (*ahead, *has_others || *ahead > 0);
        // A client counts a connection before its server does, and one may be read after the other.
        *has_others |= before > opened;
        *ahead = (before + accepted - opened).max(-opened);
        had_others != (*has_others || *ahead > 0)
    }
}

impl Side {
    const NONE: Self = Self {
        peers: Vec::new(),
        connections: Connections {
            opened: 0,
            total: 0,
            open: 0,
            sent_bytes: 0,
            received_bytes: 0,
            port: 0,
            began: None,
            ahead: 0,
            has_others: false,
            has_past: false,
        },
    };
}
