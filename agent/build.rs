//! Builds the eBPF programs for the BPF target and leaves the object where `include_bytes_aligned!` finds it.
//!
//! Which toolchain can do that is chosen by `cargo xtask setup`, which writes `target/setup/ebpf-toolchain`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};

/// Set for the second run of this program, which has the environment that aya-build wants.
const PREPARED: &str = "NETCAUSE_BUILD_PREPARED";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the agent has no workspace around it")?;
    let file = workspace.join("target/setup/ebpf-toolchain");
    println!("cargo:rerun-if-changed={}", file.display());
    println!("cargo:rerun-if-changed={}", workspace.join("agent-common/src").display());
    let text = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}: run `cargo xtask setup` first", file.display()))?;
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.with_context(|| {
            format!("{} has no line `{key}=…`: run `cargo xtask setup` again", file.display())
        })
    };
    if env::var_os(PREPARED).is_none() {
        return run_again_prepared(value("linker_dir")?, value("bootstrap")? == "1");
    }
    let root_dir = workspace.join("agent-ebpf");
    let package = Package {
        name: "netcause-ebpf",
        root_dir: root_dir.to_str().context("the path of the workspace is no UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(value("toolchain")?))
}

/// aya-build takes its instructions from its own environment, and changing that of a running program is unsafe: this
/// program starts itself once more with bpf-linker on its path, and, for a stable toolchain, with leave to build `core`.
/// Nothing but the build of the programs sees either.
fn run_again_prepared(linker_dir: &str, bootstrap: bool) -> Result<()> {
    let mut path = vec![PathBuf::from(linker_dir)];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(env::current_exe().context("cannot find this build script")?);
    command.env(PREPARED, "1").env("PATH", env::join_paths(path)?);
    if bootstrap {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command.status().context("cannot start this build script again")?;
    ensure!(status.success(), "the eBPF programs did not build: see the messages above");
    Ok(())
}
