//! The engine: everything the agent knows. Inputs in, questions out, one view.
//!
//! It never asks the outside itself. What happens in the kernel, what sources of names say, and the time are [`Input`]s;
//! what it needs to know comes out of [`Engine::poll`] as [`Output`]s, whose answers are inputs again. So the same inputs
//! always give the same view: on another machine, in a test, or from a recording.

mod diagnosis;
mod dns;
mod drops;
mod listeners;
mod places;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::drops::DropKey;
use netcause_common::flow::{FlowKey, PROTOCOL_UDP};
use netcause_common::probe::open_sockets::{AcceptQueue, Holders, QueueKey};
use netcause_common::statistics::STATISTICS;

use crate::aggregate::dns::search::Waste;
use crate::aggregate::dns::{DnsDetails, WorkloadRow};
use crate::aggregate::drops::PacketDrops;
use crate::aggregate::edge;
use crate::aggregate::events::{EdgeEvent, RecentEvents};
use crate::aggregate::listeners::{Listeners, Namespace, NamespaceCounters};
use crate::aggregate::model::Model;
use crate::aggregate::peer_nodes::PeerNodes;
use crate::aggregate::totals::Totals;
use crate::aggregate::waits::Waiting;
use crate::diagnose::cause::Family;
use crate::diagnose::{Diagnosis, Judged, Turn};
use crate::enrich::conntrack::{Outcome, Pass, Support};
use crate::enrich::extra::Extra;
use crate::enrich::names::Statistics;
use crate::enrich::objects::{Kind, Seconds, Source, Update};
use crate::enrich::policy::DnsNames;
use crate::enrich::{self, Names, Workload};
use crate::ingest::{self, Connection, DnsAnswer, DnsUnanswered, Event, TcpEvent};
use crate::node::{self, Node};
use crate::seen::{Moment, Seen};

pub use listeners::Listener;
pub use places::Places;

/// Events that wait for their consumers, as many as the daemon takes from the ring at once. Further ones are in
/// [`Engine::events`] alone.
const MAX_EVENTS: usize = 4096;

