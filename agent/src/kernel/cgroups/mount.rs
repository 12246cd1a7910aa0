//! Finds the mount point of cgroup v2.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::{fs, io};

/// The mount point of the cgroup v2 root in this process's mount namespace, on unified and hybrid systems (`unified/`)
/// alike; `None` if there is none.
///
/// # Errors
///
/// When the mounts cannot be read.
pub fn find_root() -> io::Result<Option<PathBuf>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    // In a cgroup namespace, the root of a mount may be far below the root of the hierarchy. That root's id is 1
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

/// Decodes spaces, tabs, newlines and backslashes, which are escaped as three octal digits there.
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
    fn a_mount_of_a_cgroup_namespace_does_not_hide_the_root() {
        let both = "40 30 0:28 /../.. /run/node/cgroup rw - cgroup2 cgroup2 rw\n\
            41 30 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let all: Vec<_> = mounts(both).collect();
        assert_eq!(
            all,
            [PathBuf::from("/run/node/cgroup"), PathBuf::from("/sys/fs/cgroup")],
            "the id decides"
        );
    }
}
