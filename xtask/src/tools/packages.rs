//! Packages of the operating system: which are needed, whether they are installed, how to install them.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{exec, workspace};

/// What packages are needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Compiling the eBPF programs with Debian's rustc and LLVM.
    Toolchain,
    /// The lab: namespaces, links, faults, clients.
    Lab,
    /// Further resolvers of the lab, for a few scenarios on this machine.
    Resolvers,
    /// Servers of the lab that were not written for it, for a few scenarios on this machine.
    Servers,
    /// Measuring this machine, together with [`Purpose::Lab`].
    Bench,
    /// Booting the kernel matrix.
    Vm,
    /// Extracting BTF from the kernels of the matrix, together with [`Purpose::Vm`].
    Btf,
    /// Compiling the fuzzer.
    Fuzz,
    /// Pictures of the dashboards.
    Browser,
}

impl Purpose {
    /// The Debian packages.
    pub(crate) const fn packages(self) -> &'static [&'static str] {
        match self {
            // g++ for the C++ runtime's link library, which bpf-linker names.
            Self::Toolchain => &[
                "rustc-web",
                "cargo-web",
                "rust-web-src",
                "llvm-22-dev",
                "libpolly-22-dev",
                "libzstd-dev",
                "zlib1g-dev",
                "g++",
            ],
            // dig and dnsperf query unbound, which is unpacked and not installed (`unpacked`).
            Self::Lab => &["iproute2", "nftables", "curl", "bind9-dnsutils", "dnsperf"],
            // dnsmasq without the package that starts a service; a compiler and the static C library for those that are compiled.
            Self::Resolvers => &["dnsmasq-base", "gcc", "libc6-dev"],
            // All are unpacked.
            Self::Servers | Self::Browser => &[],
            // As above.
            Self::Bench => &["dnsmasq-base"],
            // The emulator is unpacked (`unpacked`). binutils strips programs for the image, kmod makes its module index, xz and
            // zstd unpack its modules.
            Self::Vm => &["busybox-static", "kmod", "xz-utils", "zstd", "binutils"],
            Self::Btf => &["bpftool", "lz4"],
            Self::Fuzz => &["g++"],
        }
    }

    /// The programs by which a machine without Debian's package manager is judged; none for what only Debian's packages have.
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Toolchain | Self::Servers | Self::Browser => &[],
            Self::Lab => &["ip", "tc", "nft", "curl", "dig", "dnsperf"],
            Self::Resolvers => &["dnsmasq", "cc"],
            Self::Bench => &["dnsmasq"],
            Self::Vm => &["busybox", "depmod", "xz", "zstd", "strip"],
            Self::Btf => &["bpftool", "lz4"],
            Self::Fuzz => &["c++"],
        }
    }

    /// Its name in messages.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Toolchain => "compiling eBPF programs",
            Self::Lab => "the lab",
            Self::Resolvers => "the lab's other resolvers",
            Self::Servers => "the lab's servers",
            Self::Bench => "the benchmark",
            Self::Vm => "booting other kernels",
            Self::Btf => "making BTF fixtures",
            Self::Fuzz => "compiling the fuzzer",
            Self::Browser => "pictures of the dashboards",
        }
    }
}

/// Installs what is missing for these purposes, after printing a line about it.
///
/// # Errors
///
/// When packages are missing and we may not install them (with the command that does), or when the installation fails.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    if !exec::on_path("apt-get") {
        return purposes.iter().try_for_each(|purpose| need_programs(*purpose, exec::on_path));
    }
    let wanted: Vec<&str> = purposes.iter().flat_map(|purpose| purpose.packages()).copied().collect();
    ensure_these(&wanted, &purposes.iter().map(|purpose| purpose.what()).collect::<Vec<_>>().join(", "))
}

/// As [`ensure`], for these packages; `what` is their purpose in messages.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn ensure_these(wanted: &[&str], what: &str) -> Result<()> {
    let missing = missing(wanted.iter().copied());
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    need_apt(&list, what)?;
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {list}");
    if !exec::is_root() {
        bail!(
            "missing for {what}: {list}. Installing needs root: run `sudo sh -c '{command}'`, then this again"
        );
    }
    exec::say(format!("missing for {what}; installing now: {list}"));
    install(&missing)?;
    let still = self::missing(missing.iter().copied());
    if !still.is_empty() {
        bail!("apt-get succeeded, but these packages are not installed: {}", still.join(" "));
    }
    Ok(())
}

/// Fails where a program is missing, on a machine whose package manager is not Debian's.
fn need_programs(purpose: Purpose, is_there: impl Fn(&str) -> bool) -> Result<()> {
    let missing: Vec<&str> =
        purpose.programs().iter().copied().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing for {}: the programs {}. This machine has no apt-get: install them with its own package manager; Debian has \
         them in the packages {}",
        purpose.what(),
        missing.join(" "),
        purpose.packages().join(" ")
    )
}

