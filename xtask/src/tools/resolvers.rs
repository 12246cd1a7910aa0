//! DNS resolvers and servers of the lab beside unbound and those of the C library: clients that are compiled here, from sources in
//! `tests/resolvers`, and servers out of Debian's packages; and what makes sockets for services, out of the same package as one of them.
//!
//! They are for a few scenarios only. What cannot be had is announced, and its scenarios are skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    packages::{self, Purpose},
    unpacked::Unpacked,
};
use crate::{exec, workspace};

/// An authoritative server with counters of its own.
const NSD: Unpacked = Unpacked {
    purpose: Purpose::Resolvers,
    packages: &["nsd"],
    bin: "usr/sbin",
    programs: &["nsd", "nsd-control"],
    libraries_of: Some("nsd"),
};
/// A stub resolver, and the library of its own release.
const RESOLVED: Unpacked = Unpacked {
    purpose: Purpose::Resolvers,
    packages: &["systemd-resolved", "libsystemd-shared"],
    bin: "lib/systemd",
    programs: &["systemd-resolved"],
    libraries_of: Some("libsystemd-shared"),
};
/// Makes sockets for services, with the library of its own release.
const SYSTEMD: Unpacked = Unpacked {
    purpose: Purpose::Resolvers,
    packages: &["systemd", "libsystemd-shared"],
    bin: "usr/bin",
    programs: &["systemd-socket-activate"],
    libraries_of: Some("libsystemd-shared"),
};
/// The C library of Alpine Linux, to link with.
const MUSL: Unpacked = Unpacked {
    purpose: Purpose::Resolvers,
    packages: &["musl-dev"],
    bin: "usr/lib",
    programs: &[],
    libraries_of: None,
};
/// The resolver of curl, Node.js and Envoy, to link with.
const C_ARES: Unpacked = Unpacked {
    purpose: Purpose::Resolvers,
    packages: &["libc-ares-dev"],
    bin: "usr/lib",
    programs: &[],
    libraries_of: None,
};

/// Gets what is missing; returns the directories to add to the search path.
///
/// # Errors
///
/// When the directory for compiled programs cannot be made. What cannot be had is no error.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    let own = workspace::setup_dir()?.join("resolvers");
    fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
    let parts: [(&str, &dyn Fn() -> Result<()>); 6] = [
        ("dnsmasq", &|| packages::ensure(&[Purpose::Resolvers])),
        ("nsd", &|| NSD.ensure().map(drop)),
        ("musl's resolver", &|| musl(&own.join("musl-resolve"))),
        ("c-ares", &|| c_ares(&own.join("c-ares-resolve"))),
        ("systemd-resolved", &|| of_systemd(&RESOLVED, &own)),
        ("systemd-socket-activate", &|| of_systemd(&SYSTEMD, &own)),
    ];
    for (name, get) in parts {
        if let Err(error) = get() {
            exec::say(format!("the scenarios with {name} are skipped: {error:#}"));
        }
    }
    Ok(vec![own, NSD.bin()?])
}

/// Compiles a static program with musl, whose compiler wrapper is not needed for that.
fn musl(program: &Path) -> Result<()> {
    let libraries = with(&MUSL.ensure()?, "libc.a")?;
    let headers = with(&MUSL.root()?.join("usr/include"), "netdb.h")?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-static", "-no-pie", "-nostdlib", "-nostdinc"]);
    cc.arg("-isystem").arg(headers).arg("-o").arg(program);
    cc.args(["crt1.o", "crti.o"].map(|file| libraries.join(file)));
    cc.arg(source("getaddrinfo.c")?).arg(libraries.join("libc.a")).arg("-lgcc").arg(libraries.join("crtn.o"));
    exec::output(&mut cc, "compiling musl's resolver").map(drop)
}

fn c_ares(program: &Path) -> Result<()> {
    let library = with(&C_ARES.ensure()?, "libcares.a")?.join("libcares.a");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-static", "-I"]).arg(C_ARES.root()?.join("usr/include"));
    cc.arg("-o").arg(program).arg(source("c_ares.c")?).arg(library);
    exec::output(&mut cc, "compiling c-ares").map(drop)
}

/// Makes a program that starts the one of systemd with its own library, which that looks for in the system's directories.
fn of_systemd(systemd: &Unpacked, into: &Path) -> Result<()> {
    let name = systemd.programs.first().context("a part of systemd without a program")?;
    let started = systemd.ensure()?.join(name);
    let library = with(&systemd.root()?.join("usr/lib"), "systemd")?.join("systemd");
    let script =
        format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", library.display(), started.display());
    let program = into.join(name);
    fs::write(&program, script).with_context(|| format!("cannot write {}", program.display()))?;
    exec::output(Command::new("chmod").arg("755").arg(program), "making a program executable").map(drop)
}

fn source(name: &str) -> Result<PathBuf> {
    Ok(workspace::root()?.join("tests/resolvers").join(name))
}

/// The directory in a directory that has this: Debian's name of the architecture, as in `usr/lib/x86_64-linux-gnu/libcares.a`.
fn with(directory: &Path, name: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut inner = entries.filter_map(|entry| Some(entry.ok()?.path()));
    inner
        .find(|inner| inner.join(name).exists())
        .with_context(|| format!("no directory in {} has {name}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_an_architecture_is_found() {
        let root = std::env::temp_dir().join(format!("netcause-with-{}", std::process::id()));
        let one = root.join("x86_64-linux-gnu");
        fs::create_dir_all(&one).unwrap();
        fs::create_dir(root.join("another")).unwrap();
        fs::write(one.join("libx.a"), "").unwrap();
        assert_eq!(with(&root, "libx.a").unwrap(), one);
        assert!(with(&root, "liby.a").is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
