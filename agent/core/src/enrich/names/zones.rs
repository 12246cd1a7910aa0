//! Zones of the nodes that are ends of edges: labels of their own, so that no edge has more of them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use crate::enrich::directory::NodeRef;

/// Nodes whose zones are told; of further ones none is.
const MAX_NODES: usize = 1024;

/// See above.
#[derive(Debug, Default)]
pub struct Zones(BTreeMap<Box<str>, Node>);

#[derive(Debug)]
struct Node {
    zone: Box<str>,
    /// Where it was met.
    address: IpAddr,
}

impl Zones {
    /// A node is an end, at this address.
    pub fn meet(&mut self, node: &NodeRef<'_>, address: IpAddr) {
        let Some(zone) = node.zone else { return };
        let is_known = self.0.get(node.name).is_some_and(|known| *known.zone == *zone);
        if !is_known && (self.0.len() < MAX_NODES || self.0.contains_key(node.name)) {
            self.0.insert(node.name.into(), Node { zone: zone.into(), address });
        }
    }

    /// Forgets the nodes that no flow goes to.
    pub fn retain(&mut self, remotes: &HashSet<IpAddr>) {
        self.0.retain(|_, node| remotes.contains(&node.address));
    }

    /// Node and zone, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(node, Node { zone, .. })| (&**node, &**zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_told_as_long_as_its_node_is_an_end() {
        let mut zones = Zones::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        zones.meet(&NodeRef { name: "b", zone: Some("eu-1") }, address(2));
        zones.meet(&NodeRef { name: "a", zone: None }, address(1));
        zones.meet(&NodeRef { name: "b", zone: Some("eu-2") }, address(3));
        assert_eq!(zones.all().collect::<Vec<_>>(), [("b", "eu-2")]);
        zones.retain(&HashSet::from([address(2)]));
        assert_eq!(zones.all().count(), 0);
        for number in 0..=MAX_NODES {
            zones.meet(&NodeRef { name: &number.to_string(), zone: Some("z") }, address(1));
        }
        assert_eq!(zones.all().count(), MAX_NODES);
    }
}
