//! The compiler for the eBPF programs: nightly features, `core` from source, and a linker for BPF.
//!
//! Two ways lead to one. [`ensure`] keeps a toolchain that works; otherwise it tries both ways, the one that has come further
//! first, and rustup first where neither has begun:
//!
//! 1. **rustup**: a nightly pinned by date, with `rust-src`. bpf-linker 0.10.3 is the last release that loads the LLVM library
//!    of rustc itself, so that no other LLVM is needed; it does this on `x86_64-unknown-linux-gnu` only. *Not proved*: this way
//!    follows the documentation of bpf-linker. Its decisions and its end on a network that refuses or does not answer are
//!    tested; the download, the linker and the programs that it makes have never been run.
//! 2. **Debian's packages**: rustc 1.96 with its source and LLVM 22, linked into rustup under a name of ours. bpf-linker is
//!    built against that LLVM. `RUSTC_BOOTSTRAP=1` permits build-std. This is the way that the kernel matrix runs on.
//!
//! `NETCAUSE_EBPF_TOOLCHAIN=rustup` or `=debian` forces one. `agent/build.rs` reads the result from
//! `target/setup/ebpf-toolchain`.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::packages::{self, Purpose};
use crate::{exec, workspace};

/// rustup's compiler: rustc 1.96.0-nightly, LLVM 22.1.
const NIGHTLY: &str = "nightly-2026-03-01";
/// Our name for Debian's compiler in rustup.
const DEBIAN: &str = "netcause-bpf-debian";
/// The LLVM release of both ways. Linker and compiler must agree on it.
const LLVM: u32 = 22;
/// Where Debian puts that LLVM.
const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";
/// How long rustup's server may take to answer at all; the download itself may take longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One of the two ways to a toolchain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Rustup,
    Debian,
}

/// How much of a way is installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Progress {
    /// Compiler and linker: nothing is left to do.
    Whole,
    /// The compiler; the linker is built from the crate registry.
    Compiler,
    /// Neither.
    Nothing,
}

/// Makes the toolchain if it is not there, and writes where it is for `agent/build.rs`.
///
/// # Errors
///
/// When neither way leads to a toolchain, with the reason for each.
pub(crate) fn ensure() -> Result<()> {
    if !exec::on_path("rustup") {
        bail!("rustup is not installed: it selects the compiler of the eBPF programs (package rustup)");
    }
    let file = workspace::setup_dir()?.join("ebpf-toolchain");
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    let forced = forced(env::var("NETCAUSE_EBPF_TOOLCHAIN").ok().as_deref())?;
    let ways = match forced {
        Some(way) => vec![way],
        None => match Way::ALL.into_iter().find(|way| way.is_recorded(&recorded)) {
            Some(way) if way.progress() == Progress::Whole => return Ok(()),
            _ => order(Way::ALL.map(|way| (way, way.progress()))),
        },
    };
    let (way, linker_dir, why) = first(&ways, Way::make)?;
    let description = way.description(&linker_dir);
    // Left alone when nothing changed: its time stamp makes cargo build the eBPF programs again.
    if recorded != description {
        let why = if forced.is_some() { "NETCAUSE_EBPF_TOOLCHAIN asks for it" } else { why.as_str() };
        exec::say(format!("the eBPF toolchain is {way}: {why}"));
        fs::write(&file, description).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The way that the environment asks for.
fn forced(setting: Option<&str>) -> Result<Option<Way>> {
    match setting {
        None => Ok(None),
        Some("rustup") => Ok(Some(Way::Rustup)),
        Some("debian") => Ok(Some(Way::Debian)),
        Some(other) => bail!("NETCAUSE_EBPF_TOOLCHAIN is {other:?}: it can be rustup or debian"),
    }
}

/// The ways in the order in which they are tried: what is installed saves a download.
fn order(mut ways: [(Way, Progress); 2]) -> Vec<Way> {
    ways.sort_by_key(|(way, progress)| (*progress, *way != Way::Rustup));
    ways.map(|(way, _)| way).to_vec()
}

/// The first way that `make` can go, with what it returns and why it was taken.
///
/// # Errors
///
/// When none can be gone, with the reason for each.
fn first<T>(ways: &[Way], make: impl Fn(Way) -> Result<T>) -> Result<(Way, T, String)> {
    let mut reasons = Vec::new();
    for way in ways {
        match make(*way) {
            Ok(made) if reasons.is_empty() => return Ok((*way, made, "the first choice here".to_owned())),
            Ok(made) => return Ok((*way, made, reasons.join("; "))),
            Err(error) => {
                exec::say(format!("no eBPF toolchain from {way}: {error:#}"));
                // What follows the semicolon is the end of a log, which is printed above.
                let reason = error.to_string();
                reasons
                    .push(format!("{way} failed ({})", reason.split([';', '\n']).next().unwrap_or_default()));
            }
        }
    }
    bail!(
        "no toolchain for the eBPF programs: {}. It takes either the network of rustup ({NIGHTLY} with rust-src), or Debian's \
         packages {}; with NETCAUSE_EBPF_TOOLCHAIN only the named way is tried",
        reasons.join("; "),
        Purpose::Toolchain.packages().join(" ")
    )
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup",
            Self::Debian => "Debian's packages",
        })
    }
}

