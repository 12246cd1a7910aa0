//! The faults, and the run over them.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::{
    control::Control,
    stage::{End, Stage, names},
    table::{Outcome, table},
    verdict::{Heard, Truth},
};
use crate::lab::path::NodePath;

/// From the begin of a fault until it must be named.
const LIMIT: Duration = Duration::from_secs(75);
/// After each end that must see it has said what is right: whether it stays with it, and what the other end says.
const SETTLE: Duration = Duration::from_secs(20);
/// How often agents are asked.
const EVERY: Duration = Duration::from_secs(3);

/// `netcause-lab one-ended`
#[derive(Args)]
pub(crate) struct OneEnded {
    #[command(flatten)]
    machines: Machines,
    /// Only cases with this in their name
    #[arg(long)]
    case: Vec<String>,
    /// Print what each agent said in full
    #[arg(long)]
    verbose: bool,
}

/// The machines, and the path between them.
#[derive(Args)]
pub(super) struct Machines {
    /// The serial port of each machine, first the client's: a UNIX socket
    #[arg(long, num_args = 2, required = true)]
    control: Vec<PathBuf>,
    /// The ends of the path to each machine: see `netcause-lab traffic path --help`
    #[arg(long, num_args = 2, required = true)]
    wire: Vec<String>,
    /// Where the chance of the path begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Machines {
    /// Waits for both, and starts their agents, which know these names.
    pub(super) fn stage(&self, names: &str, is_scraped: bool) -> Result<Stage> {
        let [a, b] = &self.control[..] else { bail!("two machines") };
        let machines = [Control::connect("A", a)?, Control::connect("B", b)?];
        let path = NodePath::of(&self.wire[0], &self.wire[1], self.seed)?;
        let began = Instant::now();
        let stage = Stage::new(machines, path, names, is_scraped)?;
        eprintln!("both agents run after {:.0} s; seed {}", began.elapsed().as_secs_f64(), self.seed);
        Ok(stage)
    }
}

/// A fault, and what each end may say of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Of the path in each direction, always.
    pub(super) delay_ms: u32,
    /// How long everything is well before.
    pub(super) well: Duration,
    /// Starts what is well; returns the programs that [`Self::fault`] needs.
    pub(super) before: fn(&mut Stage) -> Result<Vec<String>>,
    /// Makes it wrong.
    pub(super) fault: fn(&mut Stage, &[String]) -> Result<()>,
    /// What is true for the client's node and for the server's.
    pub(super) truth: [Truth; 2],
}

impl OneEnded {
    pub(crate) fn run(self) -> Result<()> {
        let all = super::faults::all();
        let is_wanted =
            |name: &str| self.case.is_empty() || self.case.iter().any(|part| name.contains(part.as_str()));
        let cases: Vec<&Case> = all.iter().filter(|case| is_wanted(case.name)).collect();
        ensure!(!cases.is_empty(), "no case has this in its name");
        let known: Vec<&str> = cases.iter().map(|case| case.name).collect();
        let mut stage = self.machines.stage(&names(&known), false)?;
        let mut outcomes = Vec::new();
        for (number, case) in (1..).zip(&cases) {
            let result = play(&mut stage, number, case);
            stage.clear().context("clearing the stage")?;
            let outcome = match result {
                Ok(heard) => Outcome { name: case.name, truth: case.truth, heard },
                Err(error) => {
                    eprintln!("{}: not played: {error:#}", case.name);
                    continue;
                }
            };
            eprintln!("{}", outcome.line());
            if self.verbose {
                eprintln!("{}", outcome.in_full());
            }
            outcomes.push(outcome);
        }
        println!("{}", table(&outcomes));
        ensure!(outcomes.len() == cases.len(), "some cases could not be played");
        let accused: usize = outcomes.iter().map(Outcome::accused).sum();
        ensure!(accused == 0, "{accused} times a wrong side was named with high confidence");
        Ok(())
    }
}

/// Plays a case: what each agent said.
fn play(stage: &mut Stage, number: u8, case: &Case) -> Result<[Heard; 2]> {
    stage.set(number, case.delay_ms)?;
    let programs = (case.before)(stage).context("before the fault")?;
    thread::sleep(case.well);
    let mut heard = [Heard::default(), Heard::default()];
    (case.fault)(stage, &programs).context("the fault")?;
    let (began, mut right_since) = (Instant::now(), None);
    loop {
        thread::sleep(EVERY);
        for end in [End::A, End::B] {
            if let Some(answer) = stage.findings(end)? {
                heard[end as usize].add(&answer, case.name, began.elapsed());
            }
        }
        let mut ends = heard.iter().zip(&case.truth).filter(|(_, truth)| !truth.may_be_silent).peekable();
        let is_right = ends.peek().is_some() && ends.all(|(heard, truth)| heard.has(truth));
        let settled = is_right && right_since.get_or_insert_with(Instant::now).elapsed() > SETTLE;
        if settled || began.elapsed() > LIMIT {
            return Ok(heard);
        }
    }
}
