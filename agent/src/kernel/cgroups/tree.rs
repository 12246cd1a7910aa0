//! A snapshot of the directories of a cgroup file system.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{ffi::OsString, fs};

/// Limit on directories; further ones are skipped.
const MAX_DIRECTORIES: usize = 1 << 16;
/// Limit on depth; deeper directories are skipped.
const MAX_DEPTH: u8 = 32;
/// Link count of a directory without subdirectories: its name and its own `.`. A kernfs directory has one more for each
/// subdirectory (`kernfs_refresh_inode`, fs/kernfs/inode.c).
const LINKS_OF_A_LEAF: u64 = 2;

/// All directories at the time of the walk, by inode number.
///
/// About a hundred bytes each: the name of a container's directory alone has 80.
#[derive(Debug, Default)]
pub struct Tree {
    /// In the order of the walk: first the mount itself, and each after its parent.
    directories: Vec<Directory>,
    /// Their names, concatenated.
    names: Vec<u8>,
    /// Indices into `directories`, sorted by inode number.
    by_id: Vec<u32>,
    is_cut: bool,
}

#[derive(Debug)]
struct Directory {
    id: u64,
    /// Index of its parent.
    parent: u32,
    /// Start of its name in `names`.
    name: u32,
    length: u8,
    depth: u8,
}

impl Tree {
    /// Walks the tree. A cgroup directory has some sixty files besides its subdirectories, and most have no subdirectory:
    /// those are not read, so that each costs one `stat`. Directories removed meanwhile are skipped.
    #[must_use]
    pub fn walk(mount: &Path) -> Self {
        let mut tree = Self::default();
        let Ok(root) = fs::metadata(mount) else { return tree };
        tree.push(root.ino(), 0, b"", 0);
        let mut waiting = vec![0];
        while let Some(parent) = waiting.pop() {
            let path = mount.join(PathBuf::from(OsString::from_vec(tree.path_of(parent))));
            let Ok(entries) = fs::read_dir(path) else { continue };
            let depth = tree.directories.get(parent as usize).map_or(MAX_DEPTH, |parent| parent.depth) + 1;
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                // Another file system may be mounted there.
                let Some(metadata) = entry.metadata().ok().filter(|metadata| metadata.dev() == root.dev())
                else {
                    continue;
                };
                let Some(this) = tree.push(metadata.ino(), parent, entry.file_name().as_bytes(), depth)
                else {
                    tree.is_cut = true;
                    continue;
                };
                if metadata.nlink() == LINKS_OF_A_LEAF {
                    continue;
                }
                if depth < MAX_DEPTH {
                    waiting.push(this);
                } else {
                    tree.is_cut = true;
                }
            }
        }
        // Kept until the next walk, so free the excess capacity.
        tree.directories.shrink_to_fit();
        tree.names.shrink_to_fit();
        let mut by_id = tree.by_id;
        by_id.shrink_to_fit();
        by_id.sort_unstable_by_key(|at| tree.directories.get(*at as usize).map(|directory| directory.id));
        tree.by_id = by_id;
        tree
    }

    /// Adds a directory and returns its index; `None` at the limit.
    fn push(&mut self, id: u64, parent: u32, name: &[u8], depth: u8) -> Option<u32> {
        if self.directories.len() >= MAX_DIRECTORIES {
            return None;
        }
        let this = u32::try_from(self.directories.len()).ok()?;
        // NAME_MAX is 255.
        let length = u8::try_from(name.len()).ok()?;
        let start = u32::try_from(self.names.len()).ok()?;
        self.names.extend_from_slice(name);
        self.directories.push(Directory { id, parent, name: start, length, depth });
        self.by_id.push(this);
        Some(this)
    }

    /// The path of a directory below the mount; empty for the mount itself.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<Vec<u8>> {
        let at = self.find(id)?;
        Some(self.path_of(at))
    }

    /// The ids of all directories.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.directories.iter().map(|directory| directory.id)
    }

    /// Whether the walk found this directory.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.find(id).is_some()
    }

    /// The number of directories.
    #[must_use]
    pub fn count(&self) -> usize {
        self.directories.len()
    }

    /// Whether directories were skipped because a limit was reached.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn find(&self, id: u64) -> Option<u32> {
        let id_of = |at: &u32| self.directories.get(*at as usize).map(|directory| directory.id);
        let at = self.by_id.binary_search_by_key(&Some(id), id_of).ok()?;
        self.by_id.get(at).copied()
    }

    fn path_of(&self, at: u32) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = at;
        // The mount is the first, and the only one without a name.
        while at != 0
            && let Some(directory) = self.directories.get(at as usize)
        {
            let start = directory.name as usize;
            names.extend(self.names.get(start..start + usize::from(directory.length)));
            at = directory.parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}
