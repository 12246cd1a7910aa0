//! `cargo xtask build`: builds the agent in release mode.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cargo::{self, Profile},
    exec, tools,
};

/// Builds the agent in release mode and prints its path.
pub(crate) fn command() -> Result<()> {
    let agent = release_agent()?;
    exec::say(format!("the agent is {}", agent.display()));
    Ok(())
}

/// Installs the toolchain and builds the agent in release mode.
pub(crate) fn release_agent() -> Result<PathBuf> {
    tools::toolchain()?;
    cargo::program(&cargo::build(&["netcause"], Profile::Release)?, "netcause")
}
