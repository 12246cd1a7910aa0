//! Looks up the paths of cgroups in the tree below the mount of cgroup v2.

mod mount;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use mount::find_root;
pub use tree::Tree;

/// Shortest interval between walks of the tree, however many ids are unknown. A workload that lives for a shorter time after its
/// first flow may stay without a name.
const WALK_INTERVAL: Duration = Duration::from_millis(20);
/// Walks take at most one in this many parts of a CPU's time.
const WALK_SHARE: u32 = 20;

/// A snapshot of the tree by the last walk, and the ids that wait for the next one.
#[derive(Debug)]
pub struct CgroupTree {
    mount: Option<PathBuf>,
    tree: Tree,
    waiting: HashSet<u64>,
    next_walk: Option<Instant>,
    statistics: Walks,
}

/// Statistics of the walks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walks {
    /// Directories found by the last walk.
    pub directories: usize,
    /// Number of walks.
    pub walks: u64,
    /// Walks that were incomplete because a limit on directories or depth was reached.
    pub cut: u64,
}

impl CgroupTree {
    /// Cgroups below the mount point of the cgroup v2 root; without one, no id has a path.
    #[must_use]
    pub fn below(mount: Option<PathBuf>) -> Self {
        Self {
            mount,
            tree: Tree::default(),
            waiting: HashSet::new(),
            next_walk: None,
            statistics: Walks::default(),
        }
    }

    /// Requests the paths of these ids.
    pub fn ask(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.waiting.extend(ids);
    }

    /// Returns the paths of requested ids below the mount, `None` for those that a walk did not find. Ids that need a walk
    /// which is not due yet are left to a later call.
    pub fn answers(&mut self, now: Instant) -> Vec<(u64, Option<Vec<u8>>)> {
        if self.needs_walk() && self.next_walk.is_none_or(|next| now >= next) {
            self.walk(now);
            return self.waiting.drain().map(|id| (id, self.tree.path(id))).collect();
        }
        let known: Vec<_> = self.waiting.extract_if(|id| self.tree.has(*id)).collect();
        known.into_iter().map(|id| (id, self.tree.path(id))).collect()
    }

    /// When [`Self::answers`] has more to answer; `None` when no id waits for a walk.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.next_walk.filter(|_| self.needs_walk())
    }

    fn needs_walk(&self) -> bool {
        self.waiting.iter().any(|id| !self.tree.has(*id))
    }

    /// Statistics of the walks so far.
    #[must_use]
    pub fn walks(&self) -> Walks {
        self.statistics
    }

    fn walk(&mut self, now: Instant) {
        let began = Instant::now();
        if let Some(mount) = &self.mount {
            // Free the old tree first, so that they are not in memory at the same time.
            self.tree = Tree::default();
            self.tree = Tree::walk(mount);
            self.statistics.directories = self.tree.count();
            self.statistics.walks += 1;
            self.statistics.cut += u64::from(self.tree.is_cut());
        }
        self.next_walk = Some(now + WALK_INTERVAL.max(began.elapsed() * WALK_SHARE));
    }
}
