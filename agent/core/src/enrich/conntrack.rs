//! Where connections to a service's address really go: the kernel's table of connections knows, where it rewrites their
//! destination (kube-proxy's iptables, nftables and IPVS modes and whatever else does DNAT). It is the table of the
//! network namespace that the agent runs in: the node's, for a DaemonSet with `hostNetwork`. Where sockets are rewritten
//! instead (Cilium's socket load balancing), a flow's remote end is the backend already, and there is nothing to ask.
//!
//! Questions and answers are kept here, without a clock and without a socket; the daemon carries the questions to the
//! kernel. There are two ways to ask, and the cost decides (`ctnetlink_get_conntrack` and `ctnetlink_dump_table`,
//! net/netfilter/nf_conntrack_netlink.c; measured on 6.18 with 262 144 buckets and 50 000 entries):
//!
//! - **One connection**, when its client's address and port are known: one look into a hash, 4 µs. It is asked for when it
//!   is new, because the table may be read only after it is gone; where all others go it does not tell. So it never names
//!   a backend alone: a service of two workloads would have the name of one.
//! - **The whole table**, message by message, else: 75 ms in pieces of 0.2 ms, for all questions at once, so it is read at
//!   most so often that it takes 0.5 % of one processor. The kernel can be told to leave out what does not match (since
//!   5.8), which takes a quarter of the time, but in one piece of 18 ms in which that processor handles no packet: we
//!   do not ask for that. (With an address of IPv6 it would also leave out just what does match:
//!   `ctnetlink_filter_match_tuple` has the comparison the wrong way round.) The table is in the order of a hash, so what
//!   is read until the limit is a random sample.
//!
//! Needed: CAP_NET_ADMIN in the user namespace of the network namespace. Nothing is changed in the kernel; the first
//! question may load the module `nf_conntrack_netlink`.
//!
//! Memory: at most [`MAX_QUESTIONS`] questions of some 250 octets with their answers, 1 MiB.

mod failure;
mod known;
mod pass;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use failure::Failure;
pub use known::Backend;
use known::Known;
pub use pass::{Index, Outcome, Pass, Tally, Tracked};

use crate::token_bucket::TokenBucket;

/// Questions that are kept. Of more, none is taken until others have not been wanted for [`IDLE`].
pub const MAX_QUESTIONS: usize = 4096;
/// Backends that are kept of one answer: those that were seen last.
pub const MAX_BACKENDS: usize = 16;
/// Connections that wait to be looked up.
const MAX_WAITING: usize = 256;
/// Connections that are looked up in one pass.
const MAX_IN_PASS: usize = 64;
/// Connections that may be looked up at once, and the time until one more may be.
const CONNECTIONS_AT_ONCE: u32 = 100;
const CONNECTION_INTERVAL: Duration = Duration::from_millis(20);
/// What reading the whole table may take of one processor.
const SHARE: f64 = 0.005;
/// The whole table is read at most this often, however small it is,
const LEAST_GAP: Duration = Duration::from_secs(2);
/// and after this at the latest, however large.
const LARGEST_GAP: Duration = Duration::from_secs(300);
/// An answer is asked for again after [`LEAST_BACK_OFF`], then after twice as long, and so on, up to this, while it is the same.
const REFRESH: Duration = Duration::from_secs(60);
/// Where no answer was found one is looked for again after this, then after twice as long, and so on,
const LEAST_BACK_OFF: Duration = Duration::from_secs(5);
/// up to this.
const LARGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// A backend outlives its connections: the kernel forgets a closed one after two minutes, and a flow is shown for longer.
const KEEP: Duration = Duration::from_secs(600);
/// Questions that nobody wanted for so long are forgotten,
const IDLE: Duration = Duration::from_secs(600);
/// at these times.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// A service, as its clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// IANA protocol number: TCP or UDP.
    pub protocol: u8,
}

/// Where do connections to a service go?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// The service.
    pub service: Service,
    /// Those of this client alone: a pod's address of the service's family. `None` asks for those of all clients.
    pub client: Option<IpAddr>,
}

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Where they go: at most [`MAX_BACKENDS`], those that were seen last first.
    Backends(&'a [Backend]),
    /// The kernel rewrites no such connection, as far as it can be seen.
    None,
    /// Nobody knows yet.
    Unknown,
}

/// Whether the kernel can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answered.
    Yes,
    /// It refused, and is asked again later.
    No(Failure),
}

/// What was asked and answered since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Single connections that were looked up.
    pub connections: u64,
    /// Times that the whole table was read.
    pub dumps: u64,
    /// Of these, how many were not read to the end: they met the limit of entries or of time.
    pub cut: u64,
    /// Entries of the table that were read.
    pub entries: u64,
    /// Entries that made no sense.
    pub malformed: u64,
    /// How long all of this took.
    pub took: Duration,
    /// Questions that backends were found for.
    pub answered: u64,
    /// Questions that none were found for.
    pub none: u64,
    /// Connections to backends that an answer had no room for.
    pub left_out: u64,
    /// Single connections that were not looked up, because too many were wanted.
    pub limited: u64,
    /// Questions that there was no room for.
    pub refused: u64,
    /// Failures by [`Failure::reason`].
    pub failed: BTreeMap<&'static str, u64>,
}

