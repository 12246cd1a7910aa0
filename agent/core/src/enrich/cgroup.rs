//! Cgroup ids → places. The id of a cgroup is the inode number of its directory below the cgroup2 mount.

pub mod missed;
mod mount;
pub mod path;
pub mod rules;
pub mod tree;

use std::collections::HashMap;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use missed::Missed;
pub use mount::find_root;
pub use path::Place;
use rules::Rules;
use tree::Tree;

/// The tree is not walked more often than this, however many ids are unknown. A workload that lives shorter may go
/// without a name.
const WALK_INTERVAL: Duration = Duration::from_millis(250);
/// Walks take at most one part in so many of a CPU.
const WALK_SHARE: u32 = 20;
/// Places that are kept: twice the flows that the kernel side tells apart.
const MAX_KNOWN: usize = 1 << 15;

/// Places of the cgroups that were asked for.
///
/// An id is never given twice: on 64-bit kernels it counts on (`__kernfs_new_node`, fs/kernfs/dir.c). So a place is right
/// for good.
pub struct Cgroups {
    mount: Option<PathBuf>,
    rules: Rules,
    /// The last walk.
    tree: Tree,
    /// What was asked for: it keeps its place when the directory is gone.
    known: HashMap<u64, Known>,
    /// What was asked for and not found yet.
    missed: Missed,
    /// Those that were missed and are known now.
    found: Vec<u64>,
    next_walk: Option<Instant>,
    walks: u64,
    cut: u64,
    unkept: u64,
}

struct Known {
    place: Arc<Place>,
    /// For other rules; `None` of a pod, which no rule names.
    path: Option<Box<[u8]>>,
    is_new: bool,
}

/// How the cgroups are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Directories at the last walk.
    pub directories: usize,
    /// Places that are kept.
    pub known: usize,
    /// Ids without a place.
    pub missed: usize,
    /// How often an id was not looked for because too many are missed.
    pub refused: u64,
    /// How often a place was not kept because too many are.
    pub unkept: u64,
    /// Walks so far.
    pub walks: u64,
    /// Of these, how many did not see all: there were more directories, or deeper ones, than are looked at.
    pub cut: u64,
}

impl Cgroups {
    /// Below this directory.
    #[must_use]
    pub fn below(mount: Option<PathBuf>) -> Self {
        Self {
            mount,
            rules: Rules::default(),
            tree: Tree::default(),
            known: HashMap::new(),
            missed: Missed::default(),
            found: Vec::new(),
            next_walk: None,
            walks: 0,
            cut: 0,
            unkept: 0,
        }
    }

    /// Names what is no pod by these rules from now on, what is known too.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for known in self.known.values_mut() {
            if let Some(path) = &known.path {
                known.place = place(path, &self.rules).into();
            }
        }
    }

    /// Where a cgroup is, from the directory with this inode number.
    pub fn place(&mut self, id: u64) -> Option<Arc<Place>> {
        if let Some(known) = self.known.get(&id) {
            return Some(Arc::clone(&known.place));
        }
        self.look(id, Instant::now())
    }

    fn look(&mut self, id: u64, now: Instant) -> Option<Arc<Place>> {
        if !self.tree.has(id) {
            if !self.missed.ask(id, now) || !self.may_walk(now) {
                return None;
            }
            self.walk(now);
        }
        self.learn(id)
    }

    /// Looks for what was asked for too early: it may be gone when somebody asks again.
    pub fn catch_up(&mut self) {
        let now = Instant::now();
        if self.missed.is_due(now) && self.may_walk(now) {
            self.walk(now);
        }
    }

    /// Those that were found since this was last asked, after they had been asked for in vain.
    pub fn take_found(&mut self) -> Vec<u64> {
        mem::take(&mut self.found)
    }

    /// Drops the places of cgroups that no flow has any more. What was not known when this was last done stays: its flow
    /// may be younger than the reading that tells what is in use.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.known.retain(|id, known| mem::take(&mut known.is_new) || in_use(*id));
        self.missed.retain(in_use);
    }

    /// How they are.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            directories: self.tree.len(),
            known: self.known.len(),
            missed: self.missed.len(),
            refused: self.missed.refused(),
            unkept: self.unkept,
            walks: self.walks,
            cut: self.cut,
        }
    }

    fn may_walk(&self, now: Instant) -> bool {
        self.next_walk.is_none_or(|next| now >= next)
    }

    fn walk(&mut self, now: Instant) {
        let began = Instant::now();
        if let Some(mount) = &self.mount {
            // Not both at a time.
            self.tree = Tree::default();
            self.tree = Tree::walk(mount);
            self.walks += 1;
            self.cut += u64::from(self.tree.is_cut());
        }
        self.next_walk = Some(now + WALK_INTERVAL.max(began.elapsed() * WALK_SHARE));
        for id in self.missed.walked(now, |id| self.tree.has(id)) {
            self.learn(id);
            self.found.push(id);
        }
    }

    /// Keeps what the tree tells.
    fn learn(&mut self, id: u64) -> Option<Arc<Place>> {
        if let Some(known) = self.known.get(&id) {
            return Some(Arc::clone(&known.place));
        }
        let path = self.tree.path(id)?;
        let place = Arc::new(place(&path, &self.rules));
        if self.known.len() < MAX_KNOWN {
            let path = (!matches!(*place, Place::Pod(_))).then(|| path.into());
            self.known.insert(id, Known { place: Arc::clone(&place), path, is_new: true });
        } else {
            self.unkept += 1;
        }
        Some(place)
    }
}

/// What a path is, by its form and by rules.
fn place(path: &[u8], rules: &Rules) -> Place {
    match Place::of(path) {
        Place::Pod(pod) => Place::Pod(pod),
        place => rules.find(path).map_or(place, |says| Place::Configured(Arc::clone(says))),
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
