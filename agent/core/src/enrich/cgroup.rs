//! Cgroup ids → places. The id of a cgroup is the inode number of its directory below the cgroup2 mount.
//!
//! Paths come from outside: [`Cgroups::due`] says which are wanted, [`Cgroups::answer`] takes them.

mod missed;
pub mod path;
pub mod rules;

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use missed::Missed;
pub use path::Place;
use rules::Rules;

/// Places that are kept: twice the flows that the kernel side tells apart.
const MAX_KNOWN: usize = 1 << 15;

/// Places of the cgroups that are in use.
///
/// An id is never given twice: on 64-bit kernels it counts on (`__kernfs_new_node`, fs/kernfs/dir.c). So a place is right
/// for good, also when its directory is gone.
#[derive(Debug, Default)]
pub struct Cgroups {
    rules: Rules,
    known: HashMap<u64, Known>,
    missed: Missed,
    unkept: u64,
}

#[derive(Debug)]
struct Known {
    place: Place,
    /// For other rules; `None` of a pod, which no rule names.
    path: Option<Box<[u8]>>,
    is_new: bool,
}

/// How many cgroups are known and missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Places that are kept.
    pub known: usize,
    /// Ids without a place.
    pub missed: usize,
    /// How often an id was not looked up because too many are missed.
    pub refused: u64,
    /// How often a place was not kept because too many are.
    pub unkept: u64,
}

impl Cgroups {
    /// Names what is no pod by these rules from now on, what is known too.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for known in self.known.values_mut() {
            if let Some(path) = &known.path {
                known.place = place(path, &self.rules);
            }
        }
    }

    /// Where a cgroup is, as far as that is known.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<&Place> {
        self.known.get(&id).map(|known| &known.place)
    }

    /// The cgroups whose places are known.
    #[must_use]
    pub fn known(&self) -> Vec<u64> {
        self.known.keys().copied().collect()
    }

    /// Registers interest in a cgroup.
    pub fn request(&mut self, id: u64, now: Duration) {
        if !self.known.contains_key(&id) {
            self.missed.request(id, now);
        }
    }

    /// The cgroups whose paths are wanted now. Each is named once, until it is answered and due again.
    pub fn due(&mut self, now: Duration) -> Vec<u64> {
        self.missed.due(now)
    }

    /// Takes a cgroup's path below the mount, empty for the root; `None` when it was not found, which has it looked for
    /// again after a while. True when its place is news.
    pub fn answer(&mut self, id: u64, path: Option<&[u8]>, now: Duration) -> bool {
        let Some(path) = path else {
            self.missed.not_found(id, now);
            return false;
        };
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&id) {
            self.unkept += 1;
            self.missed.not_found(id, now);
            return false;
        }
        self.missed.found(id);
        let place = place(path, &self.rules);
        let path = (!matches!(place, Place::Pod(_))).then(|| path.into());
        self.known.insert(id, Known { place, path, is_new: true }).is_none()
    }

    /// Drops the places of cgroups that no flow has any more. What was not known when this was last called stays: its flow
    /// may be younger than the reading that says what is in use.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.known.retain(|id, known| mem::take(&mut known.is_new) || in_use(*id));
        self.missed.retain(in_use);
    }

    /// How many are known and missed.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            known: self.known.len(),
            missed: self.missed.count(),
            refused: self.missed.refused(),
            unkept: self.unkept,
        }
    }
}

/// What a path is, by its form and by rules.
fn place(path: &[u8], rules: &Rules) -> Place {
    match Place::of(path) {
        Place::Pod(pod) => Place::Pod(pod),
        place => rules.find(path).map_or(place, |name| Place::Configured(std::sync::Arc::clone(name))),
    }
}

#[cfg(test)]
mod tests;
