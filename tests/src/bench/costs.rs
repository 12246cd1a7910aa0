//! Run times of the agent's programs, by the kernel's statistics, read from the agent's metrics.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::SWEEP_AGAIN;
use crate::lab::{
    agent::Agent,
    metrics::{Metrics, float},
};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
const RUN_SECONDS: &str = "netcause_bpf_run_seconds_total";
const RUNS: &str = "netcause_bpf_runs_total";
/// The program that visits every open file at a sweep: a scrape runs it, and no connection and no packet does.
pub(super) const SWEEP: &str = "open_sockets";

/// Seconds and runs of each program.
pub(super) struct Costs(BTreeMap<String, (f64, f64)>);

impl Costs {
    pub(super) fn of(metrics: &Metrics) -> Self {
        let cost = |program: String| {
            let sum = |name: &str| metrics.sum(name, &[("program", &program)]);
            let cost = (sum(RUN_SECONDS), sum(RUNS));
            (program, cost)
        };
        Self(metrics.label_values(RUNS, "program").into_iter().map(cost).collect())
    }

    /// Nanoseconds, less `noop` for each run, and runs of a program since `before`.
    pub(super) fn since(&self, before: &Self, program: &str, noop: f64) -> (f64, f64) {
        let at = |costs: &Self| costs.0.get(program).copied().unwrap_or_default();
        let ((seconds_before, runs_before), (seconds, runs)) = (at(before), at(self));
        let runs = runs - runs_before;
        ((seconds - seconds_before) * 1e9 - runs * noop, runs)
    }
}

/// Measures what operations cost, from the metrics of one agent.
pub(super) struct Meter<'a> {
    pub(super) agent: &'a Agent,
    /// Nanoseconds that the kernel's own bookkeeping adds to each run.
    pub(super) noop: f64,
}

impl Meter<'_> {
    pub(super) fn read(&self) -> Result<Costs> {
        // A view is kept for a second: what was read before must not be read again.
        thread::sleep(SWEEP_AGAIN);
        Ok(Costs::of(&self.agent.scrape()?))
    }

    /// Operates and reports; `operate` returns how often.
    pub(super) fn measure(&self, what: &str, operate: impl FnOnce() -> Result<u64>) -> Result<()> {
        let spent = self.spent(what, operate)?;
        println!("\n{what}:");
        println!("  {:<24} {:>9} {:>12} {:>14}", "program", "runs", "each run", "per operation");
        for (program, Spent { runs, cost }) in &spent {
            println!("  {program:<24} {runs:>9.2} {:>12.0} {cost:>14.0}", cost / runs);
        }
        let runs: f64 = spent.values().map(|spent| spent.runs).sum();
        println!("  {:<24} {runs:>9.2} {:>12} {:>14.0}", "in all", "", in_all(&spent));
        Ok(())
    }

    /// Operates; what each operation cost, by program, sweeps left out.
    pub(super) fn spent(
        &self,
        what: &str,
        operate: impl FnOnce() -> Result<u64>,
    ) -> Result<BTreeMap<String, Spent>> {
        let before = self.read()?;
        let operations = operate()?;
        ensure!(operations > 0, "{what}: it never happened");
        let operations = float(operations);
        let now = self.read()?;
        let each = |program: &String| {
            let (cost, runs) = now.since(&before, program, self.noop);
            (program.clone(), Spent { runs: runs / operations, cost: cost / operations })
        };
        let programs = now.0.keys().filter(|program| *program != SWEEP).map(each);
        Ok(programs.filter(|(_, spent)| spent.runs > 0.0).collect())
    }
}

/// Runs and cost of one program for each operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) runs: f64,
    /// In nanoseconds.
    pub(super) cost: f64,
}

/// The cost of all programs together.
pub(super) fn in_all(spent: &BTreeMap<String, Spent>) -> f64 {
    spent.values().map(|spent| spent.cost).sum()
}

/// The kernel's statistics of programs, on until dropped.
pub(super) struct Statistics {
    before: String,
}

impl Statistics {
    pub(super) fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("reading {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("writing {SWITCH}"))?;
        // The switch is a static key: give every processor the time to see it.
        thread::sleep(Duration::from_millis(50));
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        // A failure does no harm: the VM is thrown away, and elsewhere the switch costs little.
        let _ = fs::write(SWITCH, self.before.trim());
    }
}
