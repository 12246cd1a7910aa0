//! Cgroup ids → names. The id of a cgroup is the inode number of its directory below the cgroup2 mount.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

/// The tree is not walked more often than this, however many ids are unknown. A walk over a thousand cgroups takes some
/// ten milliseconds; a workload that lives shorter may go without a name.
const WALK_INTERVAL: Duration = Duration::from_millis(250);
/// Cgroups that wait for the next walk.
const MAX_MISSED: usize = 4096;
/// Directories deeper than this are not looked at.
const MAX_DEPTH: usize = 16;

/// Names of the cgroups that were asked for.
pub struct Cgroups {
    mount: Option<PathBuf>,
    /// Every directory of the last walk.
    tree: HashMap<u64, Arc<str>>,
    /// What was asked for: it keeps its name when the directory is gone.
    known: HashMap<u64, Arc<str>>,
    /// What was asked for too early for another walk.
    missed: HashSet<u64>,
    walked: Option<Instant>,
}

impl Cgroups {
    /// Below this directory.
    #[must_use]
    pub fn below(mount: Option<PathBuf>) -> Self {
        Self { mount, tree: HashMap::new(), known: HashMap::new(), missed: HashSet::new(), walked: None }
    }

    /// The name of a cgroup, from the directory with this inode number.
    pub fn name(&mut self, id: u64) -> Option<Arc<str>> {
        if let Some(name) = self.known.get(&id) {
            return Some(Arc::clone(name));
        }
        if !self.tree.contains_key(&id) {
            if self.may_walk() {
                self.walk();
            } else if self.missed.len() < MAX_MISSED {
                self.missed.insert(id);
            }
        }
        let name = Arc::clone(self.tree.get(&id)?);
        self.known.insert(id, Arc::clone(&name));
        Some(name)
    }

    /// Looks for what was asked for too early: it may be gone when somebody asks again.
    pub fn catch_up(&mut self) {
        if self.missed.is_empty() || !self.may_walk() {
            return;
        }
        self.walk();
        for id in std::mem::take(&mut self.missed) {
            if let Some(name) = self.tree.get(&id) {
                self.known.insert(id, Arc::clone(name));
            }
        }
    }

    fn may_walk(&self) -> bool {
        self.walked.is_none_or(|walked| walked.elapsed() >= WALK_INTERVAL)
    }

    /// Drops the names of cgroups that no flow has any more.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.known.retain(|id, _| in_use(*id));
    }

    fn walk(&mut self) {
        self.walked = Some(Instant::now());
        self.tree.clear();
        let Some(mount) = &self.mount else { return };
        if let Ok(metadata) = fs::metadata(mount) {
            use std::os::unix::fs::MetadataExt as _;
            self.tree.insert(metadata.ino(), "host".into());
        }
        collect(mount, Path::new(""), 0, &mut self.tree);
    }
}

/// Directories that vanish while they are walked are passed over.
fn collect(mount: &Path, below: &Path, depth: usize, tree: &mut HashMap<u64, Arc<str>>) {
    let Ok(entries) = fs::read_dir(mount.join(below)) else { return };
    for entry in entries.flatten() {
        if depth < MAX_DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = below.join(entry.file_name());
            tree.insert(entry.ino(), name_of(&path).into());
            collect(mount, &path, depth + 1, tree);
        }
    }
}

/// What a cgroup is called: its systemd unit, its container, or its path below the mount.
fn name_of(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    for part in parts.iter().rev() {
        if let Some(container) = container(part) {
            return container;
        }
        // A service's own children (`init.scope` of a user's manager, workers) are the service.
        if part.ends_with(".service") {
            return part.to_string();
        }
    }
    parts.join("/")
}

/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, `libpod-<id>.scope` or the bare id: 64 hexadecimal digits,
/// shortened to twelve as the runtimes' own tools do.
fn container(part: &str) -> Option<String> {
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = stem.rsplit_once('-').unwrap_or(("", stem));
    let is_id = id.len() == 64 && id.bytes().all(|octet| octet.is_ascii_hexdigit());
    is_id.then(|| if runtime.is_empty() { id[..12].to_owned() } else { format!("{runtime}-{}", &id[..12]) })
}

/// Where the root of cgroup v2 is mounted for this process, on unified and hybrid systems (`unified/`) alike; `None`
/// when it is nowhere.
///
/// # Errors
///
/// When the mounts cannot be read.
pub fn find_root() -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::MetadataExt as _;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    // In a container of its own cgroup namespace, a mount may begin far below the root. The root's id is 1
    // (`__kernfs_new_node`, fs/kernfs/dir.c), and so its inode number.
    let is_root = |mount: &PathBuf| fs::metadata(mount).is_ok_and(|metadata| metadata.ino() == 1);
    Ok(mounts(&mountinfo).find(is_root))
}

/// The mount points of cgroup2 file systems in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        (kind == "cgroup2").then(|| PathBuf::from(unescape(before.split(' ').nth(4).unwrap_or("/"))))
    })
}

/// Blanks, tabs, line ends and backslashes stand as three octal digits there.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_unified_and_hybrid_systems() {
        let unified = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let first = |mountinfo| mounts(mountinfo).next();
        assert_eq!(first(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "31 30 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 31 0:28 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n";
        assert_eq!(first(hybrid), Some("/sys/fs/cgroup/uni fied".into()));
        assert_eq!(first("31 30 0:26 / / rw - ext4 /dev/vda rw\nnonsense\n"), None);
    }

    #[test]
    fn units_containers_and_paths_are_named() {
        let id = "0123456789abcdef".repeat(4);
        for (path, name) in [
            ("system.slice/nginx.service".to_owned(), "nginx.service"),
            ("user.slice/user-0.slice/user@0.service/app.slice/x".to_owned(), "user@0.service"),
            (format!("system.slice/docker-{id}.scope"), "docker-0123456789ab"),
            (format!("kubepods.slice/cri-containerd-{id}.scope"), "cri-containerd-0123456789ab"),
            (format!("docker/{id}"), "0123456789ab"),
            (format!("docker/{id}/init"), "0123456789ab"),
            ("batch/job-7".to_owned(), "batch/job-7"),
        ] {
            assert_eq!(name_of(Path::new(&path)), name, "{path}");
        }
    }

    #[test]
    fn a_name_outlives_its_directory_while_it_is_in_use() {
        use std::os::unix::fs::MetadataExt as _;
        let root = std::env::temp_dir().join(format!("netcause-cgroups-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        let id = fs::metadata(root.join("a/b")).unwrap().ino();
        let mut cgroups = Cgroups::below(Some(root.clone()));
        assert_eq!(cgroups.name(id).as_deref(), Some("a/b"));
        fs::remove_dir_all(&root).unwrap();
        cgroups.walk();
        assert_eq!(cgroups.name(id).as_deref(), Some("a/b"));
        cgroups.retain(|_| false);
        assert_eq!(cgroups.name(id), None);
    }
}
