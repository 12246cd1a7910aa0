//! The fault lab: cases drawn from seeds, each with a truth, and what the agent says of them.
//!
//! A case is drawn ([`case`], [`families`], [`healthy`]), carried out ([`stage`]), and judged by names and times alone ([`judge`]).

mod case;
mod draw;
mod families;
mod healthy;
mod judge;
mod run;
mod served;
mod stage;
mod table;
mod watch;

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::lab::{
    self,
    agent::{self, Agent, Options, ROOM},
    cgroup, machine,
};
use case::{Case, Kinds};
use table::Table;
use watch::Watch;

/// A case takes at most so long.
const LONGEST: Duration = Duration::from_secs(180);

/// A recording reaches back for so many minutes: a whole run, but for very long ones.
const RECORDED: &str = "600";

/// `netcause-lab faults`
#[derive(Args)]
pub(crate) struct Faults {
    /// The first case is drawn from this, the next ones from those that follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases
    #[arg(long, default_value_t = 24)]
    cases: u64,
    /// Only these families, by turns: `policy_drop`, `policy_drop,dead_path`
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Cases at a time
    #[arg(long, default_value_t = 8)]
    at_once: u64,
    /// Begin no case that would end later than this
    #[arg(long)]
    seconds: Option<u64>,
    /// Healthy look-alikes alone, for so many hours
    #[arg(long)]
    hours: Option<f64>,
    /// The agent records into this directory, for `netcause why --replay DIR --at TIME`
    #[arg(long, value_name = "DIR")]
    record: Option<String>,
    /// Names of the families
    #[arg(long)]
    list: bool,
}

/// Seconds in which some task waited for a CPU (Documentation/accounting/psi.rst); `None` where that is not known.
fn cpu_waited() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let total = text.lines().next()?.rsplit_once("total=")?.1;
    total.trim().parse::<f64>().ok().map(|microseconds| microseconds / 1e6)
}

impl Faults {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.list {
            families::names().for_each(|name| println!("{name}"));
            return Ok(ExitCode::SUCCESS);
        }
        for name in &self.scenario {
            ensure!(families::names().any(|known| known == name), "no family {name}: see --list");
        }
        machine()?;
        cgroup::sweep_stale()?;
        lab::loopback()?;
        let record: Vec<&str> = match &self.record {
            Some(directory) => vec!["--record", directory, "--record-minutes", RECORDED],
            None => Vec::new(),
        };
        let options = Options { args: &record, env: &[ROOM], ..Options::default() };
        let agent = Agent::start("faults", "agent", &options)?;
        let table = self.measure(&agent)?;
        println!("\n{table}");
        Ok(if table.all_ran() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn kinds(&self) -> Kinds<'_> {
        match &self.scenario {
            _ if self.hours.is_some() => Kinds::Healthy,
            names if names.is_empty() => Kinds::All,
            names => Kinds::Named(names),
        }
    }

    /// Runs cases, several at a time.
    fn measure(&self, agent: &Agent) -> Result<Table> {
        let (watch, table, next) = (Watch::default(), Mutex::new(Table::default()), AtomicU64::new(0));
        let began = Instant::now();
        let waited = cpu_waited();
        let can_trace = agent.scrape()?.sum("netcause_probe_up", &[("probe", "tcp_connect")]) == 1.0;
        let limit = match (self.hours, self.seconds) {
            (Some(hours), _) => Some(Duration::try_from_secs_f64(hours * 3600.0)?),
            (None, seconds) => seconds.map(Duration::from_secs),
        };
        let cases = if self.hours.is_some() { u64::MAX } else { self.cases };
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !has_ended.load(Ordering::SeqCst) {
                    watch.look(agent)?;
                    thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            });
            let workers: Vec<_> = (0..self.at_once.min(cases))
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::SeqCst);
                            let is_late =
                                limit.is_some_and(|limit| number > 0 && began.elapsed() + LONGEST > limit);
                            if number >= cases || is_late {
                                return;
                            }
                            self.one(self.seed + number, can_trace, &watch, &table);
                        }
                    })
                })
                .collect();
            for worker in workers {
                let _ = worker.join();
            }
            has_ended.store(true, Ordering::SeqCst);
            match watcher.join() {
                Ok(watched) => watched,
                Err(_) => bail!("the thread that asks the agent died"),
            }
        })?;
        let share =
            cpu_waited().zip(waited).map(|(now, before)| (now - before) / began.elapsed().as_secs_f64());
        if let Some(share) = share {
            println!("\nTasks waited for a CPU in {:.0} % of the time.", 100.0 * share);
        }
        Ok(table.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn one(&self, seed: u64, can_trace: bool, watch: &Watch, table: &Mutex<Table>) {
        let case = Case::draw(seed, self.kinds());
        if case.is_unsent() && !can_trace {
            eprintln!("seed {seed}: left out: connects without a SYN cannot be traced here");
            return;
        }
        let name: Vec<_> = case.acts.iter().map(|act| act.name).collect();
        let name = name.join(" and ");
        let outcome = run::run(case, watch);
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(outcome) => {
                println!("{}", table::line(&outcome));
                table.add(&outcome);
                let named = outcome.verdicts.iter().map(|verdict| match verdict.named {
                    Some(time) => format!("named after {time:.0} s ({})", verdict.confidence),
                    None => "not named".to_owned(),
                });
                eprintln!("seed {seed}: {name}: {}", named.collect::<Vec<_>>().join(", "));
            }
            Err(error) => {
                table.failed();
                eprintln!("seed {seed}: {name}: could not be made: {error:#}");
            }
        }
    }
}

/// The cases of [`drawn`]: a family and a seed.
const DRAWN: [(&str, u64); 6] = [
    ("path_loss", 1),
    ("dead_path", 2),
    ("connection_refused", 3),
    ("packet_corruption", 4),
    ("dns_nobody_listens", 5),
    ("healthy_early_closers", 6),
];

/// As a scenario: a few cases at once, each named soon, rightly, and by no other name.
pub(crate) fn drawn(_: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (watch, has_ended) = (Watch::default(), AtomicBool::new(false));
    let outcomes: Vec<_> = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !has_ended.load(Ordering::SeqCst) {
                watch.look(agent)?;
                thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        });
        let cases = DRAWN.map(|(family, seed)| Case::draw(seed, Kinds::Named(&[family.to_owned()])));
        let cases = cases.map(|case| scope.spawn(|| run::run(case, &watch)));
        let outcomes = cases.map(|case| case.join().unwrap_or_else(|_| bail!("a case panicked")));
        has_ended.store(true, Ordering::SeqCst);
        let watched = watcher.join().unwrap_or_else(|_| bail!("the thread that asks the agent died"));
        outcomes.into_iter().chain(watched.err().map(Err)).collect::<Result<_>>()
    })?;
    for outcome in &outcomes {
        let is_named = outcome.verdicts.iter().all(|verdict| verdict.named.is_some());
        let is_wrong =
            |said: &&judge::Said| said.kind != judge::Kind::Right && judge::rank(&said.confidence) >= 2;
        let wrong: Vec<_> = outcome.said.iter().filter(is_wrong).collect();
        let line = table::line(outcome);
        ensure!(is_named || outcome.case.is_healthy(), "not named: {line}");
        ensure!(wrong.is_empty(), "called by another name: {wrong:#?}\n{line}");
    }
    Ok(())
}
