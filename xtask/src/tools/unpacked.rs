//! Programs from Debian's packages that are unpacked and not installed.
//!
//! Installing a server would start it on the developer's machine, now and at every boot. Installing the emulator would remove
//! QEMU's other programs where their release differs from the one that apt offers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages::{self, Purpose};
use crate::{exec, workspace};

/// Packages that are unpacked into one directory of the user's cache.
pub(super) struct Unpacked {
    pub(super) purpose: Purpose,
    /// The first names the directory.
    pub(super) packages: &'static [&'static str],
    /// Where in it the programs are, or what else is used.
    pub(super) bin: &'static str,
    /// The programs that we run.
    pub(super) programs: &'static [&'static str],
    /// The package whose libraries the programs need. They are installed: libraries start nothing.
    pub(super) libraries_of: Option<&'static str>,
}

/// Scrapes the agent in the lab.
const PROMETHEUS: Unpacked = Unpacked {
    purpose: Purpose::Lab,
    packages: &["prometheus"],
    bin: "usr/bin",
    programs: &["prometheus", "promtool"],
    libraries_of: None,
};
/// Answers DNS queries.
const UNBOUND: Unpacked = Unpacked {
    purpose: Purpose::Lab,
    packages: &["unbound"],
    bin: "usr/sbin",
    programs: &["unbound"],
    libraries_of: Some("unbound"),
};
/// Boots the kernel matrix. The instruction translator (`accel-tcg-x86_64.so`) and the boot ROMs (`linuxboot_dma.bin`,
/// `bios-256k.bin`) are in other packages, whose remaining parts and libraries are not needed.
const QEMU: Unpacked = Unpacked {
    purpose: Purpose::Vm,
    packages: &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"],
    bin: "usr/bin",
    programs: &[EMULATOR],
    libraries_of: Some("qemu-system-x86"),
};

/// The emulator's program.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

/// Those that every run needs.
const ALL: [&Unpacked; 3] = [&PROMETHEUS, &UNBOUND, &QEMU];

/// Unpacks what is missing for these purposes; returns the directories to add to the search path.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for unpacked in ALL.into_iter().filter(|unpacked| purposes.contains(&unpacked.purpose)) {
        if !unpacked.programs.iter().all(|program| exec::on_path(program)) {
            directories.push(unpacked.ensure()?);
        }
    }
    Ok(directories)
}

/// The path of a program, if it is on the search path or unpacked.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let unpacked = ALL.into_iter().find(|unpacked| unpacked.programs.contains(&program))?;
    let in_cache = || Some(unpacked.bin().ok()?.join(program));
    exec::find_on_path(program).or_else(in_cache).filter(|path| path.is_file())
}

/// Checks rules and tests them.
pub(crate) fn promtool() -> Result<PathBuf> {
    match find("promtool") {
        Some(path) => Ok(path),
        None => Ok(PROMETHEUS.ensure()?.join("promtool")),
    }
}

impl Unpacked {
    const fn name(&self) -> &'static str {
        self.packages[0]
    }

    pub(super) fn root(&self) -> Result<PathBuf> {
        Ok(workspace::user_cache()?.join(self.name()))
    }

    pub(super) fn bin(&self) -> Result<PathBuf> {
        Ok(self.root()?.join(self.bin))
    }

    /// The directory of its programs, unpacked if necessary.
    pub(super) fn ensure(&self) -> Result<PathBuf> {
        let bin = self.bin()?;
        if bin.is_dir() && self.programs.iter().all(|program| bin.join(program).is_file()) {
            return Ok(bin);
        }
        let (list, what) = (self.packages.join(" "), self.purpose.what());
        packages::need_apt(&list, what)?;
        exec::say(format!("missing for {what}; unpacking now (not installed, no service starts): {list}"));
        self.fetch().with_context(|| format!("cannot get {} out of Debian's packages", self.name()))?;
        Ok(bin)
    }

    fn fetch(&self) -> Result<()> {
        let download = workspace::setup_dir()?.join(self.name());
        // A call that was killed may have left an older release.
        drop(fs::remove_dir_all(&download));
        fs::create_dir_all(&download).with_context(|| format!("cannot make {}", download.display()))?;
        packages::download(self.packages, &download)?;
        let files = fs::read_dir(&download)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot read {}", download.display()))?;
        let files: Vec<PathBuf> = files.iter().map(fs::DirEntry::path).collect();
        if let Some(package) = self.libraries_of {
            let depends = exec::output(
                Command::new("dpkg-deb").arg("--field").arg(file_of(package, &files)?).arg("Depends"),
                "reading what a package depends on",
            )?;
            let what = format!("{} ({})", self.purpose.what(), self.name());
            packages::ensure_these(&libraries(&depends), &what)?;
        }
        self.unpack(&files)?;
        drop(fs::remove_dir_all(download));
        Ok(())
    }

    /// Unpacks into another directory and renames it, so that a killed run leaves nothing that looks complete.
    fn unpack(&self, files: &[PathBuf]) -> Result<()> {
        let root = self.root()?;
        let partial = root.with_extension("partial");
        drop(fs::remove_dir_all(&partial));
        for file in files {
            exec::output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&partial), "unpacking a package")?;
        }
        drop(fs::remove_dir_all(&root));
        fs::rename(&partial, &root)
            .with_context(|| format!("cannot move {} to {}", self.name(), root.display()))
    }
}

/// The file of a package: `NAME_RELEASE_ARCHITECTURE.deb`.
fn file_of<'a>(package: &str, files: &'a [PathBuf]) -> Result<&'a Path> {
    let prefix = format!("{package}_");
    let is_it =
        |file: &&PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let found = files.iter().find(is_it).map(PathBuf::as_path);
    found.with_context(|| format!("apt-get fetched no {package}"))
}

/// Libraries that a server loads for a part that we turn off: PostgreSQL compiles long queries with a library of 110 MB.
const UNUSED: &str = "libllvm";

/// The libraries in a package's field `Depends`: `libc6 (>= 2.34), adduser, libx1 | libx2`. Of alternatives the first.
fn libraries(depends: &str) -> Vec<&str> {
    let names = depends.split(',').filter_map(|one| one.split([' ', '|', '(']).find(|word| !word.is_empty()));
    let is_used = |name: &&str| name.starts_with("lib") && !name.starts_with(UNUSED);
    names.map(str::trim).filter(is_used).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_separated_from_other_packages() {
        let depends =
            "adduser, lsb-base, libc6 (>= 2.34),libevent-2.1-7 | libevent-2.2 (>= 2.0), libllvm14, openssl\n";
        assert_eq!(libraries(depends), ["libc6", "libevent-2.1-7"]);
        assert!(libraries("").is_empty());
    }
}
