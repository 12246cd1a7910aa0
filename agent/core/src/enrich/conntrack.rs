//! Finds the backends of Services in the kernel's connection tracking (conntrack) table.
//!
//! The table knows them where the kernel rewrites the destination of packets: kube-proxy in its iptables, nftables and IPVS
//! modes, and anything else that does DNAT. It is the table of the network namespace that the agent runs in: the node's,
//! for a DaemonSet with `hostNetwork`. Where sockets are rewritten instead (Cilium's socket load balancing), a flow's remote
//! address is the backend's already, and no lookup is needed.
//!
//! [`Conntrack`] has no clock and no socket. [`Conntrack::plan`] returns the next lookups; the daemon does them over netlink
//! and passes the outcome to [`Conntrack::handle`]. There are two kinds, chosen by cost (`ctnetlink_get_conntrack` and
//! `ctnetlink_dump_table`, net/netfilter/nf_conntrack_netlink.c; measured on 6.18 with 262 144 buckets and 50 000 entries):
//!
//! - **One connection**, if its client's address and port are known: one hash lookup, 4 µs. It is done when the connection is
//!   new, because the table may be read only after it has ended. It does not show where other connections go. So it never
//!   names a backend alone: a service of two workloads would get the name of one.
//! - **The whole table** otherwise: 75 ms in messages of 0.2 ms each, for all queries at once. It is read so seldom that it
//!   takes at most 0.5 % of one processor. Since 5.8 the kernel can filter the dump, which takes a quarter of the time, but in
//!   one piece of 18 ms in which that processor handles no packet; so the filter is not used. (For IPv6 it would also drop
//!   just the entries that match: `ctnetlink_filter_match_tuple` compares the wrong way round.) The table is in the order of a
//!   hash, so a dump that is cut at the limit is a random sample.
//!
//! Needs CAP_NET_ADMIN in the user namespace that owns the network namespace. Nothing is changed in the kernel; the first
//! lookup may load the module `nf_conntrack_netlink`.
//!
//! Memory: at most [`MAX_QUERIES`] queries of some 250 bytes with their backends, 1 MiB.

mod failure;
mod pass;
mod query_state;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use failure::Failure;
pub use pass::{Outcome, Pass, QueryIndex, Tally, Tracked};
pub use query_state::Backend;
use query_state::QueryState;

use crate::token_bucket::TokenBucket;

/// The most queries that are kept. Further ones are refused until others have expired after `IDLE`.
pub const MAX_QUERIES: usize = 4096;
/// The most backends that are kept of one query: those that were seen last.
pub const MAX_BACKENDS: usize = 16;
/// The most connections that wait to be looked up.
const MAX_WAITING: usize = 256;
/// The most connections that are looked up in one pass.
const MAX_IN_PASS: usize = 64;
/// Connections that may be looked up at once, and the time until one more may be.
const CONNECTIONS_AT_ONCE: u32 = 100;
const CONNECTION_INTERVAL: Duration = Duration::from_millis(20);
/// The share of one processor that dumps of the table may take.
const SHARE: f64 = 0.005;
/// The shortest time between two dumps, however small the table is.
const LEAST_GAP: Duration = Duration::from_secs(2);
/// The longest time between two dumps, however large the table is.
const LARGEST_GAP: Duration = Duration::from_secs(300);
/// The longest back-off of a query with backends. It starts at [`LEAST_BACK_OFF`] and doubles while the backends stay the same.
const REFRESH: Duration = Duration::from_secs(60);
/// The shortest back-off of a query; it doubles at every lookup.
const LEAST_BACK_OFF: Duration = Duration::from_secs(5);
/// The longest back-off of a query without backends, and after a failure.
const LARGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// How long a backend is kept after its last connection was seen. The kernel drops a closed connection's entry after two
/// minutes, and a flow is shown for longer.
const KEEP: Duration = Duration::from_secs(600);
/// A query is dropped when no interest in it was registered for so long.
const IDLE: Duration = Duration::from_secs(600);
/// How often idle queries are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// The address of a Service, to which clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAddress {
    /// The IP address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// IANA protocol number: TCP or UDP.
    pub protocol: u8,
}

