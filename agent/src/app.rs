//! The running agent: the stages put together, from the kernel to the socket.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use netcause_common::dns::{DnsCounters, PROTOCOL_DNS};
use netcause_common::flow::{FlowKey, PROTOCOL_UDP};
use netcause_common::probe::ProbeId;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::aggregate::Reporter;
use crate::aggregate::dns::search::Waste;
use crate::aggregate::dns::{Answer, Details, TimedOut};
use crate::aggregate::ledger::{self, Ledger};
use crate::config::Config;
use crate::enrich::Names;
use crate::enrich::cgroup::{self, Cgroups};
use crate::expose::dns::ServerRow;
use crate::expose::http::{self, Limits, Source};
use crate::expose::prometheus::{
    self, DnsOwn, Durations, EdgeRow, Format, ListenerRow, Own, SearchRow, Series, Snapshot, series,
};
use crate::expose::trouble;
use crate::ingest::{Event, dns};
use crate::kernel::{self, Events, Fullness, Kernel, KernelStatistics, Pace, ProbeState};
use crate::{aggregate, expose, ingest};

/// Detail events are collected this often, and whenever a quarter of the ring is used.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);
/// Names in each list of `/api/v1/dns`.
const LISTED_NAMES: usize = 10;
/// Waiting DNS queries are looked at this often, and when metrics are asked for.
const DNS_INTERVAL: Duration = Duration::from_secs(1);
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
    let cgroup_root = cgroup::find_root().context("cannot read this process's mounts")?;
    let options = config.kernel_options(cgroup_root);
    let loaded = kernel::attach(&options)?;
    report(&loaded.probes)?;
    // Inside the runtime, because the ring and the log register with it.
    let result = runtime.block_on(async {
        let (mut kernel, rings) = Kernel::new(loaded, options)?;
        if config.kernel_log {
            tokio::spawn(kernel.take_log()?.forward());
        }
        serve(config, listener, kernel, rings).await
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

async fn serve(config: &Config, listener: TcpListener, kernel: Kernel, rings: [Events; 2]) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    match kernel.cgroup_root() {
        Some(mount) => info!(mount = %mount.display(), "workloads are named by cgroup"),
        None => {
            warn!("no root of cgroup2 is mounted here: workloads are told apart by network namespace only");
        }
    }
    let names = Names::new(Cgroups::below(kernel.cgroup_root().map(Path::to_owned)));
    let limits = ledger::Limits { max_series: config.max_series as usize, idle: config.flow_idle() };
    let mut state = State {
        kernel,
        names,
        ledger: Ledger::new(limits),
        began: Instant::now(),
        pace: config.pace(),
        last_sweep: None,
        sweeps: Durations::default(),
        scrapes: Durations::default(),
        details: Details::new(config.dns_names),
        details_received: 0,
    };
    // What is open already belongs to the first answer.
    state.observe()?;
    let agent = Arc::new(Agent { state: Mutex::new(state), kernel_release: release() });
    let address = listener.local_addr().context("the listening socket has no address")?;
    info!("metrics at http://{address}/metrics");
    let limits = Limits { max_connections: config.http_max_connections, timeout: config.http_timeout() };
    let [events, dns_events] = rings;
    tokio::select! {
        () = http::serve(listener, Arc::clone(&agent) as Arc<dyn Source>, limits) => {}
        result = drain(events, |octets| agent.take(octets)) => result?,
        result = drain(dns_events, |octets| agent.take_dns(octets)) => result?,
        () = every(DRAIN_INTERVAL, || agent.state().names.catch_up()) => {}
        () = every(DNS_INTERVAL, || agent.expire_dns()) => {}
        () = every(config.pace().interval, || agent.observe()) => {}
        _ = terminate.recv() => info!("SIGTERM: ending"),
        _ = interrupt.recv() => info!("SIGINT: ending"),
    }
    Ok(())
}

/// Collects detail events, so that the ring never stays full.
async fn drain(mut events: Events, take: impl Fn(&[u8])) -> Result<()> {
    let wakeups = events.wakeups()?;
    let mut interval = tokio::time::interval(DRAIN_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            result = wakeups.wait() => result?,
        }
        while events.drain(DRAIN_LIMIT, &take) == DRAIN_LIMIT {
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
    kernel_release: String,
}

struct State {
    kernel: Kernel,
    names: Names,
    ledger: Ledger,
    began: Instant,
    pace: Pace,
    /// When the last sweep began, and how long it took.
    last_sweep: Option<(Instant, Duration)>,
    sweeps: Durations,
    scrapes: Durations,
    details: Details,
    /// Details of DNS answers that came.
    details_received: u64,
}

impl State {
    /// Ends the waiting of DNS queries that nobody answers.
    fn expire_dns(&mut self) -> Result<()> {
        let Self { kernel, names, details, began, .. } = self;
        let at = began.elapsed();
        kernel.expire_dns(|key, message| {
            if let Ok(question) = dns::question(message) {
                let workload = &names.local(key.local);
                details.timed_out(&TimedOut { local: key.local, workload, question: &question, at });
            }
        })
    }

    /// Looks at the open sockets if it is time, and takes what the tables have; says how full they are.
    fn observe(&mut self) -> Result<Vec<Fullness>> {
        let began = Instant::now();
        if self.last_sweep.is_none_or(|(begin, took)| begin.elapsed() >= self.pace.gap(took))
            && let Some(took) = self.kernel.sweep()?
        {
            self.sweeps.observe(took);
            self.last_sweep = Some((began, took));
        }
        self.expire_dns()?;
        let mut reading = self.ledger.read(self.began.elapsed(), &mut self.names);
        let mut fullness = Vec::new();
        fullness.extend(self.kernel.tcp_flows(|key, counters| reading.flow(key, counters))?);
        fullness.extend(self.kernel.udp_flows(|key, counters| reading.flow(key, counters))?);
        fullness.extend(self.kernel.dns_flows(|key, counters| reading.flow(key, counters))?);
        for key in reading.finish(series) {
            self.retire(&key);
        }
        self.details.name_clients(|local| self.names.local(local));
        Ok(fullness)
    }

    /// Removes an idle flow from the kernel's table, unless it has counted again.
    fn retire(&mut self, key: &FlowKey) {
        let Self { kernel, ledger, details, .. } = self;
        match key.protocol {
            PROTOCOL_DNS => {
                if let Some(counters) = kernel.remove_dns(key, |counters| ledger.is_as_read(key, counters)) {
                    ledger.retire(key, &counters);
                    let clients = ledger.locals(PROTOCOL_DNS);
                    details.retain(|local| clients.contains(&local));
                }
            }
            PROTOCOL_UDP => {
                if let Some(counters) = kernel.remove_udp(key, |counters| ledger.is_as_read(key, counters)) {
                    ledger.retire(key, &counters);
                }
            }
            _ => {
                if let Some(counters) = kernel.remove_tcp(key, |counters| ledger.is_as_read(key, counters)) {
                    ledger.retire(key, &counters);
                }
            }
        }
    }
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

    fn take(&self, octets: &[u8]) {
        match ingest::event(octets) {
            Some(Event::NewFlow(flow)) => {
                // For its memory: the cgroup may be gone when somebody asks for metrics.
                self.state().names.local(flow.local);
            }
            Some(Event::Trouble(event)) if trouble::is_logged() => {
                let mut state = self.state();
                if let Some(edge) = aggregate::edge(&event.flow, &mut state.names) {
                    let peer = ingest::ip(event.flow.remote);
                    let name = state.details.name(event.flow.local, peer, state.began.elapsed());
                    trouble::log(&event, &edge, peer, name.as_ref());
                }
            }
            Some(Event::Trouble(_)) => {}
            None => warn!(length = octets.len(), "an event that this agent does not understand"),
        }
    }

    fn take_dns(&self, octets: &[u8]) {
        let mut state = self.state();
        let State { names, details, details_received, began, .. } = &mut *state;
        *details_received += 1;
        let Some(answer) = ingest::dns_answer(octets) else {
            return warn!(length = octets.len(), "a DNS answer that this agent does not understand");
        };
        // What is no message of DNS is counted by its head, and has no name.
        let Ok(message) = dns::message(answer.message) else { return };
        // Notifications and updates (RFC 1996, 2136) ask for no name.
        let Some(question) = message.question.as_ref().filter(|_| message.opcode == 0) else { return };
        let local = answer.flow.local;
        details.answered(&Answer {
            local,
            workload: &names.local(local),
            question,
            rcode: message.rcode,
            addresses: &message.addresses,
            duration: answer.duration,
            at: began.elapsed(),
        });
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut state = self.state();
        let mut fullness = state.observe()?;
        let State { kernel, names, ledger, sweeps, scrapes, details, details_received, .. } = &mut *state;
        let queues = kernel.accept_queues()?;
        let statistics = kernel.statistics()?;
        fullness.extend(kernel.fullness(statistics.sockets, queues.len() as u64));
        let listener = |(key, queue): (QueueKey, AcceptQueue)| ListenerRow {
            workload: names.local(key.local),
            port: key.port,
            queue,
        };
        let mut listeners: Vec<_> = queues.into_iter().map(listener).collect();
        listeners.sort_unstable_by(|a, b| (&a.workload, a.port).cmp(&(&b.workload, b.port)));
        let budget = ledger.statistics();
        Ok(Snapshot {
            edges: ledger
                .shown()
                .map(|shown| EdgeRow { edge: shown.edge.clone(), totals: shown.totals })
                .collect(),
            listeners,
            searches: details
                .expansions()
                .filter(|(_, waste)| *waste != Waste::default())
                .map(|(workload, waste)| SearchRow {
                    workload: workload.clone(),
                    expansions: waste.expansions,
                    wasted_queries: waste.queries,
                })
                .collect(),
            own: Own {
                probes: kernel
                    .probes()
                    .iter()
                    .map(|state| (state.probe.name, state.unavailable.clone()))
                    .collect(),
                events_lost: events_lost(kernel.probes(), &statistics),
                dns: DnsOwn {
                    malformed: statistics.dns_malformed,
                    unfollowed: statistics.dns_unfollowed,
                    details_received: *details_received,
                    details_left_out: statistics.dns_details_left_out,
                },
                flows_folded: statistics.flows_folded,
                series: Series {
                    shown: budget.series as u64,
                    limit: budget.max_series as u64,
                    folded: budget.folded,
                },
                maps: fullness.iter().map(|map| (map.map, map.entries, map.limit)).collect(),
                programs: kernel.costs(),
                sweeps: sweeps.clone(),
                scrapes: scrapes.clone(),
                kernel_release: self.kernel_release.clone(),
            },
            tick: kernel::tick(),
        })
    }
}

/// Losses: probe, where, how many.
fn events_lost(
    probes: &[ProbeState],
    statistics: &KernelStatistics,
) -> Vec<(&'static str, &'static str, u64)> {
    let lost = |state: &ProbeState| statistics.events_lost.get(state.probe.id as usize).copied();
    let emitting = probes.iter().filter(|state| state.probe.emits);
    let mut all: Vec<_> =
        emitting.filter_map(|state| Some((state.probe.name, "ring", lost(state)?))).collect();
    all.push(("flows", "ring", statistics.flows_unannounced));
    all.push(("tcp_state", "map", statistics.sockets_refused));
    all.push(("tcp_state", "skipped", statistics.connections_missed));
    all
}

impl Source for Agent {
    fn metrics(&self, format: Format) -> Result<String, String> {
        let begin = Instant::now();
        let snapshot = self.snapshot().map_err(|error| format!("{error:#}"))?;
        let text = prometheus::render(snapshot, format).map_err(|error| error.to_string())?;
        self.state().scrapes.observe(begin.elapsed());
        Ok(text)
    }

    fn dns(&self) -> Result<String, String> {
        let mut state = self.state();
        state.observe().map_err(|error| format!("{error:#}"))?;
        let State { kernel, ledger, details, details_received, began, .. } = &mut *state;
        let statistics = kernel.statistics().map_err(|error| format!("{error:#}"))?;
        let counts = expose::dns::Details {
            received: *details_received,
            left_out: statistics.dns_details_left_out,
            lost: statistics.events_lost.get(ProbeId::Dns as usize).copied().unwrap_or_default(),
        };
        let servers = ledger
            .shown()
            .filter(|shown| shown.edge.reporter == Reporter::Source && shown.totals.dns != DnsCounters::ZERO)
            .map(|shown| {
                let server = ServerRow::new(&shown.edge.destination, shown.edge.port, &shown.totals.dns);
                (shown.edge.source.clone(), server)
            })
            .collect();
        let rows = details.rows(LISTED_NAMES, began.elapsed());
        let body = expose::dns::Body::new(details.policy(), counts, servers, rows);
        serde_json::to_string(&body).map_err(|error| error.to_string())
    }

    fn ready(&self) -> Result<(), String> {
        // The programs are attached before the server answers, and stay so while the process lives.
        Ok(())
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
