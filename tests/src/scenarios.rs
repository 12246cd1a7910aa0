//! The scenarios: each causes a fault, runs real programs against it, and checks the metrics of the agent. The first
//! sentence of a scenario's documentation is what it proves.
//!
//! They run as the tests of a Rust test binary do. A scenario that this environment cannot run is reported as ignored,
//! with the reason, never as passed.

mod activation;
mod budget;
mod bytes;
mod closes;
mod connect;
mod counts;
mod daemon;
mod deploy;
mod dnat;
mod dns;
mod drops;
mod edges;
mod exposition;
mod external;
mod findings;
mod idle;
mod itself;
mod late;
mod limits;
mod listeners;
mod live;
mod loss;
mod mptcp;
mod names;
mod netem;
mod node;
mod otlp;
mod outside;
mod package;
mod peers;
mod preexisting;
mod prometheus;
mod quality;
mod recording;
mod recovery;
mod resets;
mod sidecar;
mod sweep;
mod table;
mod turn;
mod udp;
mod web;

use std::{
    fs::File,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, ColorSetting, Failed, Trial};

use crate::lab::{self, agent, cgroup, faults, in_vm, is_between, is_done, machine};

pub(crate) use itself::Victim;
use table::SCENARIOS;

/// Requirements of a scenario besides root and the agent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The `netem` queueing discipline.
    Netem,
    /// A client that was not written for this lab.
    Curl,
    /// Debian's `prometheus` package.
    Prometheus,
    /// A DNS server and clients that were not written for this lab: `unbound`, `dig` and `dnsperf`.
    Dns,
    /// As [`Needs::Dns`] and [`Needs::Alone`].
    DnsAlone,
    /// [`Needs::Prometheus`] and [`Needs::Dns`].
    Dashboard,
    /// A real sidecar: `envoy`. On this machine only: the memory of the VMs does not hold its 107 MB beside all others.
    Envoy,
    /// These programs, each with an argument that makes it succeed.
    Programs(&'static [(&'static str, &'static str)]),
    /// [`Needs::Envoy`] and [`Needs::Prometheus`].
    EnvoyAndPrometheus,
    /// A kernel with MPTCP.
    Mptcp,
    /// TAP devices: `/dev/net/tun`.
    Tap,
    /// A program that starts others in a new PID namespace.
    Unshare,
    /// The image and the Debian package of the agent, and what boots a host with systemd. Like [`Needs::Envoy`], on this machine only.
    Packages,
    /// No other scenario, of this lab or another one, at the same time: it looks at totals of the whole machine.
    Alone,
    /// A VM, and [`Needs::Alone`]: it changes what all network namespaces of a machine share.
    OwnMachine,
}

impl Needs {
    fn is_alone(self) -> bool {
        matches!(self, Self::Alone | Self::DnsAlone | Self::OwnMachine)
    }
}

/// The kernels of the matrix that a scenario is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernels {
    /// It is about what differs from kernel to kernel.
    Every,
    /// It is about what the eBPF programs do with packets and the daemon with their counts: the oldest and the newest kernel, and
    /// that of this machine, are enough where the whole matrix runs.
    Outermost,
    /// It is about servers, names and files rather than the kernel: that of this machine is enough.
    One,
}

struct Scenario {
    name: &'static str,
    needs: Needs,
    kernels: Kernels,
    run: fn(&str) -> Result<()>,
}

impl Scenario {
    const fn on_one_kernel(self) -> Self {
        Self { kernels: Kernels::One, ..self }
    }

    const fn on_outermost_kernels(self) -> Self {
        Self { kernels: Kernels::Outermost, ..self }
    }

    /// Why it is left out of an emulated VM, where all of these would take as long as all others together.
    fn is_elsewhere(&self) -> Option<&'static str> {
        match self.kernels {
            Kernels::One if in_vm() => Some("not about the kernel: runs on the machine itself"),
            Kernels::Outermost if is_between() => {
                Some("not about differences of kernels: runs on the oldest and the newest")
            }
            _ => None,
        }
    }
}

/// `netcause-lab run`, with the options of a test binary.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let args = agent::take_record_to(args)?;
    let mut arguments = Arguments::from_iter(std::iter::once("netcause-lab run".to_owned()).chain(args));
    arguments.test_threads.get_or_insert(4);
    if in_vm() {
        // The console looks like a terminal to the lab, but its output is read from a file.
        arguments.color.get_or_insert(ColorSetting::Never);
    }
    let trials = if arguments.list { trials(|_| None) } else { prepare()? };
    let conclusion = libtest_mimic::run(&arguments, trials);
    report_slowest();
    agent::stop_shared()?;
    Ok(conclusion.exit_code())
}

