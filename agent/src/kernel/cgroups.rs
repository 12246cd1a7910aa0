//! Looks up the paths of cgroups in the tree below the mount of cgroup v2.

mod mount;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use mount::find_root;
use tree::Tree;

/// The tree is not walked more often than this, however many ids are unknown. A workload that lives shorter may go
/// without a name.
const WALK_INTERVAL: Duration = Duration::from_millis(250);
/// Walks take at most one part in so many of a CPU.
const WALK_SHARE: u32 = 20;

/// The tree as the last walk found it, and the ids that wait for the next one.
#[derive(Debug)]
pub struct CgroupTree {
    mount: Option<PathBuf>,
    tree: Tree,
    waiting: HashSet<u64>,
    next_walk: Option<Instant>,
    statistics: Walks,
}

/// Walks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walks {
    /// Directories at the last one.
    pub directories: usize,
    /// All of them.
    pub walks: u64,
    /// Those that did not see all: there were more directories, or deeper ones, than are looked at.
    pub cut: u64,
}

impl CgroupTree {
    /// Below this directory.
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

    /// Wants the paths of these.
    pub fn ask(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.waiting.extend(ids);
    }

    /// Answers what can be answered by now: the path of each id below the mount, `None` when a walk did not find it.
    /// What waits for a walk that is not due yet is answered by a later call.
    pub fn answers(&mut self, now: Instant) -> Vec<(u64, Option<Vec<u8>>)> {
        if self.waiting.iter().any(|id| !self.tree.has(*id)) && self.next_walk.is_none_or(|next| now >= next)
        {
            self.walk(now);
            return self.waiting.drain().map(|id| (id, self.tree.path(id))).collect();
        }
        let known: Vec<_> = self.waiting.extract_if(|id| self.tree.has(*id)).collect();
        known.into_iter().map(|id| (id, self.tree.path(id))).collect()
    }

    /// Walks so far.
    #[must_use]
    pub fn walks(&self) -> Walks {
        self.statistics
    }

    fn walk(&mut self, now: Instant) {
        let began = Instant::now();
        if let Some(mount) = &self.mount {
            // Not both at a time.
            self.tree = Tree::default();
            self.tree = Tree::walk(mount);
            self.statistics.directories = self.tree.len();
            self.statistics.walks += 1;
            self.statistics.cut += u64::from(self.tree.is_cut());
        }
        self.next_walk = Some(now + WALK_INTERVAL.max(began.elapsed() * WALK_SHARE));
    }
}
