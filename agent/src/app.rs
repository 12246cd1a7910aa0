//! The running agent: the stages put together, from the kernel to the socket.

mod agent;
mod exposition;
mod inputs;
mod options;
mod server;
mod sources;

use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use netcause_core::engine::{self, Engine};
use netcause_core::enrich::policy::Labels;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::Config;
use crate::expose::http::Limits;
use crate::kernel::cgroups::find_root;
use crate::kernel::{self, Events, Kernel, ProbeState};
use crate::otlp::{self, Ending, Exporter, Exports, OtlpError};
use crate::probe::Unavailable;
use crate::record::Keeper;
use crate::sources::file::FileError;
use crate::sources::kubernetes::events::Writer;
use crate::sources::{CAPACITY, Health, node};
use crate::web::{Web, WebError};
use agent::{Agent, Parts};
use inputs::Inputs;
use sources::Sources;

/// Requests for a view that wait; of more, each waits for room.
const MAX_REQUESTS: usize = 64;
/// Addresses that wait to be looked up; of more, the next round names them again.
const MAX_LOOKUPS: usize = 1024;

/// Why the agent ended, other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing could be loaded.
    #[error(transparent)]
    Load(#[from] kernel::LoadError),
    /// The names file cannot be read or understood.
    #[error("names_file: {0}")]
    Names(#[from] FileError),
    /// TLS, passwords or tokens of the port cannot be used.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The export by OTLP is set in a way that cannot be.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
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
    let web = Web::load(&config.web_files())?;
    let otlp = config.otlp_options()?.map(Exporter::new);
    let listener = runtime.block_on(bind(config))?;
    let keeper = config.keeper()?;
    let cgroup_root = find_root().context("cannot read this process's mounts")?;
    let mut options = config.kernel_options(cgroup_root);
    options.named_networks = sources.networks();
    let counts_since = options.count_since_start.then(|| agent::now().wall);
    let loaded = kernel::attach(&options)?;
    report(&loaded.probes)?;
    // Inside the runtime, because the ring and the log register with it.
    let result = runtime.block_on(async {
        let (mut kernel, rings) = Kernel::new(loaded, options)?;
        if config.ebpf_log {
            tokio::spawn(kernel.take_log()?.forward());
        }
        serve(config, (listener, web), kernel, rings, sources, (keeper, otlp), counts_since).await
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
            None => info!(probe = state.probe.name(), "probe attached"),
            Some(Unavailable { reason, message }) => {
                let (probe, reason, without) = (state.probe.name(), reason.label(), state.probe.without);
                warn!(probe, reason, why = message, without, "probe unavailable");
            }
        }
    }
    if probes.iter().all(|state| state.unavailable.is_some()) { Err(AppError::NoProbe) } else { Ok(()) }
}

async fn serve(
    config: &Config,
    (listener, web): (TcpListener, Web),
    kernel: Kernel,
    rings: [Events; 2],
    sources: Sources,
    (keeper, otlp): (Option<Keeper>, Option<(Exports, Exporter)>),
    counts_since: Option<u64>,
) -> Result<()> {
    let signals = Signals::new()?;
    let hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    match kernel.cgroup_root() {
        Some(mount) => info!(mount = %mount.display(), "resolving workloads from cgroup v2"),
        None => {
            warn!("cgroup v2 is not mounted here: workloads are distinguished by network namespace only");
        }
    }
    let cgroup_root = kernel.cgroup_root().map(std::path::Path::to_owned);
    let names = config.names_options(Arc::new(Labels::new(config.dns_names)));
    let engine = Engine::new(engine::Options {
        names,
        flow_idle: config.flow_idle(),
        max_flows: config.max_tcp_flows as usize,
        max_peer_nodes: config.max_peer_nodes as usize,
        findings: config.findings.clone(),
    });
    let health = Health::default();
    let wakeups = [rings[0].wakeups()?, rings[1].wakeups()?];
    let (conntrack, passes) = mpsc::unbounded_channel();
    let (recorder, writer) = match sources.recorder().filter(|_| config.kubernetes_events) {
        Some((recorder, writer)) => (Some(recorder), Some(writer)),
        None => {
            if config.kubernetes_events {
                warn!(
                    "kubernetes_events needs the API server, and names do not come from there: no Events are written"
                );
            }
            (None, None)
        }
    };
    let (exports, exporter) = otlp.unzip();
    let mut agent = Agent::new(Parts {
        kernel,
        node: config.node_name.clone().unwrap_or_default(),
        rings,
        engine,
        health: health.clone(),
        keeper,
        web: web.counts(),
        conntrack,
        recorder,
        exports: exports.unwrap_or_default(),
        max_series: config.max_series as usize,
        pace: config.pace(),
        counts_since,
    });
    agent.set_extra(sources.extra());
    let mut readers = node::Readers::new(cgroup_root);
    // What the node has counted until now belongs to the time before.
    agent.take_node(readers.read());
    // What is open already belongs to the first answer.
    agent.observe()?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    let limits = Limits { max_connections: config.http_max_connections, timeout: config.http_timeout() };
    let (views, requests) = mpsc::channel(MAX_REQUESTS);
    let scheme = if web.tls().is_some() { "https" } else { "http" };
    if web.is_in_the_clear() && !address.ip().is_loopback() {
        warn!(
            "passwords and tokens of the port cross the network unencrypted: tls_server_config of web_config_file has TLS"
        );
    }
    let ending = exporter.map(|exporter| server::export(exporter, views.clone())).transpose()?;
    let server = server::start(listener, views, limits, web)?;
    info!("metrics at {scheme}://{address}/metrics");
    let (outcomes, answers) = mpsc::unbounded_channel();
    let (readings, read) = mpsc::channel(1);
    let (updates, named) = mpsc::channel(CAPACITY);
    let (lookups, to_look_up) = mpsc::channel(MAX_LOOKUPS);
    let inputs = Inputs {
        wakeups,
        named,
        extra: sources.changes(),
        answers,
        node: read,
        requests,
        lookups: sources.looks_up().then_some(lookups),
        interval: config.pace().interval,
    };
    let result = tokio::select! {
        result = inputs.serve(&mut agent) => result,
        () = sources.run(updates, to_look_up, health) => Ok(()),
        () = kernel::conntrack::serve(passes, outcomes) => Ok(()),
        () = write_events(writer) => Ok(()),
        () = node::serve(readers, config.node_interval(), readings) => Ok(()),
        result = server => result.unwrap_or_else(|_| Ok(())),
        () = answer_hangups(hangup) => Ok(()),
        // The agent goes on meanwhile, and answers what the export asks for.
        () = end(signals, ending) => Ok(()),
    };
    result
}

/// The signals that end the agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for a signal, and then for the export by OTLP, unless another signal comes.
async fn end(mut signals: Signals, export: Option<Ending>) {
    info!("{}: ending", signals.next().await);
    let Some(export) = export else { return };
    tokio::select! {
        left = export.flush(otlp::FLUSH) => {
            for (signal, items) in left {
                warn!(signal, items, "the OTLP collector has not taken the last items: they are lost");
            }
        }
        signal = signals.next() => info!("{signal}: ending without what waits for the OTLP collector"),
    }
}

/// Writes Kubernetes Events, where that is asked for.
async fn write_events(writer: Option<Writer>) {
    match writer {
        Some(writer) => writer.run().await,
        None => std::future::pending().await,
    }
}

/// Says what SIGHUP, which makes many daemons reload their configuration, does not do here. It ends the agent no more than a
/// terminal that is closed.
async fn answer_hangups(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        info!(
            "SIGHUP: nothing to do: files of names, TLS, passwords and tokens that have changed are read within seconds by \
             themselves; all other settings are read at the start only, so restart the agent to change them"
        );
    }
    // The runtime delivers no more of them.
    std::future::pending::<()>().await;
}
