//! What a container runtime does for a pod on the host's PID and network namespaces: a root of its own, mounts, user,
//! capabilities. No image is needed: the root has the agent's program and the libraries that it is linked with.
//!
//! Two things are harsher than runtimes are. `/sys/kernel` is empty but for what the manifest mounts there, and of
//! `/dev` there is `null` alone. Seccomp is not applied: the profile belongs to the runtime.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rustix::{
    mount::{
        MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_move,
        mount_remount,
    },
    process::{Gid, Resource, Rlimit, Uid, chroot, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, UnshareFlags, capability_is_in_bounding_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
    },
};

use super::{
    agent,
    cgroup::Cgroup,
    machine,
    manifest::{Container, Source},
    namespace::Tether,
    process::Process,
};

/// A root directory for a container; removed when dropped.
pub(crate) struct Root {
    path: PathBuf,
    container: Container,
}

impl Root {
    /// Puts the files together: the program at its place, its libraries, mount points, and files of ConfigMaps.
    pub(crate) fn new(cgroup: &Cgroup, container: &Container) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{}-root", cgroup.name()));
        let root = Self { path, container: container.clone() };
        let binary = agent::binary()?;
        for file in libraries(&binary)? {
            root.copy(&file, &file)?;
        }
        root.copy(&binary, Path::new(&container.program))?;
        for at in ["/proc", "/sys", "/dev"] {
            root.directory(at)?;
        }
        for mount in &container.mounts {
            // A directory below /sys/kernel is made when that is a file system of its own.
            if !mount.at.starts_with("/sys/") {
                root.directory(&mount.at)?;
            }
            if let Source::Files(files) = &mount.source {
                let directory = root.files(&mount.name);
                fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
                for (name, text) in files {
                    fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))?;
                }
            }
        }
        Ok(root)
    }

    /// Where the files of a ConfigMap are, outside the root.
    fn files(&self, volume: &str) -> PathBuf {
        self.path.with_extension(volume)
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    fn directory(&self, path: &str) -> Result<()> {
        let path = self.inside(path);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.inside(&to.to_string_lossy());
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        fs::copy(from, &to)
            .map(drop)
            .with_context(|| format!("copying {} to {}", from.display(), to.display()))
    }

    /// The command line that starts the container, with nothing in its environment but `env`.
    pub(crate) fn command(&self, cgroup: &Cgroup, env: &[(&str, &str)]) -> Result<Command> {
        let mut command = Command::new(&machine()?.exe);
        command.arg("contain").arg("--parent").arg(std::process::id().to_string());
        command.arg("--cgroup").arg(cgroup.path()).arg("--root").arg(&self.path);
        for mount in &self.container.mounts {
            let source = match &mount.source {
                Source::Host(path) => PathBuf::from(path),
                Source::Files(_) => self.files(&mount.name),
            };
            let kind = if mount.recursively { "--mount-recursively" } else { "--mount" };
            command.arg(kind).arg(format!("{}:{}", source.display(), mount.at));
        }
        for capability in &self.container.capabilities {
            command.arg("--capability").arg(capability);
        }
        command.arg("--user").arg(self.container.user.to_string());
        command.arg("--group").arg(self.container.group.to_string());
        command.arg("--").arg(&self.container.program).args(&self.container.args);
        command.env_clear().envs(env.iter().copied());
        Ok(command)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // In the temporary directory: a leftover does no harm. Nothing is mounted there but in the container's namespace.
        let _ = fs::remove_dir_all(&self.path);
        for mount in &self.container.mounts {
            let _ = fs::remove_dir_all(self.files(&mount.name));
        }
    }
}

/// The libraries of a program and its loader, as the loader itself lists them (ld.so(8)); none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(program);
    let said = Process::run("the loader", command.env("LD_TRACE_LOADED_OBJECTS", "1"), "")?.success()?;
    let file = |line: &str| {
        ensure!(!line.contains("not found"), "{}: {line}", program.display());
        let path = line.split_once("=> ").map_or(line.trim(), |(_, path)| path);
        Ok(path.split(' ').next().filter(|path| path.starts_with('/')).map(PathBuf::from))
    };
    said.lines().filter_map(|line| file(line).transpose()).collect()
}

/// RLIMIT_MEMLOCK of a container: the kernel's default (`MLOCK_LIMIT`, include/uapi/linux/resource.h) before Linux 5.16, and so
/// wherever eBPF maps count against it. The lab itself may have raised its own.
const LOCKED_MEMORY: u64 = 64 << 10;