impl Way {
    const ALL: [Self; 2] = [Self::Rustup, Self::Debian];

    const fn toolchain(self) -> &'static str {
        match self {
            Self::Rustup => NIGHTLY,
            Self::Debian => DEBIAN,
        }
    }

    /// The bpf-linker release for this way.
    const fn linker_version(self) -> &'static str {
        match self {
            Self::Rustup => "0.10.3",
            Self::Debian => "0.13.0",
        }
    }

    /// The directory that `cargo install` fills, shared by all clones of this user.
    fn linker_root(self) -> Result<PathBuf> {
        let source = match self {
            Self::Rustup => "rustc-llvm22",
            Self::Debian => "llvm22",
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

    /// Whether this is what set-up recorded for `agent/build.rs`.
    fn is_recorded(self, recorded: &str) -> bool {
        self.linker_root().is_ok_and(|root| recorded == self.description(&root.join("bin")))
    }

    fn progress(self) -> Progress {
        let has_linker = || self.linker_root().is_ok_and(|root| self.runs(&root.join("bin")));
        if self.has_source() && has_linker() {
            return Progress::Whole;
        }
        let has_compiler = match self {
            Self::Rustup => self.has_source(),
            // It may still have to be linked into rustup.
            Self::Debian => packages::missing(Purpose::Toolchain.packages().iter().copied()).is_empty(),
        };
        if has_compiler { Progress::Compiler } else { Progress::Nothing }
    }

    /// Installs what is missing and returns the directory with bpf-linker.
    fn make(self) -> Result<PathBuf> {
        if self.progress() != Progress::Whole {
            match self {
                Self::Rustup => install_nightly()?,
                Self::Debian => install_packages()?,
            }
        }
        self.check_llvm()?;
        self.linker()
    }

    /// Whether rustup has this toolchain with the source of `core`.
    fn has_source(self) -> bool {
        let sysroot = exec::output(
            Command::new("rustup")
                .args(["run", self.toolchain(), "rustc", "--print", "sysroot"])
                .env("RUSTUP_AUTO_INSTALL", "0"),
            "asking rustc for its directory",
        );
        sysroot
            .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
    }

    fn check_llvm(self) -> Result<()> {
        let version = exec::output(
            Command::new("rustup").args(["run", self.toolchain(), "rustc", "--version", "--verbose"]),
            &format!("asking the toolchain {} for its version", self.toolchain()),
        )?;
        match llvm_of(&version) {
            Some(LLVM) => Ok(()),
            found => bail!(
                "the toolchain {} is built on LLVM {}, and the linker on LLVM {LLVM}: they must agree",
                self.toolchain(),
                found.map_or_else(|| "of unknown version".to_owned(), |major| major.to_string()),
            ),
        }
    }

    /// The directory with bpf-linker, built if it is not there.
    fn linker(self) -> Result<PathBuf> {
        let root = self.linker_root()?;
        let directory = root.join("bin");
        if self.runs(&directory) {
            return Ok(directory);
        }
        let version = self.linker_version();
        exec::say(format!(
            "missing for compiling eBPF programs; building now: bpf-linker {version} (a minute or two)"
        ));
        let mut command = Command::new(workspace::cargo());
        command
            .args(["install", "bpf-linker", "--version", version, "--locked", "--force", "--root"])
            .arg(&root);
        if self == Self::Debian {
            command.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", DEBIAN_LLVM);
        }
        let log = workspace::setup_dir()?.join("bpf-linker.log");
        exec::quietly(&mut command, &format!("building bpf-linker {version}"), &log)?;
        if !self.runs(&directory) {
            bail!(
                "bpf-linker was built in {} and does not start: remove that directory and try again",
                root.display()
            );
        }
        Ok(directory)
    }

    /// Whether the linker starts, which needs the LLVM library it was linked with.
    fn runs(self, directory: &Path) -> bool {
        let linker = directory.join("bpf-linker");
        linker.is_file()
            && exec::succeeds(
                Command::new("rustup").args(["run", self.toolchain()]).arg(linker).arg("--version"),
            )
    }
}

fn install_nightly() -> Result<()> {
    if Way::Rustup.has_source() {
        return Ok(());
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        bail!(
            "bpf-linker {} needs x86_64-unknown-linux-gnu to use rustc's own LLVM",
            Way::Rustup.linker_version()
        );
    }
    exec::say(format!("missing for compiling eBPF programs; installing now: {NIGHTLY} with rust-src"));
    let log = workspace::setup_dir()?.join("rustup.log");
    let what = format!("installing {NIGHTLY} with rust-src (rustup)");
    let mut command = Command::new("rustup");
    command
        .args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"])
        .arg("--no-self-update")
        // One try instead of rustup's three: a network that refuses it refuses it at once.
        .env("RUSTUP_MAX_RETRIES", "0")
        .env("RUST_BACKTRACE", "0");
    exec::quietly_if_it_begins(&mut command, &what, &log, ANSWER_LIMIT, server_answered)
}

/// Whether rustup's output has more than the line that it prints before it connects: `info: syncing channel updates for …`.
fn server_answered(output: &str) -> bool {
    output.lines().any(|line| !line.trim().is_empty() && !line.contains("syncing channel updates"))
}

fn install_packages() -> Result<()> {
    let packages = Purpose::Toolchain.packages();
    if !exec::on_path("apt-get") {
        bail!("this machine has no apt-get");
    }
    let is_there = || packages::missing(packages.iter().copied()).is_empty();
    let is_offered = || packages::available(packages);
    // On a fresh machine apt knows nothing before its lists are refreshed.
    let is_offered_later = || exec::is_root() && packages::update().is_ok() && is_offered();
    let can_install = is_there() || is_offered() || is_offered_later();
    if !can_install {
        bail!("apt does not offer all of {} here", packages.join(" "));
    }
    packages::ensure(&[Purpose::Toolchain])?;
    if Way::Debian.has_source() {
        return Ok(());
    }
    exec::say(format!("linking Debian's compiler into rustup: rustup toolchain link {DEBIAN} /usr"));
    exec::output(
        Command::new("rustup").args(["toolchain", "link", DEBIAN, "/usr"]),
        "linking Debian's compiler into rustup",
    )
    .map(drop)
}

/// The major LLVM release in the output of `rustc --version --verbose`.
fn llvm_of(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{Compiler, Nothing, Whole};
    use Way::{Debian, Rustup};

    #[test]
    fn the_description_is_what_the_build_script_reads() {
        let text = Debian.description(Path::new("/cache/bin"));
        assert_eq!(text, "toolchain=netcause-bpf-debian\nlinker_dir=/cache/bin\nbootstrap=1\n");
        assert!(Rustup.description(Path::new("/cache/bin")).ends_with("bootstrap=0\n"));
        let recorded = Debian.description(&Debian.linker_root().unwrap().join("bin"));
        assert!(
            Debian.is_recorded(&recorded) && !Rustup.is_recorded(&recorded) && !Debian.is_recorded(&text)
        );
    }

    #[test]
    fn llvm_is_read_from_the_version() {
        assert_eq!(llvm_of("rustc 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_of("rustc 1.96.0\n"), None);
    }

    #[test]
    fn rustup_is_first_unless_more_of_debian_is_installed() {
        let tried = |rustup, debian| order([(Rustup, rustup), (Debian, debian)]);
        for progress in [Whole, Compiler, Nothing] {
            assert_eq!(tried(progress, progress), [Rustup, Debian], "{progress:?}");
        }
        assert_eq!(tried(Nothing, Compiler), [Debian, Rustup]);
        assert_eq!(tried(Compiler, Whole), [Debian, Rustup]);
        assert_eq!(tried(Compiler, Nothing), [Rustup, Debian]);
    }

    #[test]
    fn the_second_way_is_taken_when_the_first_is_refused() {
        let refused = |way| if way == Rustup { bail!("connection refused") } else { Ok(7) };
        let (way, made, why) = first(&[Rustup, Debian], refused).unwrap();
        assert_eq!((way, made), (Debian, 7));
        assert_eq!(why, "rustup failed (connection refused)");
        let (way, _, why) = first(&[Debian, Rustup], refused).unwrap();
        assert_eq!((way, why.as_str()), (Debian, "the first choice here"));
        let error = first(&[Rustup], refused).unwrap_err().to_string();
        assert!(error.contains("connection refused") && error.contains("llvm-22-dev"), "{error}");
    }

    #[test]
    fn the_environment_can_force_a_way() {
        assert_eq!(forced(None).unwrap(), None);
        assert_eq!(forced(Some("rustup")).unwrap(), Some(Rustup));
        assert_eq!(forced(Some("debian")).unwrap(), Some(Debian));
        assert!(forced(Some("apt")).is_err());
    }

    #[test]
    fn a_server_has_answered_when_more_is_printed_than_the_request() {
        let request = "info: syncing channel updates for nightly-2026-03-01-x86_64-unknown-linux-gnu\n";
        assert!(!server_answered("") && !server_answered(request));
        assert!(server_answered(&format!("{request}info: latest update on 2026-03-01\n")));
    }
}
