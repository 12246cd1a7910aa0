//! The compiler for the eBPF programs: nightly features, `core` from source, and a linker for BPF.
//!
//! Two ways lead there, and [`ensure`] takes the first that is already installed, else the first that can be:
//!
//! 1. **Debian's packages**: rustc 1.96 with its source and LLVM 22, linked into rustup under a name of ours. bpf-linker
//!    is built against that LLVM. `RUSTC_BOOTSTRAP=1` unlocks build-std. No server but Debian's and the crate registry.
//! 2. **rustup**: a nightly pinned by date, with `rust-src`. Its LLVM is 22 as well; bpf-linker 0.10.3 is the last that can
//!    load the LLVM library that rustc itself ships, which spares everybody an LLVM of the same version. It exists for
//!    `x86_64-unknown-linux-gnu` only. This way was put together from bpf-linker's documentation and features; nobody
//!    has run it on our machines yet.
//!
//! `NETCAUSE_EBPF_TOOLCHAIN=debian` or `=rustup` forces one. `agent/build.rs` reads the result from
//! `target/setup/ebpf-toolchain`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages::{self, Purpose};
use crate::{exec, workspace};

/// The nightly of way 2: rustc 1.96.0-nightly, LLVM 22.1.
const NIGHTLY: &str = "nightly-2026-03-01";
/// Our name for Debian's compiler in rustup.
const DEBIAN: &str = "netcause-bpf-debian";
/// The LLVM release of both ways. Linker and compiler must agree on it.
const LLVM: u32 = 22;
/// Where Debian puts that LLVM.
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";

/// One of the two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Debian,
    Rustup,
}

impl Way {
    const fn toolchain(self) -> &'static str {
        match self {
            Self::Debian => DEBIAN,
            Self::Rustup => NIGHTLY,
        }
    }

    /// The bpf-linker release for this way.
    const fn linker_version(self) -> &'static str {
        match self {
            Self::Debian => "0.13.0",
            Self::Rustup => "0.10.3",
        }
    }

    /// The directory that `cargo install` fills, shared by all clones of this user.
    fn linker_root(self) -> Result<PathBuf> {
        let source = match self {
            Self::Debian => "llvm22",
            Self::Rustup => "rustc-llvm22",
        };
        Ok(workspace::user_cache()?.join(format!("bpf-linker-{}-{source}", self.linker_version())))
    }

    /// What `agent/build.rs` reads.
    fn description(self, linker_dir: &Path) -> String {
        let bootstrap = u8::from(self == Self::Debian);
        format!(
            "toolchain={}\nlinker_dir={}\nbootstrap={bootstrap}\n",
            self.toolchain(),
            linker_dir.display()
        )
    }
}

/// Whether set-up is going to use Debian's packages.
pub(super) fn wants_packages() -> bool {
    choose().is_ok_and(|way| way == Way::Debian)
}

