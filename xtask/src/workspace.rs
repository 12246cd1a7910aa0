//! Directories: the workspace, its caches, and the user's cache that all clones share.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail};

use crate::exec;

/// The workspace's root directory.
pub(crate) fn root() -> Result<&'static Path> {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(root) = ROOT.get() {
        return Ok(root);
    }
    // Found at run time and not compiled in: a clone may be moved, and a target directory shared.
    let output = exec::output(
        Command::new(cargo()).args(["locate-project", "--workspace", "--message-format", "plain"]),
        "finding the workspace (run this inside a clone of Netcause)",
    )?;
    let Some(root) = Path::new(output.trim()).parent() else {
        bail!("cargo located the workspace at {output:?}, which has no parent directory");
    };
    if !root.join("xtask").is_dir() {
        bail!("{} is not the workspace of Netcause: run this inside a clone of it", root.display());
    }
    Ok(ROOT.get_or_init(|| root.to_path_buf()))
}

/// The cargo that runs us.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The output of set-up for this clone: `target/setup/`, independent of `CARGO_TARGET_DIR`, because `agent/build.rs` reads it.
pub(crate) fn setup_dir() -> Result<PathBuf> {
    directory(root()?.join("target/setup"))
}

/// Kernels and images of the matrix: `target/vm/`.
pub(crate) fn vm_dir() -> Result<PathBuf> {
    directory(root()?.join("target/vm"))
}

/// The output of fuzzing: `target/fuzzing/`.
pub(crate) fn fuzzing_dir() -> Result<PathBuf> {
    directory(root()?.join("target/fuzzing"))
}

/// The cache of this user, shared by all clones: `$XDG_CACHE_HOME/netcause`, else `~/.cache/netcause`.
pub(crate) fn user_cache() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: set one, tools are cached below it"),
    };
    directory(base.join("netcause"))
}

fn directory(path: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&path)
        .with_context(|| format!("cannot make the directory {}", path.display()))?;
    Ok(path)
}
