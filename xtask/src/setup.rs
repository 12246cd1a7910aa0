//! `cargo xtask setup`: installs what the other commands need.
//!
//! Each command calls the part of [`tools`] that it needs, so running this one first is a convenience. A second run checks and
//! changes nothing.

use anyhow::Result;

use crate::{exec, tools, vm};

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the virtual machines and their kernels
    #[arg(long)]
    no_vm: bool,
    /// Also the browser that makes pictures of the dashboards (96 MB)
    #[arg(long)]
    browser: bool,
}

/// Installs everything.
pub(crate) fn command(args: &Args) -> Result<()> {
    tools::everything(!args.no_vm)?;
    tools::validator()?;
    tools::deny()?;
    tools::envoy()?;
    tools::resolvers()?;
    tools::servers();
    tools::telemetry();
    if args.browser {
        tools::browser()?;
    }
    if !args.no_vm {
        vm::fetch_kernels()?;
    }
    exec::say("setup: everything is installed");
    Ok(())
}
