//! The running agent: the stages put together, from the kernel to the socket.

pub mod conntrack;
mod exposition;
mod sources;
mod state;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::config::Config;
use crate::expose::http::{self, Limits, Source};
use crate::expose::snapshot::AgentCounts;
use crate::kernel::{self, Events, Kernel, ProbeState, Wakeups};
use crate::probe::Unavailable;
use crate::sources::Health;
use crate::sources::file::FileError;
use netcause_core::aggregate::dns::Details;
use netcause_core::aggregate::ledger::{self, Ledger};
use netcause_core::enrich::Names;
use netcause_core::enrich::cgroup::{self, Cgroups};
use netcause_core::enrich::policy::Labels;
use sources::Sources;
use state::State;

/// Detail events are collected this often, and whenever a quarter of the ring is used.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);
/// Waiting DNS queries are looked at this often, and when metrics are asked for.
const DNS_INTERVAL: Duration = Duration::from_secs(1);

/// Why the agent ended, beside being told to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing could be loaded.
    #[error(transparent)]
    Load(#[from] kernel::LoadError),
    /// The names file cannot be read or understood.
    #[error("names_file: {0}")]
    Names(#[from] FileError),
    /// No probe runs.
    #[error("none of the probes can run on this kernel: `netcause check` says why")]
    NoProbe,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
///
/// When nothing can be loaded, or the address cannot be served on.
pub fn run(config: &Config) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    // Before the programs are attached: a file that cannot be read, or a port that is taken, should cost nothing.
    let sources = Sources::new(config)?;
    let listener = runtime.block_on(bind(config))?;
    let cgroup_root = cgroup::find_root().context("cannot read this process's mounts")?;
    let mut options = config.kernel_options(cgroup_root);
    options.named_networks = sources.networks();
    let loaded = kernel::attach(&options)?;
    report(&loaded.probes)?;
    // Inside the runtime, because the ring and the log register with it.
    let result = runtime.block_on(async {
        let (mut kernel, rings) = Kernel::new(loaded, options)?;
        if config.kernel_log {
            tokio::spawn(kernel.take_log()?.forward());
        }
        serve(config, listener, kernel, rings, sources).await
    });
    runtime.shutdown_background();
    Ok(result?)
}

async fn bind(config: &Config) -> Result<TcpListener> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => ": something else listens there; choose another with --listen",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address; see --listen",
            _ => "",
        };
        anyhow::anyhow!("listen: cannot serve on {}: {error}{hint}", config.listen)
    })
}

fn report(probes: &[ProbeState]) -> Result<(), AppError> {
    for state in probes {
        match &state.unavailable {
            None => info!(probe = state.probe.name, "probe attached"),
            Some(Unavailable { reason, message }) => {
                let (probe, reason, without) = (state.probe.name, reason.label(), state.probe.without);
                warn!(probe, reason, message, without, "probe unavailable");
            }
        }
    }
    if probes.iter().all(|state| state.unavailable.is_some()) { Err(AppError::NoProbe) } else { Ok(()) }
}

async fn serve(
    config: &Config,
    listener: TcpListener,
    kernel: Kernel,
    rings: [Events; 2],
    sources: Sources,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    match kernel.cgroup_root() {
        Some(mount) => info!(mount = %mount.display(), "workloads are named by cgroup"),
        None => {
            warn!("no root of cgroup2 is mounted here: workloads are told apart by network namespace only");
        }
    }
    let labels = Arc::new(Labels::new(config.dns_names));
    let cgroups = Cgroups::below(kernel.cgroup_root().map(Path::to_owned));
    let mut names = Names::new(cgroups, config.names_options(Arc::clone(&labels)));
    names.set_extra(sources.extra());
    let wakeups = [rings[0].wakeups()?, rings[1].wakeups()?];
    let limits = ledger::Limits { max_series: config.max_series as usize, idle: config.flow_idle() };
    let mut state = State {
        kernel,
        rings: Some(rings),
        names,
        ledger: Ledger::new(limits),
        began: Instant::now(),
        pace: config.pace(),
        last_sweep: None,
        queues: Vec::new(),
        counts: AgentCounts::default(),
        details: Details::new(labels),
    };
    // What is open already belongs to the first answer.
    state.observe()?;
    let health = Health::default();
    let agent =
        Arc::new(Agent { state: Mutex::new(state), health: health.clone(), kernel_release: release() });
    let address = listener.local_addr().context("the listening socket has no address")?;
    info!("metrics at http://{address}/metrics");
    let limits = Limits { max_connections: config.http_max_connections, timeout: config.http_timeout() };
    let [woken, woken_by_dns] = wakeups;
    tokio::select! {
        () = http::serve(listener, Arc::clone(&agent) as Arc<dyn Source>, limits) => {}
        result = drain(woken, &agent) => result?,
        result = drain(woken_by_dns, &agent) => result?,
        () = sources.run(&agent, health) => {}
        () = every(DRAIN_INTERVAL, || agent.state().names.catch_up()) => {}
        () = every(DNS_INTERVAL, || agent.expire_dns()) => {}
        () = every(config.pace().interval, || agent.observe()) => {}
        _ = terminate.recv() => info!("SIGTERM: ending"),
        _ = interrupt.recv() => info!("SIGINT: ending"),
    }
    Ok(())
}

/// Collects detail events, so that the ring never stays full.
async fn drain(wakeups: Wakeups, agent: &Agent) -> Result<()> {
    let mut interval = tokio::time::interval(DRAIN_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            result = wakeups.wait() => result?,
        }
        while agent.state().drain() {
            tokio::task::yield_now().await;
        }
    }
}

/// Does something again and again.
async fn every(interval: Duration, mut act: impl FnMut()) {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        act();
    }
}

struct Agent {
    state: Mutex<State>,
    health: Health,
    kernel_release: String,
}

impl Agent {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic aborts the process, so the lock is never poisoned; going on would be right all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the tables now and then although nobody asks: flows that are idle go, and names are found in time.
    fn observe(&self) {
        if let Err(error) = self.state().observe() {
            warn!(error = format!("{error:#}"), "cannot look at the kernel's tables");
        }
    }

    fn expire_dns(&self) {
        if let Err(error) = self.state().expire_dns() {
            warn!(error = format!("{error:#}"), "cannot look at the waiting DNS queries");
        }
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
