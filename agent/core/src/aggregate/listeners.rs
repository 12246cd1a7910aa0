//! Handshakes that listening sockets dropped, by reason.
//!
//! The kernel counts reasons per network namespace, and discards of any kind per socket (`sk_drops`): each dropped handshake is
//! also a discard of its listener (`tcp_listendrop`, include/net/tcp.h). So what the counters of a namespace grow by belongs to the
//! listener whose discards grew meanwhile. If those of several did, each has what its own grew by where that can be known: all
//! drops had one reason, and nothing else was discarded. Else the growth counts for what these listeners have in common: their
//! local end or the namespace, with their port if it is the same. In sum a namespace's drops are always what its counters say.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::flow::LOCAL_IS_NAMESPACE;
use netcause_common::labelled_enum;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};

/// How long drops are kept of what has no listener any more: longer than any interval between scrapes.
const KEPT: Duration = Duration::from_mins(10);
/// How long the counters of a network namespace without a listener are kept.
const NAMESPACE_KEPT: Duration = Duration::from_hours(1);

labelled_enum! {
    /// Why a listening socket dropped a handshake: index into [`Dropped::handshakes`].
    pub enum DropReason: u8 {
        /// The application did not accept fast enough (`ListenOverflows`).
        AcceptQueueFull = 0, "accept_queue_full";
        /// Too many handshakes were incomplete, and SYN cookies are off (`TCPReqQFullDrop`).
        RequestQueueFull = 1, "request_queue_full";
        /// Any other: no memory, no route back, a filter (`ListenDrops` without the others).
        Other = 2, "other";
    }
}

/// A network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Its inode number, which one that comes later may have again.
    pub inode: u32,
    /// A random number of its own (`net.hash_mix`, include/net/net_namespace.h).
    pub mark: u32,
}

/// Counters of the kernel in one network namespace: the lines `TcpExt` of `/proc/net/netstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceCounters {
    /// `ListenDrops`: handshakes dropped, for any reason.
    pub drops: u64,
    /// `ListenOverflows`: those at a full accept queue.
    pub accept_queue_full: u64,
    /// `TCPReqQFullDrop`: those at a full queue of incomplete handshakes.
    pub request_queue_full: u64,
    /// `SyncookiesSent`: SYNs answered with a cookie, as a rule because that queue was full.
    pub cookies: u64,
}

/// What a listener has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Handshakes, by [`DropReason`].
    pub handshakes: [u64; DropReason::COUNT],
    /// SYNs answered with a cookie: not dropped, but their queue was full.
    pub cookies: u64,
}

impl Dropped {
    /// Adds another's counts, wrapping.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.handshakes.iter_mut().zip(other.handshakes) {
            *sum = sum.wrapping_add(count);
        }
        self.cookies = self.cookies.wrapping_add(other.cookies);
    }

    fn between(before: &NamespaceCounters, now: &NamespaceCounters) -> Self {
        let full = now.accept_queue_full.saturating_sub(before.accept_queue_full);
        let requests = now.request_queue_full.saturating_sub(before.request_queue_full);
        let other = now.drops.saturating_sub(before.drops).saturating_sub(full + requests);
        Self { handshakes: [full, requests, other], cookies: now.cookies.saturating_sub(before.cookies) }
    }

    fn drops(&self) -> u64 {
        self.handshakes.iter().sum()
    }
}

/// The drops of all listeners.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The counters of each network namespace when they were last read, and when that was.
    namespaces: HashMap<Namespace, (NamespaceCounters, Duration)>,
    /// The discards of each listener then.
    discards: HashMap<QueueKey, u64>,
    /// What each listener has dropped, and when that last grew.
    dropped: HashMap<QueueKey, (Dropped, Duration)>,
    has_begun: bool,
}

impl Listeners {
    /// Takes the listeners, closed ones included, and the counters of their network namespaces as far as they were read.
    pub fn update(
        &mut self,
        queues: &[(QueueKey, AcceptQueue)],
        namespaces: &[(Namespace, NamespaceCounters)],
        now: Duration,
    ) {
        for (namespace, counters) in namespaces {
            let members: Vec<_> =
                queues.iter().filter(|(_, queue)| queue.namespace == namespace.inode).copied().collect();
            self.advance(*namespace, counters, &members, now);
        }
        self.has_begun = true;
        let known: HashMap<_, _> = queues.iter().copied().collect();
        self.discards.retain(|key, _| known.contains_key(key));
        self.dropped.retain(|key, (_, grew)| known.contains_key(key) || now.saturating_sub(*grew) < KEPT);
        // One without a listener for a while may have one again.
        self.namespaces.retain(|_, (_, read)| now.saturating_sub(*read) < NAMESPACE_KEPT);
    }

