//! Finds the mount point of cgroup v2.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
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
    let mountinfo = fs::read("/proc/self/mountinfo")?;
    // In a cgroup namespace, the root of a mount may be far below the root of the hierarchy. That root's id is 1
    // (`__kernfs_new_node`, fs/kernfs/dir.c), and so its inode number.
    let is_root = |mount: &PathBuf| fs::metadata(mount).is_ok_and(|metadata| metadata.ino() == 1);
    Ok(mounts(&mountinfo).find(is_root))
}

/// The mount points of cgroup2 file systems in `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Paths are bytes: of any mount
/// there, they need not be UTF-8.
fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let mount_point = fields.nth(4)?;
        // Optional fields up to a dash, then the type of the file system.
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| PathBuf::from(OsString::from_vec(unescape(mount_point))))
    })
}

/// Decodes the bytes that are escaped as a backslash and three octal digits there: spaces, tabs, newlines and
/// backslashes (`show_mountinfo`, fs/proc_namespace.c).
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match after {
            [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_unified_and_hybrid_systems() {
        let unified = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let first = |mountinfo: &str| mounts(mountinfo.as_bytes()).next();
        assert_eq!(first(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "31 30 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 31 0:28 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n";
        assert_eq!(first(hybrid), Some("/sys/fs/cgroup/uni fied".into()));
        assert_eq!(first("31 30 0:26 / / rw - ext4 /dev/vda rw\nnonsense\n"), None);
    }

    #[test]
    fn mount_points_are_bytes() {
        let mountinfo = b"31 30 0:26 / /mnt/cass\xe9 rw - tmpfs none rw\n\
            33 31 0:28 / /mnt/\xe9\\134\\043\\011\\9 rw shared:9 - cgroup2 cgroup2 rw\n";
        let all: Vec<_> = mounts(mountinfo).map(|path| path.into_os_string().into_vec()).collect();
        assert_eq!(all, [b"/mnt/\xe9\\#\t\\9".to_vec()]);
    }

    #[test]
    fn a_mount_of_a_cgroup_namespace_does_not_hide_the_root() {
        let both = "40 30 0:28 /../.. /run/node/cgroup rw - cgroup2 cgroup2 rw\n\
            41 30 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let all: Vec<_> = mounts(both.as_bytes()).collect();
        assert_eq!(
            all,
            [PathBuf::from("/run/node/cgroup"), PathBuf::from("/sys/fs/cgroup")],
            "the id decides"
        );
    }
}
