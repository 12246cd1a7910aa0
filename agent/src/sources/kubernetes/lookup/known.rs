//! What is wanted of the server one by one, and what was found: pods by their addresses, nodes by their names.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use netcause_core::enrich::objects::Pod;

/// Keys that are remembered, found or not; about 300 bytes each. When it is full, new ones wait until some are forgotten.
const MAX_KEYS: usize = 4096;
/// Keys that wait to be looked up. More are dropped; they are wanted again.
const MAX_QUEUE: usize = 512;
/// A key that was not wanted for so many times the time to the next look is forgotten.
const FORGOTTEN_AFTER: u32 = 10;

/// What is known of addresses or names `K`: what was found, `F`, of each.
pub struct Known<K, F> {
    recheck: Duration,
    entries: HashMap<K, Entry<F>>,
    queue: VecDeque<K>,
}

struct Entry<F> {
    /// When it was last looked up; `None`: it waits for it.
    looked: Option<Instant>,
    wanted: Instant,
    found: Vec<F>,
}

/// A pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl Found {
    /// What finds a pod again.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self { uid: pod.uid.clone(), namespace: pod.namespace.clone(), name: pod.name.clone() }
    }
}

impl<K: Clone + Eq + Hash, F> Known<K, F> {
    /// What was looked up is looked at again after `recheck`.
    #[must_use]
    pub fn new(recheck: Duration) -> Self {
        Self { recheck, entries: HashMap::new(), queue: VecDeque::new() }
    }

    /// A key is wanted. Returns whether it was dropped.
    pub fn want(&mut self, key: K, now: Instant) -> bool {
        let is_full = self.queue.len() >= MAX_QUEUE;
        let is_known_full = self.entries.len() >= MAX_KEYS;
        match self.entries.get_mut(&key) {
            Some(entry) => {
                entry.wanted = now;
                let is_due = entry.looked.is_some_and(|at| now.duration_since(at) >= self.recheck);
                if is_due && !is_full {
                    entry.looked = None;
                    self.queue.push_back(key);
                }
                is_due && is_full
            }
            None if is_full || is_known_full => true,
            None => {
                self.entries.insert(key.clone(), Entry { looked: None, wanted: now, found: Vec::new() });
                self.queue.push_back(key);
                false
            }
        }
    }

    /// Whether a key waits to be looked up.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next to be looked up.
    pub fn next(&mut self) -> Option<K> {
        self.queue.pop_front()
    }

    /// The lookup failed: it is the next again.
    pub fn again(&mut self, key: K) {
        if self.entries.contains_key(&key) {
            self.queue.push_front(key);
        }
    }

    /// What was found of a key the last time.
    #[must_use]
    pub fn found(&self, key: &K) -> &[F] {
        self.entries.get(key).map_or(&[], |entry| &entry.found)
    }

    /// A key was looked up: what was found, or `None` if that is as it was. Returns what was found before.
    pub fn replace(&mut self, key: &K, found: Option<Vec<F>>, now: Instant) -> Vec<F> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        entry.looked = Some(now);
        found.map(|found| std::mem::replace(&mut entry.found, found)).unwrap_or_default()
    }

    /// Forgets what was not wanted for long. Returns it, and what was found of it.
    pub fn forget(&mut self, now: Instant) -> Vec<(K, Vec<F>)> {
        let limit = self.recheck * FORGOTTEN_AFTER;
        let is_old = |entry: &Entry<F>| entry.looked.is_some() && now.duration_since(entry.wanted) >= limit;
        let old = self.entries.extract_if(|_, entry| is_old(entry));
        old.map(|(key, entry)| (key, entry.found)).collect()
    }
}

impl Known<IpAddr, Found> {
    /// As [`Self::replace`]. Returns the uids that hold no address any more.
    pub fn looked_up(&mut self, address: IpAddr, found: Option<Vec<Found>>, now: Instant) -> Vec<Box<str>> {
        let gone = self.replace(&address, found, now);
        self.held_no_more(gone)
    }

    /// As [`Self::forget`]. Returns the uids that hold no address any more.
    pub fn forget_unwanted(&mut self, now: Instant) -> Vec<Box<str>> {
        let old = self.forget(now).into_iter().flat_map(|(_, found)| found).collect();
        self.held_no_more(old)
    }

    fn held_no_more(&self, pods: Vec<Found>) -> Vec<Box<str>> {
        let is_held =
            |uid: &str| self.entries.values().any(|entry| entry.found.iter().any(|found| &*found.uid == uid));
        pods.into_iter().map(|pod| pod.uid).filter(|uid| !is_held(uid)).collect()
    }
}

/// Whether a pod or a node can have this address.
pub fn can_be_held(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECHECK: Duration = Duration::from_secs(60);

    fn address(last: u16) -> IpAddr {
        IpAddr::from([10, 0, last.to_be_bytes()[0], last.to_be_bytes()[1]])
    }

    fn found(uid: &str) -> Found {
        Found { uid: uid.into(), namespace: "shop".into(), name: uid.into() }
    }

    #[test]
    fn an_address_is_looked_up_once_and_again_while_it_is_wanted() {
        let now = Instant::now();
        let mut known = Known::<IpAddr, Found>::new(RECHECK);
        assert!(!known.want(address(1), now));
        assert!(!known.want(address(1), now));
        assert_eq!((known.next(), known.next()), (Some(address(1)), None));
        // Nothing was found: that is remembered as well.
        assert!(known.looked_up(address(1), Some(Vec::new()), now).is_empty());
        known.want(address(1), now + RECHECK / 2);
        assert_eq!(known.next(), None);
        known.want(address(1), now + RECHECK);
        assert_eq!(known.next(), Some(address(1)));
    }

    #[test]
    fn who_holds_an_address_no_more_is_gone() {
        let now = Instant::now();
        let mut known = Known::<IpAddr, Found>::new(RECHECK);
        for last in [1, 2] {
            known.want(address(last), now);
            assert!(known.looked_up(address(last), Some(vec![found("a")]), now).is_empty());
        }
        assert!(known.looked_up(address(1), Some(vec![found("b")]), now).is_empty(), "held by the other");
        assert_eq!(known.looked_up(address(2), Some(vec![]), now), ["a".into()]);
        assert!(known.forget_unwanted(now + RECHECK * 9).is_empty());
        assert_eq!(known.forget_unwanted(now + RECHECK * 10), ["b".into()]);
        assert!(known.found(&address(1)).is_empty());
    }

    #[test]
    fn the_queue_is_bounded_and_drops_are_reported() {
        let now = Instant::now();
        let mut known = Known::<IpAddr, Found>::new(RECHECK);
        let dropped = (0..1000).filter(|last| known.want(address(*last), now)).count();
        assert_eq!(dropped, 1000 - MAX_QUEUE);
        for last in 0..10_000 {
            known.want(address(last), now);
            while known.next().is_some() {}
        }
        assert_eq!(known.entries.len(), MAX_KEYS);
    }

    #[test]
    fn addresses_that_no_pod_has_are_not_asked_for() {
        for text in
            ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255"]
        {
            assert!(!can_be_held(text.parse().unwrap()), "{text}");
        }
        assert!(can_be_held(address(1)));
    }
}
