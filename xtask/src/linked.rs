//! The shared libraries of a program, and their loader.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The files of this machine that a program is linked with; none for a static one.
pub(crate) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // For a static program ldd fails, which means no libraries.
    let listing = Command::new("ldd").arg(program).env("LC_ALL", "C").output().context("cannot start ldd")?;
    libraries_of(&String::from_utf8_lossy(&listing.stdout), program)
}

/// The files in the output of `ldd`.
fn libraries_of(listing: &str, program: &Path) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("{} needs a library that is not there: {line}", program.display());
        }
        let file =
            line.split_once("=> ").map_or(line, |(_, file)| file).split(' ').next().unwrap_or_default();
        if file.starts_with('/') {
            libraries.push(PathBuf::from(file));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let listing = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n\t/lib64/ld.so (0x0)\n";
        let libraries = libraries_of(listing, Path::new("p")).unwrap();
        assert_eq!(libraries, [PathBuf::from("/lib/libc.so.6"), PathBuf::from("/lib64/ld.so")]);
        assert!(libraries_of("\tlibx.so => not found\n", Path::new("p")).is_err());
        assert!(libraries_of("\tstatically linked\n", Path::new("p")).unwrap().is_empty());
    }
}
