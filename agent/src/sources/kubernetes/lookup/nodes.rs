//! Nodes that are wanted, by name, and the addresses that they have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::known::Known;

/// What is known of nodes. Nothing is, and nothing is wanted, where nodes are not looked up.
pub struct Nodes {
    is_enabled: bool,
    known: Known<Box<str>, IpAddr>,
    holders: HashMap<IpAddr, Box<str>>,
}

impl Nodes {
    /// What was looked up is looked at again after `recheck`.
    #[must_use]
    pub fn new(recheck: Duration, is_enabled: bool) -> Self {
        Self { is_enabled, known: Known::new(recheck), holders: HashMap::new() }
    }

    /// A node is wanted. Returns whether it was dropped.
    pub fn want(&mut self, name: &str, now: Instant) -> bool {
        self.is_enabled && self.known.want(name.into(), now)
    }

    /// The node that holds this address is wanted. Returns whether one is known to.
    pub fn want_holder(&mut self, address: IpAddr, now: Instant) -> bool {
        let Some(name) = self.holders.get(&address) else { return false };
        self.known.want(name.clone(), now);
        true
    }

    /// Whether a node waits to be looked up.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.known.is_waiting()
    }

    /// The next to be looked up.
    pub fn next(&mut self) -> Option<Box<str>> {
        self.known.next()
    }

    /// The lookup failed: it is the next again.
    pub fn again(&mut self, name: Box<str>) {
        self.known.again(name);
    }

    /// A node was looked up: it has these addresses, none if it is not there.
    pub fn looked_up(&mut self, name: &str, addresses: Vec<IpAddr>, now: Instant) {
        let holds = addresses.clone();
        let before = self.known.replace(&name.into(), Some(addresses), now);
        self.release(name, &before);
        self.holders.extend(holds.into_iter().map(|address| (address.to_canonical(), name.into())));
    }

    /// Forgets what was not wanted for long. Returns the names.
    pub fn forget_unwanted(&mut self, now: Instant) -> Vec<Box<str>> {
        let old = self.known.forget(now);
        old.iter().for_each(|(name, addresses)| self.release(name, addresses));
        old.into_iter().map(|(name, _)| name).collect()
    }

    /// Another node may hold one of them by now.
    fn release(&mut self, name: &str, addresses: &[IpAddr]) {
        for address in addresses.iter().map(IpAddr::to_canonical) {
            if self.holders.get(&address).is_some_and(|holder| **holder == *name) {
                self.holders.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECHECK: Duration = Duration::from_secs(600);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_of_a_node_is_that_of_the_last_one_that_has_it() {
        let (now, mut nodes) = (Instant::now(), Nodes::new(RECHECK, true));
        assert!(!nodes.want("a", now) && !nodes.want("b", now));
        assert_eq!([nodes.next(), nodes.next()], [Some("a".into()), Some("b".into())]);
        nodes.looked_up("a", vec![ip("192.0.2.1"), ip("::ffff:192.0.2.3")], now);
        assert!(nodes.want_holder(ip("192.0.2.1"), now) && nodes.want_holder(ip("192.0.2.3"), now));
        assert!(!nodes.is_waiting());
        // The address has gone to b. What a has lost is not b's.
        nodes.looked_up("b", vec![ip("192.0.2.1")], now);
        nodes.looked_up("a", Vec::new(), now);
        assert!(
            nodes.want_holder(ip("192.0.2.1"), now + RECHECK) && !nodes.want_holder(ip("192.0.2.3"), now)
        );
        assert_eq!((nodes.next(), nodes.next()), (Some("b".into()), None));
        nodes.looked_up("b", vec![ip("192.0.2.1")], now + RECHECK);
        // b was wanted once more, after a.
        assert_eq!(nodes.forget_unwanted(now + RECHECK * 10), ["a".into()]);
        assert_eq!(nodes.forget_unwanted(now + RECHECK * 11), ["b".into()]);
        assert!(!nodes.want_holder(ip("192.0.2.1"), now));
    }

    #[test]
    fn nothing_is_wanted_where_nodes_are_not_looked_up() {
        let mut nodes = Nodes::new(RECHECK, false);
        nodes.want("a", Instant::now());
        assert!(!nodes.is_waiting());
    }
}
