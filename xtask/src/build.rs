//! `cargo xtask build`: the agent as users get it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cargo::{self, Profile},
    exec, tools,
};

/// Builds the agent in release mode and says where it is.
pub(crate) fn command() -> Result<()> {
    let agent = release_agent()?;
    exec::say(format!("the agent is {}", agent.display()));
    Ok(())
}

/// Sets up what building needs and builds the agent in release mode.
pub(crate) fn release_agent() -> Result<PathBuf> {
    tools::toolchain()?;
    cargo::program(&cargo::build(&["netcause"], Profile::Release)?, "netcause")
}
