//! The running agent: the stages put together, from the kernel to the socket.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::config::Config;
use crate::enrich::Names;
use crate::enrich::cgroup::Cgroups;
use crate::expose::http::{self, Limits, Source};
use crate::expose::prometheus::{self, Durations, Format, Own, Snapshot};
use crate::expose::trouble;
use crate::ingest::Event;
use crate::kernel::{self, Events, Kernel, ProbeState};
use crate::{aggregate, ingest};

/// Detail events are collected this often, and whenever a quarter of the ring is used.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);
/// Events taken at once before other work has its turn.
const DRAIN_LIMIT: usize = 4096;

/// Why the agent ended, beside being told to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing could be loaded.
    #[error(transparent)]
    Load(#[from] kernel::LoadError),
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
    // Before the programs are attached: a port that is taken should cost nothing.
    let listener = runtime.block_on(bind(config))?;
    let options = config.kernel_options();
    let loaded = kernel::attach(&options)?;
    report(&loaded.probes)?;
    // Inside the runtime, because the ring and the log register with it.
    let result = runtime.block_on(async {
        let (mut kernel, events) = Kernel::new(loaded, options)?;
        if config.kernel_log {
            tokio::spawn(kernel.take_log()?.forward());
        }
        serve(config, listener, kernel, events).await
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
            None => info!(probe = state.probe.name, "probe runs"),
            Some(reason) => {
                warn!(probe = state.probe.name, reason, without = state.probe.without, "probe unavailable");
            }
        }
    }
    if probes.iter().all(|state| state.unavailable.is_some()) { Err(AppError::NoProbe) } else { Ok(()) }
}

async fn serve(config: &Config, listener: TcpListener, kernel: Kernel, events: Events) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let cgroups = Cgroups::of_this_node().context("cannot read this process's mounts")?;
    match cgroups.mount() {
        Some(mount) => info!(mount = %mount.display(), "workloads are named by cgroup"),
        None => warn!("no cgroup2 is mounted here: workloads are told apart by network namespace only"),
    }
    let agent = Arc::new(Agent {
        state: Mutex::new(State { kernel, names: Names::new(cgroups), scrapes: Durations::default() }),
        kernel_release: release(),
    });
    let address = listener.local_addr().context("the listening socket has no address")?;
    info!("metrics at http://{address}/metrics");
    let limits = Limits { max_connections: config.http_max_connections, timeout: config.http_timeout() };
    tokio::select! {
        () = http::serve(listener, Arc::clone(&agent) as Arc<dyn Source>, limits) => {}
        result = drain(&agent, events) => result?,
        _ = terminate.recv() => info!("SIGTERM: ending"),
        _ = interrupt.recv() => info!("SIGINT: ending"),
    }
    Ok(())
}

/// Collects detail events, so that the ring never stays full.
async fn drain(agent: &Agent, mut events: Events) -> Result<()> {
    let wakeups = events.wakeups()?;
    let mut interval = tokio::time::interval(DRAIN_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            result = wakeups.wait() => result?,
        }
        while events.drain(DRAIN_LIMIT, |octets| agent.take(octets)) == DRAIN_LIMIT {
            tokio::task::yield_now().await;
        }
    }
}

struct Agent {
    state: Mutex<State>,
    kernel_release: String,
}

struct State {
    kernel: Kernel,
    names: Names,
    scrapes: Durations,
}

impl Agent {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic aborts the process, so the lock is never poisoned; going on would be right all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, octets: &[u8]) {
        match ingest::event(octets) {
            Some(Event::NewFlow(flow)) => {
                // For its memory: the cgroup may be gone when somebody asks for metrics.
                self.state().names.local(flow.local);
            }
            Some(Event::Trouble(event)) if trouble::is_logged() => {
                if let Some(edge) = aggregate::edge(&event.flow, &mut self.state().names) {
                    trouble::log(&event, &edge, ingest::ip(event.flow.remote));
                }
            }
            Some(Event::Trouble(_)) => {}
            None => warn!(length = octets.len(), "an event that this agent does not understand"),
        }
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let State { kernel, names, scrapes } = &mut *self.state();
        let flows = kernel.flows()?;
        let statistics = kernel.statistics()?;
        let lost = |state: &ProbeState| statistics.events_lost.get(state.probe.id as usize).copied();
        let mut events_lost: Vec<_> = kernel
            .probes()
            .iter()
            .filter(|state| state.probe.emits)
            .filter_map(|state| Some((state.probe.name, "ring", lost(state)?)))
            .collect();
        events_lost.push(("flows", "ring", statistics.flows_unannounced));
        events_lost.push(("tcp_state", "map", statistics.sockets_refused));
        events_lost.push(("tcp_state", "skipped", statistics.connections_missed));
        let fullness = kernel.fullness(flows.len() as u64, statistics.sockets);
        Ok(Snapshot {
            edges: aggregate::edges(&flows, names),
            own: Own {
                probes: kernel
                    .probes()
                    .iter()
                    .map(|state| (state.probe.name, state.unavailable.clone()))
                    .collect(),
                events_lost,
                flows_folded: statistics.flows_folded,
                maps: fullness.iter().map(|map| (map.map, map.entries, map.limit)).collect(),
                programs: kernel.costs(),
                scrapes: scrapes.clone(),
                kernel_release: self.kernel_release.clone(),
            },
        })
    }
}

impl Source for Agent {
    fn metrics(&self, format: Format) -> Result<String, String> {
        let begin = Instant::now();
        let snapshot = self.snapshot().map_err(|error| format!("{error:#}"))?;
        let text = prometheus::render(snapshot, format).map_err(|error| error.to_string())?;
        self.state().scrapes.observe(begin.elapsed());
        Ok(text)
    }

    fn ready(&self) -> Result<(), String> {
        // The programs are attached before the server answers, and stay so while the process lives.
        Ok(())
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