/// Asks where connections to a service go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceQuery {
    /// The service.
    pub service: ServiceAddress,
    /// Only connections of this client, an address of the service's family; `None` for those of all clients.
    pub client: Option<IpAddr>,
}

/// What is known of the backends of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceBackends<'a> {
    /// Connections go there: at most [`MAX_BACKENDS`], the one seen last first.
    Known(&'a [Backend]),
    /// The table has no connection to the service whose destination is rewritten.
    NotTranslated,
    /// Not looked up yet, or the lookup failed.
    Unknown,
}

/// Whether conntrack lookups work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// No lookup has been done yet.
    #[default]
    Unknown,
    /// The last lookup succeeded.
    Yes,
    /// The last lookup failed; it is retried later.
    No(Failure),
}

/// Counters of lookups since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConntrackStatistics {
    /// Lookups of single connections.
    pub connections: u64,
    /// Dumps of the whole table.
    pub dumps: u64,
    /// Dumps that were cut at the limit of entries or of time.
    pub cut: u64,
    /// Entries of the table that were read.
    pub entries: u64,
    /// Entries that could not be decoded.
    pub malformed: u64,
    /// Time that all lookups took.
    pub took: Duration,
    /// Queries answered with backends.
    pub answered: u64,
    /// Queries answered with none.
    pub none: u64,
    /// Connections to backends beyond [`MAX_BACKENDS`].
    pub left_out: u64,
    /// Single connections that were not looked up because too many waited.
    pub limited: u64,
    /// Queries refused because there were [`MAX_QUERIES`].
    pub refused: u64,
    /// Failures by [`Failure::reason`].
    pub failed: BTreeMap<&'static str, u64>,
}

/// The queries, what is known of each, and the schedule of lookups. All times are since a fixed moment.
#[derive(Debug)]
pub struct Conntrack {
    known: HashMap<ServiceQuery, QueryState>,
    /// Connections to look up, each with its client's address.
    waiting: VecDeque<(ServiceQuery, SocketAddr)>,
    connections: TokenBucket,
    /// The earliest time of the next dump.
    next_dump: Duration,
    /// The earliest time of the next lookup after a failure, and the back-off that led to it.
    next_try: Duration,
    back_off: Duration,
    /// When idle queries are looked for next.
    next_forgetting: Duration,
    is_under_way: bool,
    support: Support,
    statistics: ConntrackStatistics,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            waiting: VecDeque::new(),
            connections: TokenBucket::new(CONNECTIONS_AT_ONCE, CONNECTION_INTERVAL),
            next_dump: Duration::ZERO,
            next_try: Duration::ZERO,
            back_off: Duration::ZERO,
            next_forgetting: Duration::ZERO,
            is_under_way: false,
            support: Support::Unknown,
            statistics: ConntrackStatistics::default(),
        }
    }
}

impl Conntrack {
    /// Registers interest in a query, or keeps it alive: it is dropped 10 minutes after the last call. A new query beyond
    /// [`MAX_QUERIES`] is refused and counted.
    pub fn register_interest(&mut self, query: ServiceQuery, now: Duration) {
        let query = query.canonical();
        if let Some(known) = self.known.get_mut(&query) {
            known.last_interest = now;
            return;
        }
        if self.known.len() >= MAX_QUERIES {
            self.statistics.refused += 1;
            return;
        }
        self.known.insert(query, QueryState::new(now));
    }

    /// Like [`Self::register_interest`], for a new connection from this client's address and port: it is also looked up by
    /// itself, at next to no cost. Its backend is part of the answer once the table has been read, even if the connection has
    /// ended by then.
    pub fn register_connection(&mut self, query: ServiceQuery, client: SocketAddr, now: Duration) {
        let query = query.canonical();
        self.register_interest(query, now);
        if !self.known.contains_key(&query) || client.port() == 0 {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.statistics.limited += 1;
            return;
        }
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        self.waiting.push_back((query, client));
    }