/// Questions to the kernel's table of connections, and its answers.
#[derive(Debug)]
pub struct Conntrack {
    known: HashMap<Question, Known>,
    /// Connections to look up, by their client's end.
    waiting: VecDeque<(Question, SocketAddr)>,
    connections: TokenBucket,
    /// When the whole table may be read again.
    next_dump: Duration,
    /// When anything may be asked again, after failures; and how long that was put off.
    next_try: Duration,
    back_off: Duration,
    /// When questions are forgotten next.
    next_forgetting: Duration,
    is_under_way: bool,
    support: Support,
    statistics: Statistics,
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
            statistics: Statistics::default(),
        }
    }
}

impl Conntrack {
    /// Somebody wants this to be known, at this time since a fixed moment; to be told again for as long as that is so.
    pub fn wanted(&mut self, question: Question, now: Duration) {
        let question = question.canonical();
        if let Some(known) = self.known.get_mut(&question) {
            known.wanted = now;
            return;
        }
        if self.known.len() >= MAX_QUESTIONS {
            self.statistics.refused += 1;
            return;
        }
        self.known.insert(question, Known::new(now));
    }

    /// As [`Self::wanted`], of a connection that is new: it is looked up by itself, at next to no cost, and is part of the
    /// answer once the table has been read, though it be gone by then.
    pub fn connection(&mut self, question: Question, client: SocketAddr, now: Duration) {
        let question = question.canonical();
        self.wanted(question, now);
        if !self.known.contains_key(&question) || client.port() == 0 {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.statistics.limited += 1;
            return;
        }
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        self.waiting.push_back((question, client));
    }

    /// Where connections go, as far as it is known.
    #[must_use]
    pub fn answer(&self, question: Question) -> Answer<'_> {
        match self.known.get(&question.canonical()) {
            Some(known) => known.answer(),
            None => Answer::Unknown,
        }
    }

    /// What is to be asked now, if anything; its outcome goes to [`Self::take`], and nothing else is asked before.
    pub fn plan(&mut self, now: Duration) -> Option<Pass> {
        if now >= self.next_forgetting {
            self.next_forgetting = now + FORGET_INTERVAL;
            self.known.retain(|_, known| now.saturating_sub(known.wanted) < IDLE);
        }
        if self.is_under_way || now < self.next_try {
            return None;
        }
        // The table comes rarely; connections come all the time.
        let pass = self.whole_table(now).or_else(|| self.single_connections(now))?;
        self.is_under_way = true;
        Some(pass)
    }

    fn single_connections(&mut self, now: Duration) -> Option<Pass> {
        let mut questions = Vec::new();
        while questions.len() < MAX_IN_PASS && !self.waiting.is_empty() && self.connections.try_take(now) {
            questions.extend(self.waiting.pop_front());
        }
        (!questions.is_empty()).then_some(Pass::Connections(questions))
    }

    fn whole_table(&mut self, now: Duration) -> Option<Pass> {
        if now < self.next_dump {
            return None;
        }
        let is_due = self.known.values().any(|known| known.due <= now);
        // One more question costs nothing.
        is_due.then(|| Pass::Table(self.known.keys().copied().collect()))
    }

    /// Takes what the kernel answered. True when [`Self::support`] has changed by it.
    pub fn take(&mut self, outcome: Outcome, now: Duration) -> bool {
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
        for (question, found) in outcome.pass.questions().zip(outcome.found) {
            let Some(known) = self.known.get_mut(&question) else { continue };
            self.statistics.left_out += found.left_out;
            let backends = found.into_backends();
            self.statistics.answered += u64::from(!backends.is_empty());
            self.statistics.none += u64::from(backends.is_empty());
            match &outcome.pass {
                Pass::Connections(_) => known.see(&backends, now),
                // What was not asked to the end is asked again.
                Pass::Table(_) if support != Support::Yes && backends.is_empty() => {
                    known.put_off(now);
                }
                Pass::Table(_) => known.read(&backends, is_whole, now),
            }
        }
        let is_news = support != self.support;
        self.support = support;
        is_news
    }

    /// Whether the kernel can be asked.
    #[must_use]
    pub const fn support(&self) -> &Support {
        &self.support
    }

    /// What was asked and answered.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How many questions are kept.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.known.len()
    }
}

impl Question {
    /// As the kernel has it: an address of IPv4 that stands in one of IPv6 is one of IPv4.
    fn canonical(self) -> Self {
        let service = Service { address: self.service.address.to_canonical(), ..self.service };
        Self { service, client: self.client.map(|client| client.to_canonical()) }
    }
}

fn doubled(back_off: Duration) -> Duration {
    (back_off * 2).clamp(LEAST_BACK_OFF, LARGEST_BACK_OFF)
}
