//! The agent: the engine, and the kernel side that gives it its inputs and carries out what it asks for.
//!
//! One task owns it, so nothing here is locked. Everything that takes long happens elsewhere: rendering in the HTTP thread,
//! questions to the connection tracking on a thread of their own, sources of names in tasks.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use netcause_common::probe::ProbeId;
use netcause_core::diagnose::Turn;
use netcause_core::diagnose::finding::Dated;
use netcause_core::engine::{Engine, Input, Output, Time};
use netcause_core::enrich::conntrack::{Outcome, Pass, Support};
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::Update;
use netcause_core::expose::budget::{Budget, Shown};
use netcause_core::expose::dns_servers::DnsServers;
use netcause_core::expose::legs::Legs;
use netcause_core::expose::waiting;
use netcause_core::ingest::{self, DnsAnswer};
use netcause_core::node::Reading;
use netcause_core::seen::Seen;
use tracing::{info, warn};

use crate::expose::event_log;
use crate::expose::lately::{Findings, Lately};
use crate::expose::snapshot::{AgentCounts, Snapshot};
use crate::expose::tables::series;
use crate::kernel::cgroups::CgroupTree;
use crate::kernel::{self, Events, Fullness, Kernel, Listening, Pace, Swept};
use crate::otlp::Exports;
use crate::record::Keeper;
use crate::sources::Health;
use crate::sources::kubernetes::events::Recorder;
use crate::web;

/// Events taken from each ring in one round.
const DRAIN_LIMIT: usize = 4096;
/// Rounds before other work has its turn.
const MAX_DRAIN_ROUNDS: usize = 16;
/// Open sockets are not swept more often than this because of names.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// A view is shown again for so long.
const VIEW_AGE: Duration = Duration::from_secs(1);

/// The running agent.
pub(super) struct Agent {
    pub kernel: Kernel,
    pub engine: Engine,
    pub health: Health,
    /// Records what is judged, where that is wanted.
    pub keeper: Option<Keeper>,
    pub web: Arc<web::Counts>,
    pub kernel_release: String,
    /// The name of this node.
    pub node: String,
    /// When the agent began to observe.
    pub started: Instant,
    /// Where questions to the connection tracking go.
    pub conntrack: tokio::sync::mpsc::UnboundedSender<Pass>,
    /// Where findings go that become Kubernetes Events; `None` where none are written.
    pub recorder: Option<Recorder>,
    /// What is sent by OTLP.
    pub exports: Exports,
    /// What was read by then the export by OTLP has by value.
    exported: Option<Duration>,
    rings: [Events; 2],
    pub cgroups: CgroupTree,
    pub budget: Budget,
    /// What DNS servers had from edges that have ended.
    pub dns_servers: DnsServers,
    /// What legs to sidecars had from ports whose edge has ended.
    pub legs: Legs,
    pace: Pace,
    /// When every counter was zero, seconds since 1970, if ever.
    pub counts_since: Option<u64>,
    /// When the last sweep began, and how long it took.
    pub last_sweep: Option<(Instant, Duration)>,
    pub counts: AgentCounts,
    /// What is shown of edges, as the last reading found them.
    pub shown: Vec<Shown>,
    /// Entries of the table of listeners then, closed ones included.
    pub listeners: u64,
    /// How full the other tables were then.
    pub fullness: Vec<Fullness>,
    view: Option<(Instant, Arc<Snapshot>)>,
    lately: Option<(Instant, Arc<Lately>)>,
    /// When the tables were last read.
    last_reading: Option<Instant>,
}

/// What an agent is put together from.
pub(super) struct Parts {
    pub kernel: Kernel,
    /// The name of this node.
    pub node: String,
    pub rings: [Events; 2],
    pub engine: Engine,
    pub health: Health,
    pub keeper: Option<Keeper>,
    pub web: Arc<web::Counts>,
    pub conntrack: tokio::sync::mpsc::UnboundedSender<Pass>,
    pub recorder: Option<Recorder>,
    pub exports: Exports,
    pub max_series: usize,
    pub pace: Pace,
    /// When every counter was zero, seconds since 1970, if ever.
    pub counts_since: Option<u64>,
}

