//! `cargo xtask setup`: what the other commands need, installed once, announced before it is done.
//!
//! Every command calls the part it needs, so nobody has to call this one. A second call looks and changes nothing.

pub(crate) mod packages;
mod toolchain;
pub(crate) mod unpacked;
mod validator;

use anyhow::Result;

use crate::{exec, vm};
use packages::Purpose;

pub(crate) use toolchain::ensure as toolchain;
pub(crate) use validator::ensure as validator;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the virtual machines and their kernels
    #[arg(long)]
    no_vm: bool,
}

/// Installs everything.
pub(crate) fn command(args: &Args) -> Result<()> {
    everything(!args.no_vm)?;
    validator()?;
    if !args.no_vm {
        vm::fetch_kernels()?;
    }
    exec::say("setup: everything is there");
    Ok(())
}

/// The packages and the toolchain for building and testing; `with_vm` adds what boots the kernel matrix.
pub(crate) fn everything(with_vm: bool) -> Result<()> {
    // One installation for all packages that are known to be wanted: a package manager's start is its cost.
    let mut purposes = vec![Purpose::Lab];
    if with_vm {
        purposes.push(Purpose::Vm);
    }
    if toolchain::wants_packages() {
        purposes.push(Purpose::Toolchain);
    }
    packages::ensure(&purposes)?;
    toolchain()?;
    unpacked::ensure(&purposes)?;
    Ok(())
}
