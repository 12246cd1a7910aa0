//! Maps cgroup ids to places. The id of a cgroup is the inode number of its directory below the cgroup v2 mount.
//!
//! The caller looks up the paths: [`Cgroups::due`] has the ids, [`Cgroups::answer`] takes the paths.

mod missed;
pub mod path;
pub mod rules;

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use missed::Missed;
pub use path::Place;
use rules::Rules;

/// Limit on known places: twice the default capacity of the map of TCP flows.
const MAX_KNOWN: usize = 1 << 15;

/// Places of the cgroups with flows.
///
/// Ids are never reused: on 64-bit kernels they are assigned in ascending order (`__kernfs_new_node`, fs/kernfs/dir.c). So a
/// place stays valid, even after its directory is removed.
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
    /// Kept for changed rules; `None` for a pod, to which rules do not apply.
    path: Option<Box<[u8]>>,
    is_new: bool,
}

/// Numbers of known and missed cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Cgroups with a known place.
    pub known: usize,
    /// Ids without a known place.
    pub missed: usize,
    /// Lookups refused because too many ids are missed.
    pub refused: u64,
    /// Places dropped because too many are known.
    pub unkept: u64,
}

impl Cgroups {
    /// Replaces the rules, which name cgroups outside pods; applies to known places too.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for known in self.known.values_mut() {
            if let Some(path) = &known.path {
                known.place = place(path, &self.rules);
            }
        }
    }

    /// The place of a cgroup, if known.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<&Place> {
        self.known.get(&id).map(|known| &known.place)
    }

    /// True for a cgroup outside pods whose directory has this name.
    #[must_use]
    pub fn is_named(&self, id: u64, name: &[u8]) -> bool {
        let path = self.known.get(&id).and_then(|known| known.path.as_deref());
        path.and_then(|path| path.rsplit(|byte| *byte == b'/').next()) == Some(name)
    }

    /// Ids of all cgroups with a known place.
    #[must_use]
    pub fn known(&self) -> Vec<u64> {
        self.known.keys().copied().collect()
    }

    /// Requests a lookup of a cgroup unless its place is known.
    pub fn request(&mut self, id: u64, now: Duration) {
        if !self.known.contains_key(&id) {
            self.missed.request(id, now);
        }
    }

    /// Ids to look up now. Each is returned once, until it is answered and due again.
    pub fn due(&mut self, now: Duration) -> Vec<u64> {
        self.missed.due(now)
    }

    /// Takes a cgroup's path below the mount, empty for the root; `None` if it was not found, in which case the lookup is
    /// repeated later. True if its place was not known before.
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

    /// Drops the places of cgroups without flows. Those added since the last call are kept: their flows may be newer than the
    /// reading that `in_use` is based on.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.known.retain(|id, known| mem::take(&mut known.is_new) || in_use(*id));
        self.missed.retain(in_use);
    }

    /// Numbers of known and missed cgroups.
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

/// The place of a path, by its form and by rules.
fn place(path: &[u8], rules: &Rules) -> Place {
    match Place::of(path) {
        Place::Pod(pod) => Place::Pod(pod),
        place => rules.find(path).map_or(place, |name| Place::Configured(std::sync::Arc::clone(name))),
    }
}

#[cfg(test)]
mod tests;
