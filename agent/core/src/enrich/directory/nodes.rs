//! Nodes by name.

use std::sync::Arc;

use super::provenance::Provenance;
use super::table::{Keyed, NONE, Table};
use crate::enrich::objects::Source;

/// A node. One that no source lists is kept too while a pod runs on it.
#[derive(Debug)]
pub struct NodeRecord {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// The label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// The sources that list it.
    pub provenance: Provenance,
    /// The number of pods on it.
    pub pods: u32,
    /// The first of its holdings, or [`NONE`].
    pub holdings: u32,
}

impl Keyed for NodeRecord {
    type Key = Arc<str>;

    fn key(&self) -> &Arc<str> {
        &self.name
    }
}

/// Nodes by name.
pub type Nodes = Table<NodeRecord>;

impl Nodes {
    /// The id of the node of this name; adds the node if it is new.
    pub fn named(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        self.find(&name).unwrap_or_else(|| {
            let provenance = Provenance::default();
            self.insert(NodeRecord { name, zone: None, provenance, pods: 0, holdings: NONE })
        })
    }

    /// Counts one more pod on the node.
    pub fn enter(&mut self, id: u32) {
        if let Some(node) = self.get_mut(id) {
            node.pods += 1;
        }
    }

    /// Counts one pod less on the node, and removes the node if nothing needs it any more.
    pub fn leave(&mut self, id: u32) {
        if let Some(node) = self.get_mut(id) {
            node.pods = node.pods.saturating_sub(1);
        }
        self.remove_if_unused(id);
    }

    /// Removes a node that no source lists, that no pod runs on, and that has held no address lately.
    pub fn remove_if_unused(&mut self, id: u32) {
        let is_unused =
            |node: &NodeRecord| node.provenance.sources.is_empty() && node.pods == 0 && node.holdings == NONE;
        if self.get(id).is_some_and(is_unused) {
            self.remove(id);
        }
    }

    /// The nodes that are missing from the list that this source has completed now.
    pub fn stale(&self, source: Source) -> Vec<u32> {
        self.iter().filter(|(_, node)| node.provenance.is_stale(source)).map(|(id, _)| id).collect()
    }
}
