//! Release builds without this machine's paths: the same bytes from any directory, and nobody's home in a program.
//!
//! Paths of sources are in panic messages, and in the line information of the eBPF programs. `RUSTFLAGS` with
//! `--remap-path-prefix` would not do: aya-build gives the eBPF programs flags of its own. So this program stands before each
//! rustc that cargo starts (`RUSTC_WRAPPER`), the inner cargo of aya-build too, and adds the arguments.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Carries the arguments to add, separated as in `CARGO_ENCODED_RUSTFLAGS`. Where it is set, this program is a wrapper of rustc.
const ARGUMENTS: &str = "NETCAUSE_REMAP";
const SEPARATOR: &str = "\x1f";

/// Lets cargo start this program before rustc.
pub(crate) fn wrap(cargo: &mut Command) -> Result<()> {
    let mut arguments = OsString::new();
    for (from, to) in prefixes()? {
        if !arguments.is_empty() {
            arguments.push(SEPARATOR);
        }
        arguments.push("--remap-path-prefix=");
        arguments.push(from);
        arguments.push("=");
        arguments.push(to);
    }
    let this = env::current_exe().context("cannot find this program")?;
    cargo.env("RUSTC_WRAPPER", this).env(ARGUMENTS, arguments);
    Ok(())
}

/// Becomes rustc, if cargo has started this program in its place.
pub(crate) fn as_wrapper() -> Option<ExitCode> {
    let added = env::var_os(ARGUMENTS)?;
    let mut arguments = env::args_os().skip(1);
    // cargo's convention: the program, then its arguments.
    let rustc = arguments.next()?;
    let added = added.as_bytes().split(|byte| SEPARATOR.as_bytes().contains(byte)).map(OsStr::from_bytes);
    let error = Command::new(&rustc).args(arguments).args(added).exec();
    eprintln!("error: cannot start {}: {error}", rustc.display());
    Some(ExitCode::FAILURE)
}

/// Directories of this machine, and what is written in their place. Of several that contain a path the last counts (rustc's
/// rule), so the narrower ones come last.
fn prefixes() -> Result<Vec<(PathBuf, &'static str)>> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let below_home = |variable: &str, name: &str| {
        env::var_os(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(name)))
    };
    let found = [
        (home.clone(), "/home"),
        (below_home("RUSTUP_HOME", ".rustup"), "/rustup"),
        (below_home("CARGO_HOME", ".cargo"), "/cargo"),
        (Some(workspace::root()?.to_owned()), "/netcause"),
    ];
    let is_narrow = |path: &PathBuf| path.is_absolute() && path.parent().is_some();
    Ok(found.into_iter().filter_map(|(from, to)| Some((from.filter(is_narrow)?, to))).collect())
}

/// Fails if a program has a path of this machine in it.
pub(crate) fn is_clean(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    for (path, _) in prefixes()? {
        if contains(&bytes, path.as_os_str().as_bytes()) {
            bail!(
                "{} has the path {} in it: parts of it were not built by xtask. Run `cargo clean --release`, then this again",
                program.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// Whether a path or one below it is in these bytes.
fn contains(bytes: &[u8], path: &[u8]) -> bool {
    let mut path = path.to_vec();
    path.push(b'/');
    bytes.windows(path.len()).any(|window| window == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clone_is_a_prefix_of_its_own() {
        let prefixes = prefixes().unwrap();
        let (from, to) = prefixes.last().unwrap();
        assert_eq!((from.as_path(), *to), (workspace::root().unwrap(), "/netcause"));
    }

    #[test]
    fn a_path_in_a_program_is_found() {
        assert!(contains(b"x/a/.cargo/y", b"/a/.cargo"));
        assert!(!contains(b"x/abc", b"/a"));
    }

    /// rustc, started through this wrapper's arguments, writes the other path.
    #[test]
    fn rustc_writes_the_other_path() {
        let directory = env::temp_dir().join(format!("netcause-remap-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("x.rs");
        fs::write(&source, "pub fn f() -> &'static str { file!() }").unwrap();
        let compiled = |remap: bool| {
            let object = directory.join("x.o");
            let mut rustc = Command::new("rustc");
            rustc.args(["--crate-type=lib", "--emit=obj", "-o"]).arg(&object).arg(&source);
            if remap {
                rustc.arg(format!("--remap-path-prefix={}=/netcause", directory.display()));
            }
            assert!(rustc.status().unwrap().success());
            contains(&fs::read(object).unwrap(), directory.as_os_str().as_bytes())
        };
        assert!(compiled(false));
        assert!(!compiled(true));
        fs::remove_dir_all(directory).unwrap();
    }
}
