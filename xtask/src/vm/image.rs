//! The first root file system of a VM: busybox, the programs under test, the tools they call, the kernel's modules.
//!
//! It is made of three archives: the tools (the same for all kernels), the modules (made once per kernel), and the job of this
//! run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    cpio::Archive,
    kernel::{self, Kernel},
};
use crate::{exec, linked, tools::unpacked};

/// Programs of this machine that the lab calls, copied where they are installed; busybox has the rest. dash is among them because
/// busybox's own shell prefers its small `ip` and `tc` to those on the search path.
const TOOLS: &[&str] = &["ip", "tc", "ss", "nft", "curl", "dash", "dig", "dnsperf"];

/// Parts of the kernel's module tree that are copied, with their dependencies. The rest is for hardware.
const MODULES: &[&str] = &[
    "kernel/net/",
    "kernel/drivers/net/veth",
    "kernel/drivers/net/dummy",
    "kernel/drivers/net/ifb",
    "kernel/drivers/net/macvlan",
    "kernel/drivers/net/tun",
    "kernel/drivers/net/vxlan",
    "kernel/drivers/net/geneve",
    "kernel/drivers/net/virtio_net",
    "kernel/drivers/virtio/virtio_pci",
];
/// Parts of those that the lab does not need.
const NOT_MODULES: &[&str] = &[
    "bluetooth",
    "wireless",
    "mac80211",
    "9p",
    "sunrpc",
    "rxrpc",
    "ceph",
    "smc",
    "tipc",
    "batman-adv",
    "can/",
];

/// The guest's path of the programs under test.
pub(super) const BIN: &str = "/usr/local/bin";

/// The job of one run.
pub(super) struct Job {
    /// A shell script.
    pub command: String,
    /// `NAME=value` lines for the init script.
    pub settings: Vec<(&'static str, String)>,
}

/// The archive that all kernels share: tools, libraries, the programs in `programs`.
pub(super) fn base(path: &Path, programs: &[&Path]) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(create(path)?));
    for directory in
        ["proc", "sys", "dev", "run", "tmp", "home", "bin", "sbin", "usr/bin", "usr/sbin", "var", "etc"]
    {
        archive.directory(directory)?;
    }
    archive.file("init", include_bytes!("init.sh"), 0o755)?;
    let Some(busybox) = exec::find_on_path("busybox") else {
        bail!("busybox is not installed (package busybox-static)")
    };
    archive.copy("bin/busybox", &busybox)?;
    let shell = exec::find_on_path("dash").map_or("busybox".to_owned(), |_| format!("{BIN}/dash"));
    archive.symlink("bin/sh", &shell)?;
    archive.file(
        "etc/passwd",
        b"root:x:0:0:root:/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        0o644,
    )?;
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)?;
    archive.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n", 0o644)?;
    archive.file("etc/nsswitch.conf", b"hosts: files dns\n", 0o644)?;
    let mut libraries = BTreeSet::new();
    let tools = TOOLS.iter().filter_map(|tool| exec::find_on_path(tool));
    for tool in tools.chain(unpacked::find("unbound")) {
        add_program(&mut archive, &tool, &tool, &mut libraries)?;
    }
    for program in programs {
        // Debug information is most of a program and not needed in a VM.
        let stripped = path.with_extension("stripped");
        exec::output(
            Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(program),
            "stripping a program for the image",
        )?;
        add_program(&mut archive, program, &stripped, &mut libraries)?;
        fs::remove_file(&stripped).with_context(|| format!("cannot remove {}", stripped.display()))?;
    }
    for library in &libraries {
        archive.copy(&library.to_string_lossy(), library)?;
    }
    archive.finish().map(drop)
}

fn add_program(
    archive: &mut Archive<impl io::Write>,
    program: &Path,
    content: &Path,
    libraries: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let Some(name) = program.file_name() else { bail!("{} is no program", program.display()) };
    archive.copy(&format!("{BIN}/{}", name.to_string_lossy()), content)?;
    libraries.extend(linked::libraries(program)?);
    Ok(())
}

