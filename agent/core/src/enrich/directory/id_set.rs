//! Multimap from a key to object ids, small for the usual case of one id per key.

use std::collections::HashMap;
use std::hash::Hash;

/// A set of ids that holds a single one without an allocation.
#[derive(Clone, Debug, PartialEq)]
pub enum IdSet {
    /// A single id.
    One(u32),
    /// Different ids in the order in which they were added; at least one.
    Many(Vec<u32>),
}

impl IdSet {
    /// All ids.
    pub fn all(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// The id, if there is exactly one.
    pub fn only(&self) -> Option<u32> {
        match self.all() {
            [id] => Some(*id),
            _ => None,
        }
    }
}

/// Ids by key.
#[derive(Debug)]
pub struct IdIndex<K>(HashMap<K, IdSet>);

impl<K> Default for IdIndex<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> IdIndex<K> {
    /// The ids of a key.
    pub fn get(&self, key: &K) -> Option<&IdSet> {
        self.0.get(key)
    }

    /// Adds an id to a key; no effect if the key has it.
    pub fn add(&mut self, key: K, id: u32) {
        match self.0.entry(key).or_insert(IdSet::One(id)) {
            IdSet::One(other) if *other == id => {}
            ids @ IdSet::One(_) => *ids = IdSet::Many([ids.all(), &[id]].concat()),
            IdSet::Many(ids) if ids.contains(&id) => {}
            IdSet::Many(ids) => ids.push(id),
        }
    }

    /// Removes an id from a key, and the key with its last id.
    pub fn remove(&mut self, key: &K, id: u32) {
        let is_empty = match self.0.get_mut(key) {
            Some(IdSet::One(other)) => *other == id,
            Some(IdSet::Many(ids)) => {
                ids.retain(|other| *other != id);
                ids.is_empty()
            }
            None => false,
        };
        if is_empty {
            self.0.remove(key);
        }
        if self.0.capacity() / 8 > self.0.len().max(1024) {
            self.0.shrink_to(self.0.len() * 2);
        }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
