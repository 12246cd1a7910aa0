//! Nodes: what is known of them, by name.

use std::sync::Arc;

use super::table::{Keyed, NONE, Table};
use super::told::Told;
use crate::enrich::objects::Source;

/// A node, also one of which nothing is known but that a pod is on it.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its zone, if it is told.
    pub zone: Option<Arc<str>>,
    /// Who tells of it.
    pub told: Told,
    /// Pods on it.
    pub pods: u32,
    /// Its first holding.
    pub holdings: u32,
}

impl Keyed for Node {
    type Key = Arc<str>;

    fn key(&self) -> &Arc<str> {
        &self.name
    }
}

/// Nodes by name.
pub type Nodes = Table<Node>;

impl Nodes {
    /// The node of this name, which may be new.
    pub fn named(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        self.find(&name).unwrap_or_else(|| {
            let told = Told::default();
            self.insert(Node { name, zone: None, told, pods: 0, holdings: NONE })
        })
    }

    /// A pod is on it.
    pub fn enter(&mut self, id: u32) {
        if let Some(node) = self.get_mut(id) {
            node.pods += 1;
        }
    }

    /// A pod is on it no more.
    pub fn leave(&mut self, id: u32) {
        if let Some(node) = self.get_mut(id) {
            node.pods = node.pods.saturating_sub(1);
        }
        self.tidy(id);
    }

    /// Forgets a node that nobody tells of, that no pod is on, and that held no address lately.
    pub fn tidy(&mut self, id: u32) {
        let is_over = |node: &Node| node.told.by.is_empty() && node.pods == 0 && node.holdings == NONE;
        if self.get(id).is_some_and(is_over) {
            self.remove(id);
        }
    }

    /// Those that a source has left out of its list.
    pub fn missed(&self, source: Source) -> Vec<u32> {
        self.iter().filter(|(_, node)| node.told.is_missed(source)).map(|(id, _)| id).collect()
    }
}