/// The archive of a kernel's modules, made once for these lists and kept in the kernel's directory.
pub(super) fn modules(kernel: &Kernel) -> Result<PathBuf> {
    let mut lists = DefaultHasher::new();
    (MODULES, NOT_MODULES).hash(&mut lists);
    let path = kernel.tree.join(format!("modules-{:016x}.cpio", lists.finish()));
    if path.is_file() {
        return Ok(path);
    }
    let tree = kernel.tree.join("lib/modules").join(&kernel.release);
    let index = tree.join("modules.dep");
    let index = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let staging = kernel.tree.join("staging");
    drop(fs::remove_dir_all(&staging));
    let target = staging.join("lib/modules").join(&kernel.release);
    for module in wanted(&index) {
        unpack(&tree.join(&module), &target.join(uncompressed(&module)))?;
    }
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        if tree.join(list).is_file() {
            fs::copy(tree.join(list), target.join(list)).with_context(|| format!("cannot copy {list}"))?;
        }
    }
    kernel::depmod(&staging, &kernel.release)?;
    let partial = path.with_extension("partial");
    let mut archive = Archive::new(BufWriter::new(create(&partial)?));
    add_tree(&mut archive, &staging, &staging)?;
    archive.finish()?;
    fs::rename(&partial, &path).with_context(|| format!("cannot write {}", path.display()))?;
    fs::remove_dir_all(&staging).with_context(|| format!("cannot remove {}", staging.display()))?;
    Ok(path)
}

/// The modules of [`MODULES`] and their dependencies, from a `modules.dep`.
fn wanted(index: &str) -> BTreeSet<String> {
    let depends: BTreeMap<&str, Vec<&str>> = index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, depends)| (module, depends.split_whitespace().collect()))
        .collect();
    let is_wanted = |module: &str| {
        MODULES.iter().any(|part| module.starts_with(part))
            && !NOT_MODULES.iter().any(|part| module.contains(part))
    };
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for (module, depends) in depends.iter().filter(|(module, _)| is_wanted(module)) {
        // modules.dep lists what a module needs in full, indirect needs included.
        wanted.insert((*module).to_owned());
        wanted.extend(depends.iter().map(|module| (*module).to_owned()));
    }
    wanted
}

fn uncompressed(module: &str) -> &str {
    module.trim_end_matches(".xz").trim_end_matches(".zst").trim_end_matches(".gz")
}

/// Copies a module and unpacks it: an emulated processor is slow at that.
fn unpack(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let unpacker = match from.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display())),
    };
    let status = Command::new(unpacker)
        .args(["-q", "-d", "-c"])
        .arg(from)
        .stdout(create(to)?)
        .status()
        .with_context(|| format!("cannot start {unpacker}"))?;
    if status.success() { Ok(()) } else { bail!("{unpacker} could not unpack {} ({status})", from.display()) }
}

fn add_tree(archive: &mut Archive<impl io::Write>, root: &Path, directory: &Path) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", directory.display()))?.path();
        if path.is_dir() {
            add_tree(archive, root, &path)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            archive.copy(&name.to_string_lossy(), &path)?;
        }
    }
    Ok(())
}

/// One image of several archives and the job.
pub(super) fn assemble(path: &Path, parts: &[&Path], job: &Job) -> Result<()> {
    let mut out = BufWriter::new(create(path)?);
    for part in parts {
        let mut part = File::open(part).with_context(|| format!("cannot read {}", part.display()))?;
        io::copy(&mut part, &mut out).context("cannot write the image (is the disk full?)")?;
    }
    let mut archive = Archive::new(out);
    archive.file("etc/netcause-vm/command", job.command.as_bytes(), 0o755)?;
    let settings: String =
        job.settings.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    archive.file("etc/netcause-vm/settings", settings.as_bytes(), 0o644)?;
    archive.finish().map(drop)
}

/// A word as the shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_with_their_dependencies() {
        let index = "kernel/drivers/net/veth.ko.xz:\nkernel/net/sched/sch_netem.ko.xz: kernel/lib/crc.ko.xz\n\
                     kernel/net/bluetooth/bluetooth.ko.xz: kernel/crypto/x.ko\nkernel/drivers/gpu/drm.ko.xz:\n";
        let wanted: Vec<String> = wanted(index).into_iter().collect();
        assert_eq!(
            wanted,
            ["kernel/drivers/net/veth.ko.xz", "kernel/lib/crc.ko.xz", "kernel/net/sched/sch_netem.ko.xz"]
        );
        assert_eq!(uncompressed("a/b.ko.xz"), "a/b.ko");
    }

    #[test]
    fn quoting_survives_quotes() {
        assert_eq!(quoted("a'b c"), r"'a'\''b c'");
    }
}
