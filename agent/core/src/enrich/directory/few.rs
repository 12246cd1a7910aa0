//! The numbers that one key stands for: mostly one.

use std::collections::HashMap;
use std::hash::Hash;

/// One or more numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Few {
    /// One.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl Few {
    /// All of them.
    pub fn all(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// The one, if it is one.
    pub fn only(&self) -> Option<u32> {
        match self.all() {
            [id] => Some(*id),
            _ => None,
        }
    }
}

/// Numbers by key.
#[derive(Debug)]
pub struct Index<K>(HashMap<K, Few>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    /// What a key stands for.
    pub fn get(&self, key: &K) -> Option<&Few> {
        self.0.get(key)
    }

    /// A key stands for one more.
    pub fn add(&mut self, key: K, id: u32) {
        match self.0.entry(key).or_insert(Few::One(id)) {
            Few::One(other) if *other == id => {}
            few @ Few::One(_) => *few = Few::Many([few.all(), &[id]].concat()),
            Few::Many(ids) if ids.contains(&id) => {}
            Few::Many(ids) => ids.push(id),
        }
    }

    /// A key stands for one less.
    pub fn remove(&mut self, key: &K, id: u32) {
        let is_over = match self.0.get_mut(key) {
            Some(Few::One(other)) => *other == id,
            Some(Few::Many(ids)) => {
                ids.retain(|other| *other != id);
                ids.is_empty()
            }
            None => false,
        };
        if is_over {
            self.0.remove(key);
        }
        if self.0.capacity() / 8 > self.0.len().max(1024) {
            self.0.shrink_to(self.0.len() * 2);
        }
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