/// Fails where there is no apt, and names the packages.
pub(super) fn need_apt(list: &str, what: &str) -> Result<()> {
    if !exec::on_path("apt-get") {
        bail!(
            "missing for {what}: the programs of Debian's packages {list}. This machine has no apt-get: install them with its own \
             package manager, so that they are on the search path"
        );
    }
    Ok(())
}

/// Whether apt's current lists have all of these.
pub(crate) fn available(packages: &[&str]) -> bool {
    let Ok(policy) =
        exec::output(Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C"), "asking apt")
    else {
        return false;
    };
    let offered = candidates(&policy);
    packages.iter().all(|package| offered.contains(package))
}

/// Refreshes apt's lists.
pub(crate) fn update() -> Result<()> {
    let log = workspace::setup_dir()?.join("apt-update.log");
    exec::quietly(apt_get().arg("update"), "refreshing the package lists (apt-get update)", &log)
}

fn install(packages: &[&str]) -> Result<()> {
    let log = workspace::setup_dir()?.join("apt-install.log");
    if !available(packages) {
        update()?;
    }
    let what = format!("installing {} packages (apt-get install)", packages.len());
    let attempt = || {
        exec::logged(
            apt_get()
                // Waits for another package manager instead of failing at once, and never removes a package.
                .args([
                    "-o",
                    "DPkg::Lock::Timeout=300",
                    "install",
                    "-y",
                    "--no-remove",
                    "--no-install-recommends",
                ])
                .args(packages),
            &what,
            &log,
        )
    };
    let Err(failed) = attempt()? else { return Ok(()) };
    // Two states of a machine that can be repaired: lists older than the mirror, and an interrupted installation.
    if failed.output.contains("dpkg was interrupted") {
        exec::say("an earlier installation was interrupted: finishing it (dpkg --configure -a)");
        exec::quietly(
            Command::new("dpkg").args(["--configure", "-a"]).env("DEBIAN_FRONTEND", "noninteractive"),
            "finishing an earlier installation",
            &log,
        )?;
    } else if lists_are_old(&failed.output) {
        update()?;
    } else {
        return Err(failed.into_error(&what, &log));
    }
    attempt()?.map_err(|failed| failed.into_error(&what, &log))
}

/// Downloads the files of packages into a directory without installing them.
pub(super) fn download(packages: &[&str], directory: &Path) -> Result<()> {
    let log = workspace::setup_dir()?.join("apt-download.log");
    if !available(packages) {
        update()?;
    }
    let what = format!("fetching {} packages (apt-get download)", packages.len());
    let attempt =
        || exec::logged(apt_get().arg("download").args(packages).current_dir(directory), &what, &log);
    match attempt()? {
        Err(failed) if lists_are_old(&failed.output) => update()?,
        ended => return ended.map_err(|failed| failed.into_error(&what, &log)),
    }
    attempt()?.map_err(|failed| failed.into_error(&what, &log))
}

/// Whether apt failed because its lists are older than the mirror.
fn lists_are_old(output: &str) -> bool {
    output.contains("404 ") || output.contains("Unable to locate package")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

/// Which of these packages are not installed.
pub(crate) fn missing<'a>(packages: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let packages: Vec<&str> = packages.into_iter().collect();
    // It fails when a package is unknown, which is an answer here.
    let listing = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(&packages)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let installed = installed(&listing);
    packages.into_iter().filter(|package| !installed.contains(package)).collect()
}

/// The installed packages of a listing with lines `NAME STATUS`.
fn installed(listing: &str) -> BTreeSet<&str> {
    listing
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| *status == "installed")
        .map(|(package, _)| package)
        .collect()
}

/// The packages for which `apt-cache policy` printed a version to install.
fn candidates(policy: &str) -> BTreeSet<&str> {
    let mut offered = BTreeSet::new();
    let mut package = None;
    for line in policy.lines() {
        if !line.starts_with(' ') {
            package = line.strip_suffix(':');
        } else if let (Some(version), Some(package)) = (line.trim().strip_prefix("Candidate:"), package)
            && version.trim() != "(none)"
        {
            offered.insert(package);
        }
    }
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_installed_is_not_installed() {
        let listing =
            "curl installed\nnftables half-configured\niproute2 config-files\nxz-utils not-installed\n";
        assert_eq!(installed(listing), BTreeSet::from(["curl"]));
    }

    #[test]
    fn other_distributions_learn_what_to_install() {
        let error = need_programs(Purpose::Lab, |program| program != "dig").unwrap_err().to_string();
        assert!(error.contains("the programs dig.") && error.contains("bind9-dnsutils"), "{error}");
        assert!(need_programs(Purpose::Lab, |_| true).is_ok());
        assert!(need_programs(Purpose::Toolchain, |_| false).is_ok());
    }

    #[test]
    fn an_unknown_package_is_missing() {
        let missing = missing(["netcause-no-such-package"]);
        assert_eq!(missing, ["netcause-no-such-package"]);
    }

    #[test]
    fn candidates_are_read_from_policy() {
        let policy = "curl:\n  Installed: (none)\n  Candidate: 7.88.1\n  Version table:\n     7.88.1 500\nqemu:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), BTreeSet::from(["curl"]));
    }
}