/// What time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970, the clock of the Kubernetes API.
    pub wall: Seconds,
    /// The kernel's `CLOCK_MONOTONIC`, which events are stamped with.
    pub monotonic: Duration,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time has passed.
    Tick,
    /// A flow of the kernel's tables has counted so much since it was read last; a flow that is new comes once, though it
    /// have counted nothing.
    Flow {
        /// The flow.
        key: FlowKey,
        /// The difference ([`crate::aggregate::delta::Deltas`]).
        delta: &'a Totals,
    },
    /// A flow was removed from the kernel's table.
    FlowRemoved(FlowKey),
    /// The kernel has dropped so many more packets.
    Drops {
        /// Whose, and why.
        key: DropKey,
        /// How many.
        packets: u64,
    },
    /// Listening sockets, by the last sweep.
    Listeners {
        /// The accept queues that it found, and those of closed listeners (sweep 0).
        queues: Vec<(QueueKey, AcceptQueue)>,
        /// The counters of their network namespaces, as far as they were read since.
        namespaces: Vec<(Namespace, NamespaceCounters)>,
    },
    /// Who holds UDP sockets that another workload has made, by the last sweep.
    UdpHolders(Vec<(QueueKey, Holders)>),
    /// An open connection that a sweep has found.
    Connection(Connection),
    /// A sweep has ended, and all flows were read since.
    SweepEnded,
    /// All flows were read. Names are settled now, so questions on new flows should be answered before.
    ReadingEnded,
    /// An event of the kernel's ring.
    Event(Event),
    /// An answer that reached a DNS client.
    DnsAnswer(DnsAnswer<'a>),
    /// DNS queries that got no answer.
    DnsUnanswered(DnsUnanswered<'a>),
    /// What a source of names says.
    Names(Update),
    /// Names of networks and cgroups from the names file.
    Extra(Arc<Extra>),
    /// The answer to [`Engine::take_cgroup_questions`], for one of them.
    Cgroup {
        /// Its id.
        id: u64,
        /// Its path below the mount of cgroup v2; `None` when there is no such directory.
        path: Option<&'a [u8]>,
    },
    /// The answer to [`Output::Conntrack`].
    Conntrack(Outcome),
    /// How the sources of names are doing.
    Health(Vec<SourceHealth>),
    /// What the kernel side counts about itself, losses among it: by [`netcause_common::statistics::Statistic`].
    Losses(Losses),
    /// What the readers of the node found.
    Node(Box<node::Reading>),
    /// Evidence that this node cannot have, by its signal, and why.
    Missing(HashMap<&'static str, String>),
    /// What scrapers have got.
    Seen(Seen),
}

/// Counters of the kernel side about itself, by [`netcause_common::statistics::Statistic`].
pub type Losses = [u64; STATISTICS as usize];

/// How a source of names is doing, for one kind of object or for all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHealth {
    /// The source.
    pub source: Source,
    /// The kind of object; `None` where all come together.
    pub kind: Option<Kind>,
    /// When it was last heard of, by the kernel's `CLOCK_MONOTONIC`; `None` before the first time.
    pub last_contact: Option<Duration>,
    /// Why it is down, as a code of a bounded set and as text; `None` while it is up.
    pub down: Option<(&'static str, String)>,
    /// Failures so far, by code.
    pub failures: Vec<(&'static str, u64)>,
}

/// What the outside should do.
#[derive(Debug)]
pub enum Output {
    /// Ask the connection tracking: [`Input::Conntrack`].
    Conntrack(Pass),
    /// The state of the connection tracking has changed.
    ConntrackSupport(Support),
    /// Read the kernel's tables soon: flows have other names by now.
    Read,
    /// Remove these flows from the kernel's tables unless they have counted again: [`Input::FlowRemoved`].
    Remove(Vec<FlowKey>),
    /// Tell clients in these networks apart, beside the configured ones.
    Networks(Vec<IpNet>),
    /// Something failed, and these are the names of both ends.
    Event(Arc<EdgeEvent>),
    /// A finding has begun or ended.
    Finding(Turn),
    /// What the last judgement was given, behind its findings ([`Engine::keep_judged`]).
    Judged(Box<Judged>),
}

/// What the engine is made by.
#[derive(Debug)]
pub struct Options {
    /// How names are made.
    pub names: enrich::Options,
    /// A flow without traffic and without an open connection may be removed after this.
    pub flow_idle: Duration,
    /// How many TCP flows the kernel's table has room for.
    pub max_flows: usize,
    /// Limit on nodes at the other end of connections that have counters of their own.
    pub max_peer_nodes: usize,
    /// The families of causes that findings are looked for.
    pub findings: Vec<Family>,
}

/// Everything the agent knows.
pub struct Engine {
    time: Time,
    names: Names,
    model: Model,
    peer_nodes: PeerNodes,
    waiting: Waiting,
    drops: PacketDrops,
    details: DnsDetails,
    details_received: u64,
    queues: Vec<(QueueKey, AcceptQueue)>,
    listeners: Listeners,
    listener_sums: listeners::Sum,
    places: Places,
    diagnosis: Diagnosis,
    keeping: diagnosis::Keeping,
    events: RecentEvents,
    health: Vec<SourceHealth>,
    losses: Losses,
    node: Node,
    /// The last reading of the node, until its cgroups have had time to get names.
    unnamed_node: Option<node::Reading>,
    /// The cgroups that it found.
    node_cgroups: HashSet<u64>,
    seen: Seen,
    outputs: VecDeque<Output>,
    /// Names have changed, and it is not known yet whether flows have other names by that.
    is_renaming: bool,
    /// Flows were removed since the last reading: names that no flow has are to be forgotten.
    has_removed: bool,
}

impl Engine {
    /// Knows nothing as yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let details = DnsDetails::new(Arc::clone(&options.names.labels));
        let mut diagnosis = Diagnosis::new(options.findings);
        diagnosis.set_sidecar_ports(options.names.sidecar_ports.clone());
        Self {
            time: Time::default(),
            names: Names::new(options.names),
            model: Model::new(options.flow_idle),
            peer_nodes: PeerNodes::new(options.max_peer_nodes),
            waiting: Waiting::new(options.max_flows),
            drops: PacketDrops::default(),
            details,
            details_received: 0,
            queues: Vec::new(),
            listeners: Listeners::default(),
            listener_sums: listeners::Sum::default(),
            places: Places::default(),
            diagnosis,
            keeping: diagnosis::Keeping::default(),
            events: RecentEvents::default(),
            health: Vec::new(),
            losses: [0; STATISTICS as usize],
            node: Node::default(),
            unnamed_node: None,
            node_cgroups: HashSet::new(),
            seen: Seen::default(),
            outputs: VecDeque::new(),
            is_renaming: false,
            has_removed: false,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, time: Time, input: Input<'_>) {
        self.time = time;
        self.names.set_time(time.wall, time.monotonic);
        self.waiting.begin(time.monotonic);
        self.details.at(self.moment());
        match input {
            // Questions that are due by now come out of `poll`.
            Input::Tick => self.end_node(),
            Input::Flow { key, delta } => {
                if !key.is_other() && self.model.edge_of(&key).is_none() {
                    self.names.observe_local(key.local);
                }
                self.waiting.count(&key, &delta.tcp);
                self.count(&key, delta);
            }
            Input::Drops { key, packets } => self.dropped(key, packets),
            Input::Connection(connection) => self.waiting.see(&connection, time.monotonic),
            Input::UdpHolders(found) => self.names.held(PROTOCOL_UDP, found.into_iter()),
            Input::SweepEnded => self.end_sweep(),
            Input::FlowRemoved(key) => self.remove(&key),
            Input::Listeners { queues, namespaces } => self.listen(queues, &namespaces),
            Input::ReadingEnded => self.end_reading(),
            Input::Event(Event::NewFlow { at, flow, client_port, own }) => {
                self.names.observe(&flow);
                self.is_renaming |= own.is_some_and(|own| self.names.announced(&flow, own, client_port, at));
                let began = self.names.observed(Some(at));
                self.model.announce(&flow, began, time.monotonic, &self.names);
                self.names.connected(&flow, client_port);
            }
            Input::Event(Event::Tcp(event)) => self.place(event),
            Input::DnsAnswer(answer) => self.answered(&answer),
            Input::DnsUnanswered(unanswered) => self.unanswered(&unanswered),
            Input::Names(update) => {
                self.names.apply(&update);
                self.is_renaming = true;
            }
            Input::Extra(extra) => {
                self.outputs.push_back(Output::Networks(extra.cidrs.clone()));
                self.names.set_extra(extra);
                self.is_renaming = true;
            }
            Input::Cgroup { id, path } => self.names.answer_cgroup(id, path),
            Input::Health(health) => self.health = health,
            Input::Losses(losses) => self.losses = losses,
            Input::Node(reading) => self.read_node(*reading),
            Input::Missing(missing) => self.miss(missing),
            Input::Seen(seen) => self.seen = self.seen.and(seen),
            Input::Conntrack(outcome) => {
                if self.names.answer_conntrack(outcome) {
                    self.outputs.push_back(Output::ConntrackSupport(self.names.tracking().clone()));
                }
            }
        }
    }

    /// What the outside should do now, one by one; `None` when there is nothing more.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if let Some(pass) = self.names.ask_conntrack() {
            return Some(Output::Conntrack(pass));
        }
        let is_renaming = std::mem::take(&mut self.is_renaming);
        (is_renaming && self.model.is_renamed(&self.names)).then_some(Output::Read)
    }

    /// The cgroups whose paths are wanted now: each is to be answered with [`Input::Cgroup`], best before
    /// [`Input::ReadingEnded`], so that new flows have names from the beginning.
    pub fn take_cgroup_questions(&mut self) -> Vec<u64> {
        self.names.ask_cgroups()
    }

    /// The addresses that no source knows since the last call, at most 1024.
    pub fn take_unknown(&mut self) -> HashSet<IpAddr> {
        self.names.take_unknown()
    }

    /// Edges and what was counted of them.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// As [`Self::model`]; for [`Model::take_changes`].
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// What open connections wait for.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The time of the last input.
    #[must_use]
    pub fn time(&self) -> Time {
        self.time
    }

    /// The time of the last input, and what scrapers have got by then.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: self.time.monotonic, seen: self.seen }
    }

    /// The last failure events, latest first.
    #[must_use]
    pub fn events(&self) -> &RecentEvents {
        &self.events
    }

    /// How the sources of names were doing at the last reading.
    #[must_use]
    pub fn health(&self) -> &[SourceHealth] {
        &self.health
    }

    /// What the kernel side had counted about itself at the last reading.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// What the kernel counts of the node, as it was last read.
    #[must_use]
    pub fn node(&self) -> node::View {
        self.node.view()
    }

    /// TCP by the node at the other end, as it was read last.
    #[must_use]
    pub fn peer_nodes(&self) -> &PeerNodes {
        &self.peer_nodes
    }

    /// What search domains cost each workload that they cost anything.
    pub fn wasted(&self) -> impl Iterator<Item = (&Workload, Waste)> {
        self.details.expansions().filter(|(_, waste)| *waste != Waste::default())
    }

    /// Names out of DNS by workload, with lists of so many names each.
    #[must_use]
    pub fn dns_rows(&mut self, limit: usize) -> Vec<WorkloadRow> {
        self.details.rows(limit, self.names.resolved(), self.time.monotonic)
    }

    /// What may be shown of names out of DNS.
    #[must_use]
    pub fn dns_policy(&self) -> DnsNames {
        self.details.policy()
    }

    /// Details of DNS answers received so far.
    #[must_use]
    pub fn dns_details_received(&self) -> u64 {
        self.details_received
    }

    /// How much is known by name, and what was asked.
    #[must_use]
    pub fn names(&self) -> Statistics {
        self.names.statistics()
    }

    fn remove(&mut self, key: &FlowKey) {
        self.model.remove(key);
        self.waiting.remove(key);
        if key.protocol == PROTOCOL_DNS {
            let clients = self.model.locals_of(PROTOCOL_DNS);
            self.details.retain(|local| clients.contains(&local));
        }
        self.has_removed = true;
    }

    fn read_node(&mut self, reading: node::Reading) {
        self.end_node();
        self.node_cgroups = reading.cgroups().collect();
        self.node_cgroups.iter().for_each(|cgroup| self.names.observe_local(*cgroup));
        self.unnamed_node = Some(reading);
    }

    /// Takes what was read of the node: questions on new cgroups, which came out after that, are answered as a rule.
    fn end_node(&mut self) {
        if let Some(reading) = self.unnamed_node.take() {
            self.node.at(self.moment());
            self.node.update(reading, |cgroup| self.names.local(cgroup));
            self.read_places();
        }
    }

    fn end_reading(&mut self) {
        self.names.expire();
        self.names.settle_peers();
        if std::mem::take(&mut self.has_removed) {
            let mut locals = self.model.locals();
            locals.extend(&self.node_cgroups);
            locals.extend(self.queues.iter().map(|(key, _)| key.local));
            locals.extend(self.drops.locals());
            locals.extend(self.listeners.others(|_| false).map(|(key, _)| key.local));
            self.names.retain(&locals, &self.model.remotes());
        }
        self.peer_nodes.end_reading(self.time.monotonic, &self.names);
        self.end_places();
        let idle = self.model.end_reading(self.time.monotonic, &mut self.names);
        if !idle.is_empty() {
            self.outputs.push_back(Output::Remove(idle));
        }
        self.drops.end_reading(self.time.monotonic, &self.names, &self.model);
        self.details.name_clients(|local| self.names.local(local));
        self.diagnose();
    }

    /// Gives an event the names of its flow.
    fn place(&mut self, event: TcpEvent) {
        let flow = event.flow;
        let edge = match self.model.edge_of(&flow) {
            Some(edge) => Arc::clone(edge),
            None => {
                self.names.observe(&flow);
                let Some(named) = edge(&flow, &self.names) else { return };
                Arc::new(named.edge)
            }
        };
        let peer = ingest::ip(flow.remote);
        let peer_name = self.names.resolved_from(flow.local, peer);
        let event = Arc::new(EdgeEvent { edge, peer, peer_name, event });
        self.events.push(Arc::clone(&event));
        if self.outputs.len() < MAX_EVENTS {
            self.outputs.push_back(Output::Event(event));
        }
    }
}
