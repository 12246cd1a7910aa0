//! `cargo xtask image`: assembles the files of the agent's image.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{build, exec, linked, workspace};

/// Where the program is in the image; deploy/Containerfile starts it there.
pub(crate) const PROGRAM: &str = "/usr/bin/netcause";

/// Builds the agent in release mode and assembles the files of its image.
pub(crate) fn command() -> Result<()> {
    let agent = build::release_agent()?;
    let context = workspace::root()?.join("target/image");
    let files = assemble(&agent, &context.join("rootfs"))?;
    exec::say(format!("{} files are in {}; next:", files.len(), context.display()));
    exec::say("podman build -f deploy/Containerfile -t netcause:0.1.0 target/image");
    Ok(())
}

/// Fills a directory with the program, the libraries that it is linked with, and nothing else.
fn assemble(program: &Path, root: &Path) -> Result<Vec<PathBuf>> {
    drop(fs::remove_dir_all(root));
    let mut files = vec![(program.to_owned(), PathBuf::from(PROGRAM))];
    files.extend(linked::libraries(program)?.into_iter().map(|library| (library.clone(), library)));
    for (from, to) in &files {
        let to = root.join(to.strip_prefix("/").unwrap_or(to));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        // The target of a link under the name of the link, which is what the loader opens.
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(files.into_iter().map(|(_, to)| to).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A program of this machine runs in a root directory with the assembled files alone; where `chroot` is permitted.
    #[test]
    fn the_assembled_files_are_enough() {
        let root = std::env::temp_dir().join(format!("netcause-image-{}", std::process::id()));
        let files = assemble(Path::new("/bin/true"), &root).unwrap();
        assert_eq!(files[0], Path::new(PROGRAM));
        assert!(files.iter().all(|file| root.join(file.strip_prefix("/").unwrap()).is_file()));
        if exec::is_root() {
            let status = Command::new("chroot").arg(&root).arg(PROGRAM).status().unwrap();
            assert!(status.success(), "{status}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
