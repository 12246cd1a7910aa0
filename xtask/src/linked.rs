//! The shared libraries of a program, and their loader, and the packages that they are from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::exec;

/// A package of the operating system, with those of its files that a program is linked with.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Library {
    /// Its name; that of the file where no package manager of Debian's knows it.
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) paths: Vec<PathBuf>,
}

impl Library {
    /// Its package URL (github.com/package-url/purl-spec), by which scanners look it up.
    pub(crate) fn reference(&self) -> String {
        let Self { package, version, .. } = self;
        if version == UNKNOWN {
            return format!("pkg:generic/{package}");
        }
        format!("pkg:deb/debian/{package}@{}", version.replace(':', "%3A").replace('+', "%2B"))
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = String> {
        self.paths.iter().map(|path| path.display().to_string())
    }

    /// The file with its license, where Debian's packages have it.
    pub(crate) fn license(&self) -> Option<PathBuf> {
        let path = Path::new("/usr/share/doc").join(&self.package).join("copyright");
        path.is_file().then_some(path)
    }
}

/// The version of what no package manager knows.
const UNKNOWN: &str = "unknown";

/// The packages that a program is linked with; none for a static one.
pub(crate) fn packages(program: &Path) -> Result<Vec<Library>> {
    let mut found: BTreeMap<(String, String), Vec<PathBuf>> = BTreeMap::new();
    for path in libraries(program)? {
        let owner = owner(&path).unwrap_or_else(|| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, UNKNOWN.to_owned())
        });
        found.entry(owner).or_default().push(path);
    }
    let library = |((package, version), paths)| Library { package, version, paths };
    Ok(found.into_iter().map(library).collect())
}

/// The package that a file is from, and its version. Where /lib is a link, a package may name either path.
fn owner(path: &Path) -> Option<(String, String)> {
    let dpkg = |args: &[&str], path: &str| {
        exec::output(Command::new("dpkg-query").args(args).arg(path), "asking dpkg").ok()
    };
    let real = fs::canonicalize(path).unwrap_or_default();
    let without_usr = Path::new("/").join(real.strip_prefix("/usr").unwrap_or(&real));
    let mut candidates = [path, &real, &without_usr].into_iter();
    // `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`
    let line = candidates.find_map(|path| dpkg(&["--search"], path.to_str()?))?;
    let (package, _) = line.split_once(": ")?;
    let version = dpkg(&["--show", "--showformat", "${Version}"], package)?;
    Some((package.split(':').next()?.to_owned(), version))
}

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
    fn libraries_have_their_packages() {
        if !exec::on_path("dpkg-query") {
            return;
        }
        let packages = packages(Path::new("/bin/true")).unwrap();
        let library = packages.iter().find(|library| library.package == "libc6").unwrap();
        assert!(library.reference().starts_with("pkg:deb/debian/libc6@2."), "{}", library.reference());
        assert!(library.files().any(|file| file.ends_with("/libc.so.6")));
        assert!(library.license().is_some());
        let other = Library { package: "libx.so".into(), version: UNKNOWN.into(), paths: Vec::new() };
        assert_eq!(other.reference(), "pkg:generic/libx.so");
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let listing = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n\t/lib64/ld.so (0x0)\n";
        let libraries = libraries_of(listing, Path::new("p")).unwrap();
        assert_eq!(libraries, [PathBuf::from("/lib/libc.so.6"), PathBuf::from("/lib64/ld.so")]);
        assert!(libraries_of("\tlibx.so => not found\n", Path::new("p")).is_err());
        assert!(libraries_of("\tstatically linked\n", Path::new("p")).unwrap().is_empty());
    }
}
