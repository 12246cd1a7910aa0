//! Cgroup v2 directories, one per pod, directly below the mount.
//!
//! The directory's name is what the agent calls the workload, so it is unique over scenarios and over labs that run at
//! the same time: `netcause-lab-<pid of the lab>-<scenario>-<pod>`. Below it there may be more, laid out as Kubernetes
//! does it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::machine;

const PREFIX: &str = "netcause-lab-";

/// A cgroup of the lab; removed when dropped, after its processes are killed.
pub(crate) struct Cgroup {
    name: String,
    top: PathBuf,
    /// Where its processes are: the top, or a directory below it.
    path: PathBuf,
}

impl Cgroup {
    pub(crate) fn new(scenario: &str, pod: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{scenario}-{pod}", std::process::id());
        let top = machine()?.cgroup_root.join(&name);
        fs::create_dir(&top).with_context(|| format!("making cgroup {}", top.display()))?;
        Ok(Self { name, path: top.clone(), top })
    }

    /// One whose processes are some directories further down: `kubepods.slice/.../cri-containerd-<id>.scope`.
    pub(crate) fn with_layout(scenario: &str, pod: &str, below: &str) -> Result<Self> {
        let mut cgroup = Self::new(scenario, pod)?;
        cgroup.path.push(below);
        fs::create_dir_all(&cgroup.path).with_context(|| format!("making {}", cgroup.path.display()))?;
        Ok(cgroup)
    }

    /// The directory's name: the workload's name in the agent's metrics.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills its processes and removes it.
    pub(crate) fn remove(&self) {
        let start = Instant::now();
        for cgroup in with_children(&self.top) {
            while let Err(error) = fs::remove_dir(&cgroup) {
                if error.kind() == io::ErrorKind::NotFound || start.elapsed() > Duration::from_secs(5) {
                    break;
                }
                // Processes in the lab's own cgroup were started by the lab.
                for pid in members(&cgroup) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Where the kubelet and containerd put the processes of a pod, with systemd's names: below the slice of its quality of
/// service the pod's slice, which has its uid with `_` for `-`, and in that its container's scope.
pub(crate) fn kubepods(uid: &str) -> String {
    let (slice, container) = (uid.replace('-', "_"), uid.replace('-', ""));
    format!(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/\
         cri-containerd-{container}{container}.scope"
    )
}

/// A cgroup and those below it, the innermost first.
fn with_children(cgroup: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(with_children(&entry.path()));
        }
    }
    all.push(cgroup.to_owned());
    all
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

fn members(cgroup: &Path) -> Vec<Pid> {
    let Ok(procs) = fs::read_to_string(cgroup.join("cgroup.procs")) else { return Vec::new() };
    procs.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw).collect()
}

/// The cgroups that a lab with this pid made and that still exist.
pub(crate) fn of_lab(lab: u32) -> Result<Vec<PathBuf>> {
    let prefix = format!("{PREFIX}{lab}-");
    let root = &machine()?.cgroup_root;
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("listing {}", root.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes what labs that died left behind: their cgroups, empty because the kernel killed their processes with them.
pub(crate) fn sweep_stale() -> Result<()> {
    let root = &machine()?.cgroup_root;
    for entry in fs::read_dir(root).with_context(|| format!("listing {}", root.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(lab) = name
            .to_string_lossy()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok())
        else {
            continue;
        };
        if !Path::new(&format!("/proc/{lab}")).exists() {
            for cgroup in with_children(&entry.path()) {
                // A failure means that its processes are still exiting: the next run removes it.
                let _ = fs::remove_dir(cgroup);
            }
        }
    }
    Ok(())
}

/// The mount point of cgroup v2, from `/proc/self/mountinfo`.
pub(crate) fn find_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    mounts.lines().find_map(cgroup2_mount).context("cgroup v2 is not mounted on this machine")
}

/// The mount point of one line of mountinfo, if it is the root of a cgroup v2 hierarchy (proc_pid_mountinfo(5)).
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    (root == "/" && filesystem.starts_with("cgroup2 ")).then(|| PathBuf::from(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_on_hybrid_and_unified_systems() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(cgroup2_mount(unified), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(cgroup2_mount("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(cgroup2_mount("30 23 0:26 /pod7 /mnt rw - cgroup2 cgroup2 rw"), None);
    }
}
