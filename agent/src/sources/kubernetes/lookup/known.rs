//! Addresses that are wanted, and what was found of them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use netcause_core::enrich::objects::Pod;

/// Addresses that are remembered, found or not; about 300 bytes each. When it is full, new ones wait until some are forgotten.
const MAX_ADDRESSES: usize = 4096;
/// Addresses that wait to be looked up. More are dropped; they are wanted again.
const MAX_QUEUE: usize = 512;
/// An address that was not wanted for so many times the time to the next look is forgotten.
const FORGOTTEN_AFTER: u32 = 10;

/// What is known of addresses.
pub struct Known {
    recheck: Duration,
    addresses: HashMap<IpAddr, Entry>,
    queue: VecDeque<IpAddr>,
}

struct Entry {
    /// When it was last looked up; `None`: it waits for it.
    looked: Option<Instant>,
    wanted: Instant,
    found: Vec<Found>,
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

impl Known {
    /// What was looked up is looked at again after `recheck`.
    #[must_use]
    pub fn new(recheck: Duration) -> Self {
        Self { recheck, addresses: HashMap::new(), queue: VecDeque::new() }
    }

    /// An address is wanted. Returns whether it was dropped.
    pub fn want(&mut self, address: IpAddr, now: Instant) -> bool {
        if !can_be_a_pods(address) {
            return false;
        }
        let is_full = self.queue.len() >= MAX_QUEUE;
        let is_known_full = self.addresses.len() >= MAX_ADDRESSES;
        match self.addresses.get_mut(&address) {
            Some(entry) => {
                entry.wanted = now;
                let is_due = entry.looked.is_some_and(|at| now.duration_since(at) >= self.recheck);
                if is_due && !is_full {
                    entry.looked = None;
                    self.queue.push_back(address);
                }
                is_due && is_full
            }
            None if is_full || is_known_full => true,
            None => {
                self.addresses.insert(address, Entry { looked: None, wanted: now, found: Vec::new() });
                self.queue.push_back(address);
                false
            }
        }
    }

    /// Whether an address waits to be looked up.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next to be looked up.
    pub fn next(&mut self) -> Option<IpAddr> {
        self.queue.pop_front()
    }

    /// The lookup failed: it is the next again.
    pub fn again(&mut self, address: IpAddr) {
        if self.addresses.contains_key(&address) {
            self.queue.push_front(address);
        }
    }

    /// What was found of an address the last time.
    #[must_use]
    pub fn found(&self, address: IpAddr) -> &[Found] {
        self.addresses.get(&address).map_or(&[], |entry| &entry.found)
    }

    /// An address was looked up: what was found, or `None` if that is as it was. Returns the uids that hold no address any more.
    pub fn looked_up(&mut self, address: IpAddr, found: Option<Vec<Found>>, now: Instant) -> Vec<Box<str>> {
        let Some(entry) = self.addresses.get_mut(&address) else { return Vec::new() };
        entry.looked = Some(now);
        let Some(found) = found else { return Vec::new() };
        let mut gone = std::mem::replace(&mut entry.found, found);
        gone.retain(|old| !self.is_held(&old.uid));
        gone.into_iter().map(|old| old.uid).collect()
    }

    /// Forgets what was not wanted for long. Returns the uids that hold no address any more.
    pub fn forget_unwanted(&mut self, now: Instant) -> Vec<Box<str>> {
        let limit = self.recheck * FORGOTTEN_AFTER;
        let is_old = |entry: &Entry| entry.looked.is_some() && now.duration_since(entry.wanted) >= limit;
        let old = self.addresses.extract_if(|_, entry| is_old(entry));
        let mut gone: Vec<_> = old.flat_map(|(_, entry)| entry.found).map(|found| found.uid).collect();
        gone.retain(|uid| !self.is_held(uid));
        gone
    }

    fn is_held(&self, uid: &str) -> bool {
        self.addresses.values().any(|entry| entry.found.iter().any(|found| &*found.uid == uid))
    }
}

fn can_be_a_pods(address: IpAddr) -> bool {
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
        let mut known = Known::new(RECHECK);
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
        let mut known = Known::new(RECHECK);
        for last in [1, 2] {
            known.want(address(last), now);
            assert!(known.looked_up(address(last), Some(vec![found("a")]), now).is_empty());
        }
        assert!(known.looked_up(address(1), Some(vec![found("b")]), now).is_empty(), "held by the other");
        assert_eq!(known.looked_up(address(2), Some(vec![]), now), ["a".into()]);
        assert!(known.forget_unwanted(now + RECHECK * 9).is_empty());
        assert_eq!(known.forget_unwanted(now + RECHECK * 10), ["b".into()]);
        assert!(known.found(address(1)).is_empty());
    }

    #[test]
    fn the_queue_is_bounded_and_drops_are_reported() {
        let now = Instant::now();
        let mut known = Known::new(RECHECK);
        let dropped = (0..1000).filter(|last| known.want(address(*last), now)).count();
        assert_eq!(dropped, 1000 - MAX_QUEUE);
        for last in 0..10_000 {
            known.want(address(last), now);
            while known.next().is_some() {}
        }
        assert_eq!(known.addresses.len(), MAX_ADDRESSES);
    }

    #[test]
    fn addresses_that_no_pod_has_are_not_asked_for() {
        let mut known = Known::new(RECHECK);
        for text in
            ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255"]
        {
            assert!(!known.want(text.parse().unwrap(), Instant::now()));
        }
        assert!(!known.is_waiting());
    }
}
