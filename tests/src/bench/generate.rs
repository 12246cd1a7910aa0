//! The programs of the benchmark inside the pods. Each prints `ready`, carries out the commands that come on standard
//! input, one per line, prints the work done and the duration of each, and ends at the end of the input.

mod dns;
mod drive;
mod held;
mod think;

use std::{
    io::{BufRead as _, stdin},
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

pub(super) use drive::Load;
pub(super) use think::{Distribution, Style};

/// `netcause-lab bench generate`
#[derive(Subcommand)]
pub(crate) enum Generate {
    /// Load a server; a command is a number of milliseconds
    Drive(drive::Drive),
    /// Answer DNS queries
    Answer(dns::Answer),
    /// Accept connections and keep them
    Keep(held::Keep),
    /// Answer requests that say how long that is to take
    Think(think::Think),
    /// Send such requests; prints its sums for each line of the input
    Ask(think::Ask),
    /// Hold connections; commands are `open N` and `touch`
    Hold(held::Hold),
}

impl Generate {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::Drive(drive) => drive.run(),
            Self::Answer(answer) => answer.run(),
            Self::Keep(keep) => keep.run(),
            Self::Think(think) => think.run(),
            Self::Ask(ask) => ask.run(),
            Self::Hold(hold) => hold.run(),
        }
    }
}

/// Carries out commands until there are no more; `work` returns how much it did.
fn serve_commands(mut work: impl FnMut(&str) -> Result<u64>) -> Result<()> {
    println!("ready");
    for (number, line) in (1_u64..).zip(stdin().lock().lines()) {
        let line = line.context("reading a command")?;
        let began = Instant::now();
        let done = work(&line).with_context(|| line.clone())?;
        println!("{}", json!({"command": number, "done": done, "seconds": began.elapsed().as_secs_f64()}));
    }
    Ok(())
}

/// As many open files as this process may have.
fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}