/// How long each scenario took that has run.
static TIMES: Mutex<Vec<(Duration, &str)>> = Mutex::new(Vec::new());

/// Prints which scenarios took longest: four run at a time, and on the machine or in the VM all share the processors.
fn report_slowest() {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|one, other| other.cmp(one));
    let all: Duration = times.iter().map(|(time, _)| *time).sum();
    let slowest: Vec<_> =
        times.iter().take(20).map(|(time, name)| format!("{name} {:.0} s", time.as_secs_f64())).collect();
    println!("slowest of {:.0} s in all: {}", all.as_secs_f64(), slowest.join(", "));
}

fn prepare() -> Result<Vec<Trial>> {
    machine()?;
    cgroup::sweep_stale()?;
    lab::loopback()?;
    let no_netem = (!faults::has_netem()).then_some("no netem here");
    let no_mptcp =
        (!std::path::Path::new("/proc/sys/net/mptcp/enabled").exists()).then_some("no MPTCP in this kernel");
    let no_prometheus = (!faults::has_program("prometheus", "--version")
        || !faults::has_program("promtool", "--version"))
    .then_some("no prometheus and promtool here");
    let no_tap = File::open("/dev/net/tun").is_err().then_some("no /dev/net/tun here");
    let no_unshare = (!agent::can_have_own_pids()).then_some("no unshare here");
    let dns = [("unbound", "-V"), ("dig", "-v"), ("dnsperf", "-h")];
    let no_dns = (!dns.iter().all(|(program, about)| faults::has_program(program, about)))
        .then_some("no unbound, dig and dnsperf here");
    let no_curl = (!faults::has_program("curl", "--version")).then_some("no curl here");
    let no_envoy = (!faults::has_program("envoy", "--version")).then_some("no envoy here");
    Ok(trials(|needs| {
        match needs {
            Needs::Nothing | Needs::Alone => None,
            Needs::OwnMachine => (!in_vm()).then_some("changes what the whole machine shares: runs in VMs"),
            Needs::Netem => no_netem,
            Needs::Mptcp => no_mptcp,
            Needs::Curl => no_curl,
            Needs::Prometheus => no_prometheus,
            Needs::Dns | Needs::DnsAlone => no_dns,
            Needs::Dashboard => no_prometheus.or(no_dns),
            Needs::Tap => no_tap,
            Needs::Unshare => no_unshare,
            Needs::Packages => return package::lacking(),
            Needs::Envoy => no_envoy,
            Needs::EnvoyAndPrometheus => no_envoy.or(no_prometheus),
            Needs::Programs(programs) => {
                let lacks = |(program, about): &&(&str, &str)| !faults::has_program(program, about);
                return programs.iter().find(lacks).map(|(program, _)| format!("no {program} here"));
            }
        }
        .map(str::to_owned)
    }))
}

fn trials(lacking: impl Fn(Needs) -> Option<String>) -> Vec<Trial> {
    let trial = |scenario: &'static Scenario| {
        let trial = Trial::test(scenario.name, || {
            let began = Instant::now();
            let outcome = attempt(scenario, &scenario.name.replace("::", "-"));
            TIMES.lock().unwrap_or_else(PoisonError::into_inner).push((began.elapsed(), scenario.name));
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        });
        match scenario.is_elsewhere().map(str::to_owned).or_else(|| lacking(scenario.needs)) {
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
            None => trial,
        }
    };
    // Those that run alone come last: one that waits for its turn would keep a place from others.
    let (alone, beside): (Vec<_>, Vec<_>) = SCENARIOS.iter().partition(|scenario| scenario.needs.is_alone());
    let all = beside.into_iter().chain(alone);
    all.filter(|scenario| !is_done(scenario.name)).map(trial).collect()
}

/// Runs a scenario; one that fails beside others runs once more alone, in pods of another name, and the first failure
/// is shown. On a loaded, emulated machine the kernel now and then does what a scenario did not ask for (a timer that
/// fires early, a run that is skipped); a fault of the agent fails alone as well.
fn attempt(scenario: &Scenario, name: &str) -> Result<()> {
    let Err(first) = with_turn(scenario.needs, || (scenario.run)(name)) else { return Ok(()) };
    println!("{} failed beside others and is tried alone: {first:#}", scenario.name);
    with_turn(Needs::Alone, || (scenario.run)(&format!("{name}-alone")))
}

/// Runs a scenario beside others, or alone, as it needs: over all labs of this machine.
fn with_turn(needs: Needs, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = std::env::temp_dir().join("netcause-lab.lock");
    let turn = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    if needs.is_alone() { turn.lock() } else { turn.lock_shared() }.context("waiting for a turn")?;
    // The turn ends with the file: `turn` lives until the scenario has ended.
    run()
}
