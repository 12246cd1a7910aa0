//! A host with a real systemd: this machine's files below a layer that is thrown away, systemd as the first process, and packages
//! installed by dpkg.
//!
//! It has its own processes, network, and mounts, and this machine's kernel. What differs from a host is that its processes are in a PID
//! namespace: systemd refuses to be anything but the first process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{cgroup::Cgroup, eventually, namespace::tethered, process::Process};

/// The programs that it needs, each with an argument that makes it succeed.
pub(crate) const PROGRAMS: &[(&str, &str)] = &[
    ("unshare", "--version"),
    ("nsenter", "--version"),
    ("dpkg", "--version"),
    ("systemctl", "--version"),
    ("systemd-analyze", "--version"),
    ("/lib/systemd/systemd", "--version"),
];

/// Makes the root and becomes systemd; `$0` is a directory of its own. The mounts are those that systemd expects to find in a container
/// (systemd.io/CONTAINER_INTERFACE). With cgroups as they are, so that programs can be attached to their root.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs "$0"
cd "$0"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" root
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
for package in $PACKAGES; do cp "$package" srv; done
# It forbids packages to start services, in images that are made of a Debian.
rm -f usr/sbin/policy-rc.d
ip link set lo up
pivot_root . mnt
umount -l /mnt
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=journal </dev/null
"#;

/// The running host; ends when dropped.
pub(crate) struct Host {
    /// `unshare`, which kills the first process when it ends.
    _unshare: Process,
    /// The first process, as this machine numbers it.
    first: u32,
    cgroup: Cgroup,
    directory: PathBuf,
}

impl Host {
    /// Boots with these files in /srv, and waits until services can be started.
    pub(crate) fn boot(scenario: &str, files: &[&Path]) -> Result<Self> {
        let cgroup = Cgroup::new(scenario, "host")?;
        let directory = std::env::temp_dir().join(cgroup.name());
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let mut command = tethered(None, Some(cgroup.path()), &[])?;
        command.args(["unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--net"]);
        command.args(["--fork", "--kill-child", "sh", "-c", BOOT]).arg(&directory);
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        command.env("PACKAGES", files.join(" "));
        let unshare = Process::spawn("a host with systemd", &mut command)?;
        let first =
            eventually("its first process runs", || child_of(unshare.pid()).with_context(|| unshare.said()))?;
        let host = Self { _unshare: unshare, first, cgroup, directory };
        eventually("systemd has booted", || {
            host.run(&["systemctl", "is-active", "basic.target"])
                .map(drop)
                .with_context(|| host._unshare.said())
        })?;
        Ok(host)
    }

    /// Runs a program in it to its end, and returns what it printed.
    pub(crate) fn run(&self, command: &[&str]) -> Result<String> {
        let what = command.join(" ");
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--target",
            &self.first.to_string(),
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--",
        ]);
        nsenter.args(command).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        Process::run(&what, &mut nsenter, "")?.success().context(what)
    }

    /// The processes of a service, as this machine numbers them.
    pub(crate) fn processes_of(&self, service: &str) -> Result<Vec<u32>> {
        let path = self.cgroup.path().join("system.slice").join(service).join("cgroup.procs");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.lines().map(|line| Ok(line.parse()?)).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // All of it ends with its cgroup; its mounts were in a namespace of its own.
        self.cgroup.remove();
        let _ = fs::remove_dir(&self.directory);
    }
}

/// A child of a process (the fourth field of proc_pid_stat(5) is the parent).
fn child_of(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, after) = stat.rsplit_once(')')?;
        (after.split_whitespace().nth(1)?.parse() == Ok(parent)).then_some(pid)
    })
}