/// `netcause-lab contain`
#[derive(Args)]
pub(crate) struct Contain {
    #[command(flatten)]
    tether: Tether,
    /// The directory to have as `/`, read-only
    #[arg(long)]
    root: PathBuf,
    /// A directory and its path in the container, read-only: /sys/fs/cgroup:/host/cgroup
    #[arg(long)]
    mount: Vec<String>,
    /// The same, with all that is mounted below it read-only as well
    #[arg(long)]
    mount_recursively: Vec<String>,
    /// A capability to keep, without `CAP_`; the others are dropped
    #[arg(long)]
    capability: Vec<String>,
    #[arg(long)]
    user: u32,
    #[arg(long)]
    group: u32,
    /// The command to become
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Contain {
    pub(crate) fn run(self) -> Result<()> {
        self.tether.attach()?;
        let keep = capabilities(&self.capability)?;
        self.file_systems()?;
        self.rights(keep)?;
        let Some((program, args)) = self.command.split_first() else { bail!("nothing to become") };
        let error = Command::new(program).args(args).exec();
        bail!("starting {program}: {error}");
    }

    /// Namespaces and mounts, as runc makes them (`prepareRootfs`, libcontainer/rootfs_linux.go).
    #[expect(unsafe_code, reason = "unshare(2) is unsafe in rustix for the sake of CLONE_FILES")]
    fn file_systems(&self) -> Result<()> {
        // SAFETY: new namespaces of mounts and cgroups touch neither file descriptors nor memory, and this process has
        // one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP) }
            .context("making namespaces (needs root)")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .context("making mounts private")?;
        mount_bind(&self.root, &self.root).context("making the root a mount")?;
        let at = |path: &str| self.root.join(path.trim_start_matches('/'));
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let new = |kind: &str, path: &str, flags: MountFlags| {
            mount(kind, at(path), kind, flags, None).with_context(|| format!("mounting {kind} at {path}"))
        };
        new("proc", "/proc", plain)?;
        new("sysfs", "/sys", plain | MountFlags::RDONLY)?;
        // The container's own cgroup, which is not the root of the tree.
        new("cgroup2", "/sys/fs/cgroup", plain | MountFlags::RDONLY)?;
        new("tmpfs", "/sys/kernel", plain)?;
        new("tmpfs", "/dev", MountFlags::NOSUID | MountFlags::NOEXEC)?;
        File::create(at("/dev/null")).context("making /dev/null")?;
        mount_bind("/dev/null", at("/dev/null")).context("mounting /dev/null")?;
        for (mounts, recursively) in [(&self.mount, false), (&self.mount_recursively, true)] {
            for wish in mounts {
                let (source, target) = wish.split_once(':').context("a mount without a colon")?;
                let target = at(target);
                fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
                mount_bind_recursive(source, &target).with_context(|| format!("mounting {wish}"))?;
                read_only(&target, recursively)?;
            }
        }
        remount_read_only(&at("/sys/kernel"))?;
        // As runc does with --no-pivot: in the VMs the root is an initramfs, which cannot be taken away.
        std::env::set_current_dir(&self.root).context("entering the root")?;
        mount_move(&self.root, "/").context("moving the root")?;
        chroot(".").context("changing the root")?;
        std::env::set_current_dir("/").context("entering the root")?;
        remount_read_only(Path::new("/"))
    }

    /// User, capabilities, the limit of locked memory, and no way to more of them.
    fn rights(&self, keep: CapabilitySet) -> Result<()> {
        let limit = Rlimit { current: Some(LOCKED_MEMORY), maximum: Some(LOCKED_MEMORY) };
        setrlimit(Resource::Memlock, limit).context("limiting locked memory")?;
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            // Those that this kernel does not know are errors.
            if !keep.contains(one) && capability_is_in_bounding_set(one).unwrap_or(false) {
                remove_capability_from_bounding_set(one).context("dropping a capability")?;
            }
        }
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        set_thread_groups(&[]).context("leaving all groups")?;
        set_thread_res_gid(group, group, group).context("changing the group")?;
        set_thread_res_uid(user, user, user).context("changing the user")?;
        if user.is_root() {
            let sets =
                CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
            set_capabilities(None, sets).context("dropping capabilities")?;
        }
        set_no_new_privs(true).context("giving up new privileges")
    }
}

fn capabilities(names: &[String]) -> Result<CapabilitySet> {
    let mut set = CapabilitySet::empty();
    for name in names {
        set |= CapabilitySet::from_name(name).with_context(|| format!("no capability {name}"))?;
    }
    Ok(set)
}

/// Makes a mount read-only; `recursively`: and all below it.
fn read_only(target: &Path, recursively: bool) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| *point == target || (recursively && point.starts_with(target))) {
        remount_read_only(point)?;
    }
    Ok(())
}

/// The file system itself stays as it is for others.
fn remount_read_only(point: &Path) -> Result<()> {
    mount_remount(point, MountFlags::BIND | MountFlags::RDONLY, "")
        .with_context(|| format!("making {} read-only", point.display()))
}