impl Agent {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            kernel,
            node,
            rings,
            engine,
            health,
            keeper,
            web,
            conntrack,
            recorder,
            exports,
            max_series,
            pace,
            counts_since,
        } = parts;
        let cgroups = CgroupTree::below(kernel.cgroup_root().map(std::path::Path::to_owned));
        let (mut engine, mut keeper) = (engine, keeper);
        engine.handle(now(), Input::Missing(missing_evidence(&kernel)));
        if let Some(keeper) = &mut keeper {
            engine.keep_judged();
            keeper.begin(now(), engine.diagnosis());
        }
        Self {
            kernel,
            engine,
            health,
            keeper,
            web,
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            node,
            started: Instant::now(),
            conntrack,
            recorder,
            exports,
            exported: None,
            rings,
            cgroups,
            budget: Budget::new(max_series),
            dns_servers: DnsServers::default(),
            legs: Legs::default(),
            pace,
            counts_since,
            last_sweep: None,
            counts: AgentCounts::default(),
            shown: Vec::new(),
            listeners: 0,
            fullness: Vec::new(),
            view: None,
            lately: None,
            last_reading: None,
        }
    }

    /// Takes the events that wait, and those that come meanwhile up to a limit.
    pub fn drain(&mut self) {
        for _ in 0..MAX_DRAIN_ROUNDS {
            if !self.drain_some() {
                return;
            }
        }
    }

    /// Takes the events that wait, up to a limit; returns true when there may be more.
    fn drain_some(&mut self) -> bool {
        let mut events = Vec::new();
        let taken = self.rings[0].drain(DRAIN_LIMIT, |bytes| match ingest::event(bytes) {
            Some(event) => events.push(event),
            None => warn!(length = bytes.len(), "cannot decode an event of the kernel side"),
        });
        // Flows first, so that the workloads of their events have names.
        let (flows, others): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| matches!(event, ingest::Event::NewFlow { .. }));
        for events in [flows, others] {
            for event in events {
                self.engine.handle(now(), Input::Event(event));
            }
            self.carry_out();
        }
        let Self { rings, engine, kernel, .. } = self;
        let taken_dns = rings[1].drain(DRAIN_LIMIT, |bytes| match ingest::dns_answer(bytes) {
            Some(answer) if answer.has_question() => engine.handle(now(), Input::DnsAnswer(answer)),
            Some(answer) => {
                let query = kernel.dns_query(answer.flow.local, answer.question);
                engine.handle(now(), Input::DnsAnswer(DnsAnswer { query: &query, ..answer }));
            }
            None => warn!(length = bytes.len(), "cannot decode a DNS answer of the kernel side"),
        });
        self.carry_out();
        taken == DRAIN_LIMIT || taken_dns == DRAIN_LIMIT
    }

    /// Ends the wait of DNS queries that have timed out.
    pub fn expire_dns(&mut self) -> Result<()> {
        let Self { kernel, engine, .. } = self;
        kernel.expire_dns(|unanswered| engine.handle(now(), Input::DnsUnanswered(unanswered)))
    }

    /// Takes what sources of names say. What the rings have came before it: a flow that began under the old names is known
    /// when they change.
    pub fn learn(&mut self, updates: &mut Vec<Update>) {
        self.drain();
        for update in updates.drain(..) {
            self.engine.handle(now(), Input::Names(update));
        }
        self.carry_out();
    }

    /// Takes names of networks and cgroups.
    pub fn set_extra(&mut self, extra: Arc<Extra>) {
        self.engine.handle(now(), Input::Extra(extra));
        self.carry_out();
    }

    /// Takes what the connection tracking answered.
    pub fn answer_conntrack(&mut self, outcome: Outcome) {
        self.engine.handle(now(), Input::Conntrack(outcome));
        self.carry_out();
    }

    /// Takes what the readers of the node found.
    pub fn take_node(&mut self, reading: Reading) {
        self.counts.node_reads.observe(reading.took);
        self.engine.handle(now(), Input::Node(Box::new(reading)));
        self.carry_out();
    }

    /// Lets time pass: looks for what was not found before, and asks what is to be asked now. A view that is too old to be
    /// shown again makes room.
    pub fn tick(&mut self) {
        self.shown = Vec::new();
        self.view.take_if(|(built, _)| built.elapsed() >= VIEW_AGE);
        self.lately.take_if(|(built, _)| built.elapsed() >= VIEW_AGE);
        self.engine.handle(now(), Input::Tick);
        self.carry_out();
    }

    /// The addresses that no source knows, since the last call.
    pub fn take_unknown(&mut self) -> HashSet<IpAddr> {
        self.engine.take_unknown()
    }

    /// The addresses that flows go to.
    pub fn remotes(&self) -> HashSet<IpAddr> {
        self.engine.model().remotes()
    }

    /// Everything that is shown, at most a second old. `seen` is what scrapers have got when they have got this.
    pub fn view(&mut self, seen: Seen) -> Result<Arc<Snapshot>> {
        let view = self.latest_view()?;
        let by_any = seen.by_any.map(|seen| seen.min(view.at));
        // The export is one of all.
        let by_all = match self.exports.has_metrics() {
            true => seen.by_all.min(self.exported),
            false => seen.by_all,
        };
        self.engine.handle(now(), Input::Seen(Seen { by_any, by_all }));
        Ok(view)
    }

    /// The same, for the export by OTLP, which gets by value what was in its last view. The one with which it ends is read now.
    pub fn exported_view(&mut self, seen: Option<Duration>, is_last: bool) -> Result<Arc<Snapshot>> {
        self.exported = seen;
        if is_last {
            self.view = None;
        }
        self.view(Seen { by_any: seen, by_all: None })
    }

    fn latest_view(&mut self) -> Result<Arc<Snapshot>> {
        if let Some((built, view)) = &self.view
            && built.elapsed() < VIEW_AGE
        {
            return Ok(Arc::clone(view));
        }
        // Not both at a time, unless the old one is still read.
        self.view = None;
        self.observe()?;
        let shown = std::mem::take(&mut self.shown);
        let view = Arc::new(self.snapshot(shown)?);
        self.view = Some((Instant::now(), Arc::clone(&view)));
        Ok(view)
    }

    /// What was counted lately, by tables that were read at most a second ago.
    pub fn lately(&mut self) -> Result<Arc<Lately>> {
        if let Some((built, lately)) = &self.lately
            && built.elapsed() < VIEW_AGE
        {
            return Ok(Arc::clone(lately));
        }
        if self.last_reading.is_none_or(|at| at.elapsed() >= VIEW_AGE) {
            self.observe()?;
        }
        let lately = Arc::new(Lately {
            edges: self.engine.model().windows().recent(),
            peer_nodes: self.engine.peer_nodes().windows().recent(),
            listeners: self.engine.places().listeners.recent(),
            node: self.engine.places().node.recent(),
            findings: Findings::of(self.engine.diagnosis(), &self.node),
            read_at: self.engine.time().wall,
            interval: self.pace.interval,
        });
        self.lately = Some((Instant::now(), Arc::clone(&lately)));
        Ok(lately)
    }

    /// Sweeps the open sockets if it is time, and reads the tables.
    pub fn observe(&mut self) -> Result<()> {
        let is_due = self.last_sweep.is_none_or(|(begin, took)| begin.elapsed() >= self.pace.gap(took));
        self.read(is_due)
    }

    /// Reads the tables, after a sweep or without one.
    fn read(&mut self, sweeps: bool) -> Result<()> {
        let began = Instant::now();
        // Names that were resolved before a flow began are known before the flow is.
        self.drain();
        let has_swept = sweeps && self.sweep(began)?;
        self.expire_dns()?;
        let Listening { queues, namespaces, udp_holders } = self.kernel.listening()?;
        self.listeners = queues.len() as u64;
        self.engine.handle(now(), Input::Listeners { queues, namespaces });
        self.engine.handle(now(), Input::UdpHolders(udp_holders));
        let Self { kernel, engine, .. } = self;
        let time = now();
        self.fullness =
            kernel.read_flows(|key, delta| engine.handle(time, Input::Flow { key: *key, delta }))?;
        kernel.read_drops(|key, packets| engine.handle(time, Input::Drops { key, packets }))?;
        if has_swept {
            engine.handle(time, Input::SweepEnded);
        }
        engine.handle(time, Input::Losses(kernel.statistics()?));
        engine.handle(time, Input::Health(self.health.at(time.monotonic)));
        // New flows have names from the beginning.
        self.look_up_cgroups();
        self.engine.handle(now(), Input::ReadingEnded);
        let moment = self.engine.moment();
        self.budget.follow(self.engine.model_mut().take_changes(), &moment);
        self.shown = self.budget.share_out(self.engine.model(), &moment, series);
        self.last_reading = Some(Instant::now());
        waiting::show(&mut self.shown, self.engine.waiting(), self.engine.model());
        self.carry_out();
        Ok(())
    }

    /// Sweeps the open sockets; false when the probe with the sweep is unavailable.
    fn sweep(&mut self, began: Instant) -> Result<bool> {
        let Self { kernel, engine, .. } = self;
        let (time, tick) = (now(), kernel::tick());
        let swept = kernel.sweep(|record| match ingest::connection(record, tick) {
            Some(connection) => engine.handle(time, Input::Connection(connection)),
            None => warn!(length = record.len(), "cannot decode a connection of the sweep"),
        })?;
        let Some(Swept { took, by_descriptor, by_table }) = swept else { return Ok(false) };
        self.counts.sweeps.observe(took);
        self.counts.swept = [by_descriptor, by_table];
        self.last_sweep = Some((began, took));
        Ok(true)
    }

    /// When [`Self::look_up_cgroups`] has more to answer, if anything waits for that.
    #[must_use]
    pub fn cgroups_due(&self) -> Option<Instant> {
        self.cgroups.due()
    }

    /// Answers the engine's questions on cgroups, as far as they can be answered now.
    pub fn look_up_cgroups(&mut self) {
        self.cgroups.ask(self.engine.take_cgroup_questions());
        for (id, path) in self.cgroups.answers(Instant::now()) {
            self.engine.handle(now(), Input::Cgroup { id, path: path.as_deref() });
        }
    }

    /// Does what the engine asks for.
    fn carry_out(&mut self) {
        self.look_up_cgroups();
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Conntrack(pass) => {
                    // Closed only when the agent ends.
                    let _ = self.conntrack.send(pass);
                }
                Output::ConntrackSupport(Support::Yes) => {
                    info!("conntrack available; resolving Service backends");
                }
                Output::ConntrackSupport(Support::No(failure)) => {
                    warn!(%failure, "conntrack unavailable; Service backends come from endpoints alone");
                }
                Output::ConntrackSupport(Support::Unknown) => {}
                Output::Read => self.read_renamed(),
                Output::Remove(flows) => self.remove(&flows),
                Output::Networks(networks) => {
                    if let Err(error) = self.kernel.set_named_networks(&networks) {
                        warn!(
                            error = format!("{error:#}"),
                            "cannot distinguish clients of some named networks"
                        );
                    }
                }
                Output::Event(event) => event_log::log(&event),
                Output::Finding(turn) => {
                    event_log::log_finding(&turn);
                    self.exports.record(&turn, self.engine.time().wall);
                    if let (
                        Turn::Began(Dated { finding, .. }) | Turn::Surer(Dated { finding, .. }),
                        Some(recorder),
                    ) = (&turn, &self.recorder)
                    {
                        recorder.record(finding, self.engine.pods_hurt_by(finding));
                    }
                }
                Output::Judged(judged) => {
                    if let Some(keeper) = &mut self.keeper {
                        keeper.take(judged, self.engine.diagnosis());
                    }
                }
            }
        }
    }

    /// Reads the tables because flows have other names: what they count from here on belongs to another edge.
    fn read_renamed(&mut self) {
        let is_old = self.last_sweep.is_none_or(|(begin, _)| begin.elapsed() >= LEAST_GAP);
        if let Err(error) = self.read(is_old) {
            warn!(error = format!("{error:#}"), "cannot read the kernel's tables");
        }
    }

    fn remove(&mut self, flows: &[netcause_common::flow::FlowKey]) {
        for key in flows {
            if self.kernel.remove_flow(key) {
                self.engine.handle(now(), Input::FlowRemoved(*key));
            }
        }
    }
}

/// What diagnosis has to do without, by the probes that do not run.
fn missing_evidence(kernel: &Kernel) -> HashMap<&'static str, String> {
    let down = kernel.probes().iter().filter_map(|state| Some((state.probe.id, state.unavailable.as_ref()?)));
    down.map(|(id, unavailable)| {
        let signal = match id {
            ProbeId::PacketDrop => "packet_drops",
            id => id.label(),
        };
        (signal, unavailable.message.clone())
    })
    .collect()
}

/// What time it is.
pub(super) fn now() -> Time {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { wall: wall.as_secs(), monotonic: kernel::monotonic() }
}
