//! `cargo xtask image`: the agent's image as an archive, made from deploy/Containerfile without a container engine.

mod containerfile;
mod oci;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    exec, linked,
    ship::{
        self, Origin, PROGRAM, VERSION,
        archive::{Tree, mebibytes},
    },
    workspace,
};

/// The size that the archive has to stay below, in bytes: every node of a cluster fetches it.
const LIMIT: usize = 20 << 20;

/// Arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: ship::Program,
    /// Build everything again in another directory, and compare the bytes of the image and of the Debian package
    #[arg(long, conflicts_with = "program")]
    verify: bool,
}

/// Builds the agent and writes its image.
pub(crate) fn command(args: &Args) -> Result<()> {
    if args.verify {
        return verify::command();
    }
    let archive = archive(&args.program.get()?, &Origin::of_clone()?)?;
    let path = path()?;
    ship::write(&path, &archive)?;
    if args.program.program.is_none() && archive.len() > LIMIT {
        bail!("the image is larger than {}", mebibytes(LIMIT));
    }
    exec::say(format!(
        "next: docs/install.md has how nodes get it; here: podman load --input {}",
        path.display()
    ));
    Ok(())
}

/// Where the archive is.
pub(crate) fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join(format!("target/image/netcause-{VERSION}.tar")))
}

/// The archive of the image of a program.
pub(crate) fn archive(program: &Path, origin: &Origin) -> Result<Vec<u8>> {
    let file = workspace::root()?.join(containerfile::PATH);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let start = containerfile::read(&text).context(containerfile::PATH)?;
    oci::archive(&files(program, origin)?, &start, origin)
}

/// The program, the libraries that it is linked with, licenses and the bill of materials; nothing else.
fn files(program: &Path, origin: &Origin) -> Result<Tree> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let libraries = linked::packages(program)?;
    let mut tree = ship::documents(&libraries, origin)?;
    tree.file(PROGRAM, 0o755, read(program)?);
    for library in &libraries {
        for path in &library.paths {
            // The target of a link under the name of the link, which is what the loader opens.
            tree.file(&path.to_string_lossy(), 0o755, read(path)?);
        }
        if let Some(license) = library.license() {
            tree.file(&license.to_string_lossy(), 0o644, read(&license)?);
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec;
    use std::process::Command;

    /// The archive of a program of this machine, made twice, has the same bytes; its layer, unpacked, is enough to run the program where
    /// `chroot` is permitted.
    #[test]
    fn the_layer_is_enough_and_the_same_each_time() {
        let origin = Origin { epoch: 1_700_000_000, revision: Some("abc".into()) };
        let program = Path::new("/bin/true");
        let files = files(program, &origin).unwrap();
        let start = containerfile::Start {
            user: "0:0".into(),
            ports: vec![9779],
            entrypoint: vec![PROGRAM.into()],
            args: vec![],
        };
        let archive = oci::archive(&files, &start, &origin).unwrap();
        assert_eq!(archive, oci::archive(&super::files(program, &origin).unwrap(), &start, &origin).unwrap());

        let directory = std::env::temp_dir().join(format!("netcause-image-{}", std::process::id()));
        let root = directory.join("root");
        fs::create_dir_all(&root).unwrap();
        fs::write(directory.join("image.tar"), &archive).unwrap();
        let tar = |args: &[&str], at: &Path| {
            exec::output(Command::new("tar").args(args).current_dir(at), "unpacking").unwrap()
        };
        tar(&["-xf", "image.tar"], &directory);
        let layer = oci::layer(&files, &origin).unwrap();
        let blob = directory.join("blobs/sha256").join(ship::archive::sha256(&layer));
        tar(&["-xzpf", &blob.to_string_lossy()], &root);
        for file in
            ["usr/bin/netcause", "usr/share/doc/netcause/LICENSE", "usr/share/doc/netcause/sbom.cdx.json"]
        {
            assert!(root.join(file).is_file(), "{file}");
        }
        if exec::is_root() {
            let status = Command::new("chroot").arg(&root).arg(PROGRAM).status().unwrap();
            assert!(status.success(), "{status}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