    /// What the listener has dropped since the agent started.
    #[must_use]
    pub fn of(&self, key: &QueueKey) -> Dropped {
        self.dropped.get(key).map(|(dropped, _)| *dropped).unwrap_or_default()
    }

    /// What was dropped by those that the function does not know.
    pub fn others(&self, is_known: impl Fn(&QueueKey) -> bool) -> impl Iterator<Item = (QueueKey, Dropped)> {
        let others = self.dropped.iter().filter(move |(key, _)| !is_known(key));
        others.map(|(key, (dropped, _))| (*key, *dropped))
    }

    fn advance(
        &mut self,
        namespace: Namespace,
        counters: &NamespaceCounters,
        members: &[(QueueKey, AcceptQueue)],
        now: Duration,
    ) {
        let discarded: u64 = members.iter().map(|(_, queue)| queue.discards).sum();
        let before = match self.namespaces.insert(namespace, (*counters, now)) {
            Some((before, _)) => before,
            // The agent has counted all discards of its listeners: the namespace is new.
            None if self.has_begun && counters.drops <= discarded => NamespaceCounters::default(),
            None => *counters,
        };
        let more = Dropped::between(&before, counters);
        let mut grown = Vec::new();
        for (key, queue) in members {
            let before = self.discards.insert(*key, queue.discards).unwrap_or_default();
            if queue.discards > before {
                grown.push((*key, queue.discards - before));
            }
        }
        let open = || members.iter().filter(|(_, queue)| queue.sweep != 0).map(|(key, _)| *key);
        let namespace = namespace.inode;
        if more.drops() > 0 {
            let handshakes = Dropped { cookies: 0, ..more };
            match shares(&grown, &handshakes) {
                Some(shares) => shares.into_iter().for_each(|(key, share)| self.count(key, &share, now)),
                None if grown.is_empty() => self.count(common(open(), namespace), &handshakes, now),
                None => self.count(common(grown.iter().map(|(key, _)| *key), namespace), &handshakes, now),
            }
        }
        if more.cookies > 0 {
            let cookies = Dropped { cookies: more.cookies, ..Dropped::default() };
            self.count(common(open(), namespace), &cookies, now);
        }
    }

    fn count(&mut self, key: QueueKey, more: &Dropped, now: Duration) {
        let (dropped, grew) = self.dropped.entry(key).or_default();
        dropped.add(more);
        *grew = now;
    }
}

/// What each of several listeners dropped; `None` where that cannot be known.
fn shares(grown: &[(QueueKey, u64)], more: &Dropped) -> Option<Vec<(QueueKey, Dropped)>> {
    let mut reasons = more.handshakes.iter().enumerate().filter(|(_, count)| **count > 0);
    let (reason, count) = reasons.next()?;
    let has_one_reason = reasons.next().is_none();
    if grown.len() < 2 || !has_one_reason || grown.iter().map(|(_, count)| count).sum::<u64>() != *count {
        return None;
    }
    let share = |count| {
        let mut dropped = Dropped::default();
        dropped.handshakes[reason] = count;
        dropped
    };
    Some(grown.iter().map(|(key, count)| (*key, share(*count))).collect())
}

/// What the listeners have in common: the local end, else the network namespace; and the port if all have one.
fn common(mut keys: impl Iterator<Item = QueueKey>, namespace: u32) -> QueueKey {
    let of_namespace = LOCAL_IS_NAMESPACE | u64::from(namespace);
    let Some(first) = keys.next() else { return QueueKey { local: of_namespace, ..QueueKey::default() } };
    keys.fold(first, |common, key| QueueKey {
        local: if common.local == key.local { common.local } else { of_namespace },
        port: if common.port == key.port { common.port } else { 0 },
        ..common
    })
}

#[cfg(test)]
mod tests;
