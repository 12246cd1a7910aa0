//! Bounds the number of DNS names that become label values for addresses outside the known networks.

use std::collections::HashMap;

use super::name::Name;
use super::policy::Label;

/// The DNS names in use as names of workloads, up to a limit.
#[derive(Debug)]
pub struct Outside {
    limit: usize,
    names: HashMap<Label, Name>,
}

impl Outside {
    /// Without names, and with this limit.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, names: HashMap::new() }
    }

    /// What addresses that were resolved from this are called; `None` when it has no place among the names.
    #[must_use]
    pub fn name(&self, label: &Label) -> Option<&Name> {
        self.names.get(label)
    }

    /// Gives it a place, if there is one.
    pub fn reserve(&mut self, label: &Label) {
        if self.names.len() < self.limit && !self.names.contains_key(label) {
            self.names.insert(label.clone(), Name::new("", &label.to_string()));
        }
    }

    /// Removes names that are not in use.
    pub fn forget(&mut self) {
        self.names.retain(|_, name| name.is_held());
    }

    /// The number of names, and the limit.
    #[must_use]
    pub fn fullness(&self) -> (u64, u64) {
        (self.names.len() as u64, self.limit as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_holds_makes_room() {
        let mut outside = Outside::new(2);
        let label = |name: &str| Label::Plain(name.parse().unwrap());
        for name in ["a.test", "b.test", "c.test"] {
            outside.reserve(&label(name));
        }
        let first = outside.name(&label("a.test")).cloned().unwrap();
        assert_eq!((first.namespace(), first.workload()), ("", "a.test"));
        assert_eq!(outside.name(&label("c.test")), None);
        assert_eq!(outside.name(&label("a.test")), Some(&first));
        outside.forget();
        assert_eq!(outside.fullness(), (1, 2));
        outside.reserve(&label("c.test"));
        assert!(outside.name(&label("c.test")).is_some());
    }
}
