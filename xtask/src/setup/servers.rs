//! Servers that the lab starts itself, out of Debian's packages.
//!
//! The packages are unpacked and not installed: installing one would start a server on the developer's machine, now and
//! at every boot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages;
use crate::{exec, workspace};

/// A server's package.
pub(crate) struct Server {
    package: &'static str,
    /// Where in the package its programs are.
    bin: &'static str,
    /// Those that the lab runs.
    programs: &'static [&'static str],
    /// Whether it needs libraries, which are installed: they start nothing.
    has_libraries: bool,
}

/// Scrapes the agent with the real thing.
const PROMETHEUS: Server = Server {
    package: "prometheus",
    bin: "usr/bin",
    programs: &["prometheus", "promtool"],
    has_libraries: false,
};
/// Answers DNS queries.
const UNBOUND: Server =
    Server { package: "unbound", bin: "usr/sbin", programs: &["unbound"], has_libraries: true };

/// All of them.
const SERVERS: [&Server; 2] = [&PROMETHEUS, &UNBOUND];

/// Gets what is missing; returns the directories to be put on the search path.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for server in SERVERS {
        if !server.programs.iter().all(|program| exec::on_path(program)) {
            directories.push(server.unpacked()?);
        }
    }
    Ok(directories)
}

/// A program of one of them, where it is there already.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let server = SERVERS.into_iter().find(|server| server.programs.contains(&program))?;
    let unpacked = || Some(server.bin().ok()?.join(program));
    exec::find_on_path(program).or_else(unpacked).filter(|path| path.is_file())
}

impl Server {
    fn root(&self) -> Result<PathBuf> {
        Ok(workspace::user_cache()?.join(self.package))
    }

    fn bin(&self) -> Result<PathBuf> {
        Ok(self.root()?.join(self.bin))
    }

    /// The directory of its programs, unpacked when it is not there.
    fn unpacked(&self) -> Result<PathBuf> {
        let bin = self.bin()?;
        if self.programs.iter().all(|program| bin.join(program).is_file()) {
            return Ok(bin);
        }
        let package = self.package;
        exec::say(format!("missing for the lab; unpacking now (not installed, no server starts): {package}"));
        if !packages::available(&[package]) {
            packages::update()?;
        }
        self.fetch().with_context(|| format!("cannot get Debian's package `{package}`"))?;
        Ok(bin)
    }

    fn fetch(&self) -> Result<()> {
        let download = workspace::setup_dir()?.join(self.package);
        fs::create_dir_all(&download).with_context(|| format!("cannot make {}", download.display()))?;
        let log = workspace::setup_dir()?.join(format!("{}.log", self.package));
        exec::quietly(
            Command::new("apt-get").args(["download", self.package]).current_dir(&download),
            &format!("fetching {}", self.package),
            &log,
        )?;
        for entry in fs::read_dir(&download).with_context(|| format!("cannot read {}", download.display()))? {
            let file = entry.with_context(|| format!("cannot read {}", download.display()))?.path();
            if self.has_libraries {
                let depends = exec::output(
                    Command::new("dpkg-deb").arg("--field").arg(&file).arg("Depends"),
                    "reading what a package depends on",
                )?;
                packages::ensure_these(&libraries(&depends), &format!("the lab ({})", self.package))?;
            }
            self.unpack(&file)?;
        }
        drop(fs::remove_dir_all(download));
        Ok(())
    }

    /// Unpacks beside its place and moves, so that a killed run leaves nothing that looks whole.
    fn unpack(&self, file: &Path) -> Result<()> {
        let root = self.root()?;
        let partial = root.with_extension("partial");
        drop(fs::remove_dir_all(&partial));
        exec::output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&partial), "unpacking a package")?;
        drop(fs::remove_dir_all(&root));
        fs::rename(&partial, &root)
            .with_context(|| format!("cannot move {} to {}", self.package, root.display()))
    }
}

/// The libraries in a package's field `Depends`: `libc6 (>= 2.34), adduser, libx1 | libx2`. Of alternatives the first.
fn libraries(depends: &str) -> Vec<&str> {
    let names = depends.split(',').filter_map(|one| one.split([' ', '|', '(']).find(|word| !word.is_empty()));
    names.map(str::trim).filter(|name| name.starts_with("lib")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_other_packages() {
        let depends = "adduser, lsb-base, libc6 (>= 2.34),libevent-2.1-7 | libevent-2.2 (>= 2.0), openssl\n";
        assert_eq!(libraries(depends), ["libc6", "libevent-2.1-7"]);
        assert!(libraries("").is_empty());
    }
}
