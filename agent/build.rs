//! Builds the eBPF programs for the BPF target and leaves the object where `include_bytes_aligned!` finds it.
//!
//! `cargo xtask setup` chooses the toolchain that can do this and writes `target/setup/ebpf-toolchain`. Without that file the
//! object is empty: `cargo check`, an IDE and every test that loads no program work on a fresh clone, and the agent refuses
//! to start. Every command of xtask that builds the agent runs set-up first.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use anyhow::{Context as _, Error, Result, ensure};
use aya_build::{Package, Toolchain};
use flate2::Compression;
use flate2::write::GzEncoder;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

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
    let setup = workspace.join("target/setup");
    let file = setup.join("ebpf-toolchain");
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return build_nothing(&setup),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    println!("cargo:rerun-if-changed={}", file.display());
    println!("cargo:rerun-if-changed={}", workspace.join("agent-common/src").display());
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
    aya_build::build_ebpf([package], Toolchain::Custom(value("toolchain")?))?;
    let file = object_file()?;
    let pack = || fs::write(&file, compressed(&without_debug_info(&fs::read(&file)?)?)?).map_err(Error::from);
    pack().with_context(|| format!("cannot strip and compress {}", file.display()))
}

/// Where the agent's code finds the object.
fn object_file() -> Result<PathBuf> {
    Ok(PathBuf::from(env::var_os("OUT_DIR").context("cargo sets no OUT_DIR")?).join("netcause-ebpf"))
}

/// The object without its DWARF, which is three quarters of it. The BTF that bpf-linker has made of that stays: aya and the kernel read no
/// more.
fn without_debug_info(data: &[u8]) -> Result<Vec<u8>> {
    let mut object = Builder::read(data)?;
    for section in &mut object.sections {
        section.delete = section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // bpf-linker keeps the names of sections among those of symbols, which the builder does not write.
    let names = object.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    Ok(stripped)
}

/// As the agent carries it: it is read once, at the start, and would be as large in memory as in the file from then on.
fn compressed(object: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(object)?;
    Ok(encoder.finish()?)
}

/// Leaves an empty object and a warning.
fn build_nothing(setup: &Path) -> Result<()> {
    // cargo would run this script again, and compile the agent again, each time it finds a named file missing. The
    // directory is there from now on, and changes when set-up writes the file.
    fs::create_dir_all(setup).with_context(|| format!("cannot make {}", setup.display()))?;
    println!("cargo:rerun-if-changed={}", setup.display());
    let object = object_file()?;
    fs::write(&object, []).with_context(|| format!("cannot write {}", object.display()))?;
    println!(
        "cargo:warning=no eBPF toolchain: built without the eBPF programs, which is enough for checks and unit tests; \
         run `cargo xtask setup` to get one"
    );
    Ok(())
}

/// Runs this script once more, with bpf-linker on its path and, for a stable toolchain, with permission to build `core`.
///
/// aya-build takes both from its own environment, and changing that of a running program is unsafe.
fn run_again_prepared(linker_dir: &str, bootstrap: bool) -> Result<()> {
    let mut path = vec![PathBuf::from(linker_dir)];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(env::current_exe().context("cannot find this build script")?);
    command.env(PREPARED, "1").env("PATH", env::join_paths(path)?);
    // aya-build turns every line of the inner cargo into a warning, and the outer cargo repeats a script's warnings at each
    // later build. Without its progress what is left are the compiler's warnings and errors.
    command.env("CARGO_TERM_QUIET", "true").env_remove("CARGO_TERM_VERBOSE");
    if bootstrap {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command.status().context("cannot start this build script again")?;
    ensure!(status.success(), "the eBPF programs did not build: see the messages above");
    Ok(())
}
