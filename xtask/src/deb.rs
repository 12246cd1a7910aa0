//! `cargo xtask deb`: a Debian package of the agent for hosts without Kubernetes, made without Debian's tools.

mod ar;
mod control;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    exec, linked,
    ship::{
        self, Origin, PROGRAM, VERSION,
        archive::{Tree, gzip},
    },
    workspace,
};

/// Files of the package as they are in the repository: where they are there, and in the package.
const FILES: [(&str, &str); 3] = [
    ("deploy/debian/netcause.service", "usr/lib/systemd/system/netcause.service"),
    ("deploy/debian/config.yaml", CONFIG),
    ("deploy/debian/copyright", "usr/share/doc/netcause/copyright"),
];
/// What dpkg runs, in the repository.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// The one file that belongs to the administrator: an upgrade asks before it changes it.
const CONFIG: &str = "etc/netcause/config.yaml";
/// The name by which kubectl finds a plugin.
const PLUGIN: &str = "usr/bin/kubectl-netcause";

/// Builds the agent and writes its package.
pub(crate) fn command(args: &ship::Program) -> Result<()> {
    let package = package(&args.get()?, &Origin::of_clone()?)?;
    let path = path()?;
    ship::write(&path, &package)?;
    exec::say(format!("next, as root: apt install {}", path.display()));
    Ok(())
}

/// Where the package is, with the name that apt's repositories give it.
pub(crate) fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join(format!("target/deb/netcause_{VERSION}_{}.deb", ship::architecture()?)))
}

/// The package of a program (deb(5)).
pub(crate) fn package(program: &Path, origin: &Origin) -> Result<Vec<u8>> {
    let root = workspace::root()?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    // The libraries are other packages'.
    let mut files = ship::documents(&[], origin)?;
    let bytes = read(program)?;
    let libraries = linked::packages(program)?;
    let depends = control::depends(&libraries, &bytes);
    files.file(PROGRAM, 0o755, bytes);
    files.link(PLUGIN, "netcause");
    for (from, to) in FILES {
        files.file(to, 0o644, read(&root.join(from))?);
    }
    let kibibytes = files.files().map(|(_, content)| content.len().div_ceil(1024)).sum();

    let mut about = Tree::default();
    about.file("control", 0o644, control::text(&depends, kibibytes)?.into_bytes());
    about.file("conffiles", 0o644, format!("/{CONFIG}\n").into_bytes());
    for script in SCRIPTS {
        about.file(script, 0o755, read(&root.join("deploy/debian").join(script))?);
    }
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&about.tar(origin.epoch)?)?),
        ("data.tar.gz", gzip(&files.tar(origin.epoch)?)?),
    ];
    ar::archive(&members, origin.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Debian's own tool reads the package: fields, scripts, files, their owners; and it is the same each time.
    #[test]
    fn dpkg_reads_the_package() {
        if !exec::on_path("dpkg-deb") {
            return;
        }
        let origin = Origin { epoch: 1_700_000_000, revision: None };
        let package = package(Path::new("/bin/true"), &origin).unwrap();
        assert_eq!(package, super::package(Path::new("/bin/true"), &origin).unwrap());
        let file = std::env::temp_dir().join(format!("netcause-{}.deb", std::process::id()));
        fs::write(&file, &package).unwrap();
        let dpkg = |args: &[&str]| {
            exec::output(Command::new("dpkg-deb").args(args).arg(&file).env("TZ", "UTC"), "reading").unwrap()
        };
        let fields = dpkg(&["--field"]);
        for field in ["Package: netcause\n", "Depends: libc6 (>= 2.", "Architecture: ", "Maintainer: "] {
            assert!(fields.contains(field), "{field} is not in\n{fields}");
        }
        let listed = dpkg(&["--contents"]);
        for line in [
            "-rwxr-xr-x root/root",
            " usr/bin/netcause\n",
            " usr/bin/kubectl-netcause -> netcause\n",
            " usr/lib/systemd/system/netcause.service\n",
            " etc/netcause/config.yaml\n",
            " usr/share/doc/netcause/copyright\n",
            "2023-11-14 22:13",
        ] {
            assert!(listed.contains(line), "{line} is not in\n{listed}");
        }
        assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");
        let info = dpkg(&["--info"]);
        assert!(SCRIPTS.iter().chain(&["conffiles"]).all(|file| info.contains(file)), "{info}");
        fs::remove_file(file).unwrap();
    }
}
