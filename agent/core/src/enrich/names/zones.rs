//! Zones of the nodes at the ends of edges. A series of its own has them, so that the edges need no zone label.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use crate::enrich::directory::NodeRef;

/// Limit on nodes whose zones are exported.
const MAX_NODES: usize = 1024;

/// Zone by node.
#[derive(Debug, Default)]
pub struct Zones(BTreeMap<Box<str>, Node>);

#[derive(Debug)]
struct Node {
    zone: Box<str>,
    /// The address by which it is the end of a flow.
    address: IpAddr,
}

impl Zones {
    /// Records a node that is the end of a flow, at this address.
    pub fn record(&mut self, node: &NodeRef<'_>, address: IpAddr) {
        let Some(zone) = node.zone else { return };
        let is_known = self.0.get(node.name).is_some_and(|known| *known.zone == *zone);
        if !is_known && (self.0.len() < MAX_NODES || self.0.contains_key(node.name)) {
            self.0.insert(node.name.into(), Node { zone: zone.into(), address });
        }
    }

    /// Drops the nodes that no flow goes to.
    pub fn retain(&mut self, remotes: &HashSet<IpAddr>) {
        self.0.retain(|_, node| remotes.contains(&node.address));
    }

    /// Node and zone, ordered by node.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(node, Node { zone, .. })| (&**node, &**zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_listed_while_its_node_is_an_end() {
        let mut zones = Zones::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        zones.record(&NodeRef { name: "b", zone: Some("eu-1") }, address(2));
        zones.record(&NodeRef { name: "a", zone: None }, address(1));
        zones.record(&NodeRef { name: "b", zone: Some("eu-2") }, address(3));
        assert_eq!(zones.all().collect::<Vec<_>>(), [("b", "eu-2")]);
        zones.retain(&HashSet::from([address(2)]));
        assert_eq!(zones.all().count(), 0);
        for number in 0..=MAX_NODES {
            zones.record(&NodeRef { name: &number.to_string(), zone: Some("z") }, address(1));
        }
        assert_eq!(zones.all().count(), MAX_NODES);
    }
}
