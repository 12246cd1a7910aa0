//! Throughput with and without the agent, in slices that take turns.
//!
//! A round has four slices, in an order of its own: without the agent, with it, without it once more, and with programs
//! that do nothing where the agent's programs see packets. The ratio of the second to the first is the figure. That of
//! the third is its noise, the same statistic where the agent makes no difference. That of the fourth is the kernel's
//! cost of the hooks alone, whichever programs use them.

use std::{fmt, thread, time::Duration};

use anyhow::Result;
use clap::Args;
use rustix::process::Signal;

use super::{
    noop::Hooks,
    ratios::{Ratios, median},
};
use crate::lab::agent::{Agent, Options};

/// The kinds of slices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slice {
    Without,
    With,
    Again,
    Hooks,
}

/// Each kind at every position, so that a machine that gets slower or faster favours none.
const ORDERS: [[Slice; 4]; 4] = [
    [Slice::Without, Slice::With, Slice::Again, Slice::Hooks],
    [Slice::Hooks, Slice::Again, Slice::With, Slice::Without],
    [Slice::With, Slice::Without, Slice::Hooks, Slice::Again],
    [Slice::Again, Slice::Hooks, Slice::Without, Slice::With],
];

/// How many rounds, and how long they are.
#[derive(Args)]
pub(super) struct Rounds {
    /// Slices with the agent, each with three without it
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..))]
    pairs: u16,
    /// Length of a slice in milliseconds
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    pub(super) slice_ms: u64,
}

/// Runs a load for one slice; it calls the function meanwhile and returns the rate.
pub(super) type Run<'a> = &'a mut dyn FnMut(&dyn Fn() -> Result<()>) -> Result<f64>;

impl Rounds {
    /// Prints the header of the table that [`Self::measure`] prints.
    pub(super) fn head() {
        println!("{:<28} {:>12}  what is left of it, by round", "", "without");
    }

    /// Measures a load and prints the share of its throughput that is left; it should be at least `least`.
    pub(super) fn measure(&self, name: &str, least: f64, unit: Unit, run: Run<'_>) -> Result<()> {
        let mut rounds = Vec::new();
        for number in 0..usize::from(self.pairs) {
            let mut rates = [0.0; ORDERS[0].len()];
            for slice in ORDERS[number % ORDERS.len()] {
                rates[slice as usize] = self.slice(slice, run)?;
            }
            let [without, with, ..] = rates;
            eprintln!("{name}: round {} of {}: {:.3}", number + 1, self.pairs, with / without);
            rounds.push(rates);
        }
        let without = unit.of(median(rounds.iter().map(|round| round[0]).collect()));
        let left =
            |slice: Slice| Ratios::of(rounds.iter().map(|round| round[slice as usize] / round[0]).collect());
        println!("{name:<28} {without:>12}  {}  (at least {least})", left(Slice::With));
        println!("{:<28} {:>12}  {}", "", "noise", left(Slice::Again));
        println!("{:<28} {:>12}  {}", "", "hooks alone", left(Slice::Hooks));
        Ok(())
    }

    fn slice(&self, slice: Slice, run: Run<'_>) -> Result<f64> {
        let agent = (slice == Slice::With).then(|| Agent::start("load", "agent", &Options::default()));
        let agent = agent.transpose()?;
        let hooks = (slice == Slice::Hooks).then(Hooks::attach).transpose()?;
        // Leaves the kernel time for work that the agent's start or end has deferred.
        thread::sleep(Duration::from_millis(200));
        let rate = run(&|| {
            thread::sleep(Duration::from_millis(self.slice_ms / 2));
            // A scrape in each slice, and with it a sweep: more often than any Prometheus scrapes.
            agent.as_ref().map_or(Ok(()), |agent| agent.get("/metrics", "*/*").map(drop))
        })?;
        drop(hooks);
        if let Some(agent) = agent {
            agent.stop(Signal::TERM)?;
        }
        Ok(rate)
    }
}

/// The unit of a rate.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Operations,
}

impl Unit {
    fn of(self, rate: f64) -> Rate {
        Rate { unit: self, rate }
    }
}

/// Formats a rate for reading.
struct Rate {
    unit: Unit,
    rate: f64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.unit {
            Unit::Bytes => format!("{:.2} GB/s", self.rate / 1e9),
            Unit::Operations => format!("{:.0} /s", self.rate),
        })
    }
}