    /// The backends of a query, as far as they are known.
    #[must_use]
    pub fn backends(&self, query: ServiceQuery) -> ServiceBackends<'_> {
        match self.known.get(&query.canonical()) {
            Some(known) => known.backends(),
            None => ServiceBackends::Unknown,
        }
    }

    /// The lookups to do now, if any. The caller must pass their outcome to [`Self::handle`]; until then there are no others.
    pub fn plan(&mut self, now: Duration) -> Option<Pass> {
        if now >= self.next_forgetting {
            self.next_forgetting = now + FORGET_INTERVAL;
            self.known.retain(|_, known| now.saturating_sub(known.last_interest) < IDLE);
        }
        if self.is_under_way || now < self.next_try {
            return None;
        }
        // The table goes first, because it is due rarely and new connections wait nearly always.
        let pass = self.whole_table(now).or_else(|| self.single_connections(now))?;
        self.is_under_way = true;
        Some(pass)
    }

    fn single_connections(&mut self, now: Duration) -> Option<Pass> {
        let mut queries = Vec::new();
        while queries.len() < MAX_IN_PASS && !self.waiting.is_empty() && self.connections.try_take(now) {
            queries.extend(self.waiting.pop_front());
        }
        (!queries.is_empty()).then_some(Pass::Connections(queries))
    }

    fn whole_table(&mut self, now: Duration) -> Option<Pass> {
        if now < self.next_dump {
            return None;
        }
        let is_due = self.known.values().any(|known| known.due <= now);
        // One more query costs nothing.
        is_due.then(|| Pass::Table(self.known.keys().copied().collect()))
    }

    /// Handles the outcome of lookups. Returns true when it changed [`Self::support`].
    pub fn handle(&mut self, outcome: Outcome, now: Duration) -> bool {
        self.is_under_way = false;
        self.statistics.took += outcome.took;
        self.statistics.entries += outcome.entries;
        self.statistics.malformed += outcome.malformed;
        match &outcome.pass {
            Pass::Connections(connections) => self.statistics.connections += connections.len() as u64,
            Pass::Table(_) => {
                self.statistics.dumps += 1;
                self.statistics.cut += u64::from(outcome.is_cut);
                let gap = Duration::try_from_secs_f64(outcome.took.as_secs_f64() / SHARE);
                self.next_dump = now + gap.unwrap_or(LARGEST_GAP).clamp(LEAST_GAP, LARGEST_GAP);
            }
        }
        let support = match outcome.failure {
            Some(failure) => {
                *self.statistics.failed.entry(failure.reason()).or_default() += 1;
                self.back_off = doubled(self.back_off);
                self.next_try = now + self.back_off;
                Support::No(failure)
            }
            None => {
                self.back_off = Duration::ZERO;
                Support::Yes
            }
        };
        let is_whole = matches!(outcome.pass, Pass::Table(_)) && !outcome.is_cut && support == Support::Yes;
        for (query, found) in outcome.pass.queries().zip(outcome.found) {
            let Some(known) = self.known.get_mut(&query) else { continue };
            self.statistics.left_out += found.left_out;
            let backends = found.into_backends();
            self.statistics.answered += u64::from(!backends.is_empty());
            self.statistics.none += u64::from(backends.is_empty());
            match &outcome.pass {
                Pass::Connections(_) => known.add_backends(&backends, now),
                // The dump failed before it found any: no evidence that there are none.
                Pass::Table(_) if support != Support::Yes && backends.is_empty() => {
                    known.retry_later(now);
                }
                Pass::Table(_) => known.add_table(&backends, is_whole, now),
            }
        }
        let is_news = support != self.support;
        self.support = support;
        is_news
    }

    /// Whether lookups work.
    #[must_use]
    pub const fn support(&self) -> &Support {
        &self.support
    }

    /// The counters of lookups.
    #[must_use]
    pub const fn statistics(&self) -> &ConntrackStatistics {
        &self.statistics
    }

    /// The number of queries that are kept.
    #[must_use]
    pub fn query_count(&self) -> usize {
        self.known.len()
    }
}

impl ServiceQuery {
    /// With IPv4-mapped IPv6 addresses as IPv4, as in the kernel's table.
    fn canonical(self) -> Self {
        let service = ServiceAddress { address: self.service.address.to_canonical(), ..self.service };
        Self { service, client: self.client.map(|client| client.to_canonical()) }
    }
}

fn doubled(back_off: Duration) -> Duration {
    (back_off * 2).clamp(LEAST_BACK_OFF, LARGEST_BACK_OFF)
}