/// Makes the toolchain if it is not there, and writes where it is for `agent/build.rs`.
///
/// # Errors
///
/// When neither way can be gone, with the reason for each.
pub(crate) fn ensure() -> Result<()> {
    let way = choose()?;
    if way == Way::Debian {
        packages::ensure(&[Purpose::Toolchain])?;
    }
    compiler(way)?;
    let linker_dir = linker(way)?;
    let file = workspace::setup_dir()?.join("ebpf-toolchain");
    let description = way.description(&linker_dir);
    // Left alone when nothing changed: its time stamp makes cargo build the eBPF programs again.
    if fs::read_to_string(&file).ok().as_deref() != Some(description.as_str()) {
        fs::write(&file, description).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn choose() -> Result<Way> {
    if !exec::on_path("rustup") {
        bail!(
            "rustup is not installed: the eBPF programs are compiled by a toolchain of its own, which rustup selects"
        );
    }
    let wish = env::var("NETCAUSE_EBPF_TOOLCHAIN").ok();
    let packages = Purpose::Toolchain.packages();
    match wish.as_deref() {
        Some("debian") => return Ok(Way::Debian),
        Some("rustup") => return Ok(Way::Rustup),
        Some(other) => bail!("NETCAUSE_EBPF_TOOLCHAIN is {other:?}: it can be debian or rustup"),
        None => {}
    }
    if packages::missing(packages.iter().copied()).is_empty() {
        return Ok(Way::Debian);
    }
    if has_source(NIGHTLY) {
        return Ok(Way::Rustup);
    }
    if exec::on_path("apt-get") && (packages::available(packages) || refreshed(packages)) {
        return Ok(Way::Debian);
    }
    Ok(Way::Rustup)
}

/// Whether apt offers the packages after its lists were refreshed; on a fresh machine it knows nothing before.
fn refreshed(packages: &[&str]) -> bool {
    exec::is_root() && packages::update().is_ok() && packages::available(packages)
}

/// Whether rustup has this toolchain with the source of `core`.
fn has_source(toolchain: &str) -> bool {
    exec::output(
        Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]),
        "asking rustc",
    )
    .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

fn compiler(way: Way) -> Result<()> {
    if !has_source(way.toolchain()) {
        match way {
            Way::Debian => {
                exec::say(format!(
                    "telling rustup of Debian's compiler: rustup toolchain link {DEBIAN} /usr"
                ));
                exec::output(
                    Command::new("rustup").args(["toolchain", "link", DEBIAN, "/usr"]),
                    "linking Debian's compiler into rustup",
                )?;
            }
            Way::Rustup => install_nightly()?,
        }
    }
    let version = exec::output(
        Command::new("rustup").args(["run", way.toolchain(), "rustc", "--version", "--verbose"]),
        &format!("asking the toolchain {} for its version", way.toolchain()),
    )?;
    match llvm_of(&version) {
        Some(LLVM) => Ok(()),
        found => bail!(
            "the toolchain {} is built on LLVM {}, and the linker on LLVM {LLVM}: they must agree; \
             try the other way with NETCAUSE_EBPF_TOOLCHAIN={}",
            way.toolchain(),
            found.map_or_else(|| "of unknown version".to_owned(), |major| major.to_string()),
            if way == Way::Debian { "rustup" } else { "debian" },
        ),
    }
}

fn install_nightly() -> Result<()> {
    let what = format!("installing {NIGHTLY} with rust-src (rustup)");
    exec::say(format!("missing for compiling eBPF programs; installing now: {NIGHTLY} with rust-src"));
    let log = workspace::setup_dir()?.join("rustup.log");
    exec::quietly(
        Command::new("rustup")
            .args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"])
            .args(["--no-self-update"])
            // One try instead of rustup's three: a network that refuses it refuses it at once.
            .env("RUSTUP_MAX_RETRIES", "0"),
        &what,
        &log,
    )
    .with_context(|| {
        format!(
            "no compiler for the eBPF programs: apt does not offer {} here, and rustup cannot fetch {NIGHTLY}",
            Purpose::Toolchain.packages().join(" ")
        )
    })
}

/// The directory with bpf-linker, built if it is not there.
fn linker(way: Way) -> Result<PathBuf> {
    let root = way.linker_root()?;
    let directory = root.join("bin");
    if runs(way, &directory) {
        return Ok(directory);
    }
    let version = way.linker_version();
    exec::say(format!(
        "missing for compiling eBPF programs; building now: bpf-linker {version} (a minute or two)"
    ));
    let mut command = Command::new(workspace::cargo());
    command.args(["install", "bpf-linker", "--version", version, "--locked", "--force", "--root"]).arg(&root);
    if way == Way::Debian {
        command.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", DEBIAN_LLVM);
    }
    let log = workspace::setup_dir()?.join("bpf-linker.log");
    exec::quietly(&mut command, &format!("building bpf-linker {version}"), &log)?;
    if !runs(way, &directory) {
        bail!(
            "bpf-linker was built in {} and yet does not run: remove that directory and try again",
            root.display()
        );
    }
    Ok(directory)
}

/// Whether the linker starts, which needs the LLVM library it was linked with.
fn runs(way: Way, directory: &Path) -> bool {
    let linker = directory.join("bpf-linker");
    linker.is_file()
        && exec::succeeds(Command::new("rustup").args(["run", way.toolchain()]).arg(linker).arg("--version"))
}

/// The major LLVM release in the output of `rustc --version --verbose`.
fn llvm_of(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_what_the_build_script_reads() {
        let text = Way::Debian.description(Path::new("/cache/bin"));
        assert_eq!(text, "toolchain=netcause-bpf-debian\nlinker_dir=/cache/bin\nbootstrap=1\n");
        assert!(Way::Rustup.description(Path::new("/cache/bin")).ends_with("bootstrap=0\n"));
    }

    #[test]
    fn llvm_is_read_from_the_version() {
        assert_eq!(llvm_of("rustc 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_of("rustc 1.96.0\n"), None);
    }
}
