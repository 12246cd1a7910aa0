//! What the agent knows, and how it comes to know it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use netcause_common::dns::{PROTOCOL_DNS, ResponseCode};
use netcause_common::flow::{FlowKey, PROTOCOL_UDP};
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};
use tracing::warn;

use crate::expose::event_log;
use crate::expose::snapshot::AgentCounts;
use crate::expose::tables::series;
use crate::kernel::{Events, Fullness, Kernel, Pace};
use netcause_core::aggregate;
use netcause_core::aggregate::dns::{Answer, Details, TimedOut};
use netcause_core::aggregate::ledger::Ledger;
use netcause_core::enrich::Names;
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::Update;
use netcause_core::enrich::policy::DnsNames;
use netcause_core::ingest::{self, Event, dns};

/// Events taken at once before other work has its turn.
const DRAIN_LIMIT: usize = 4096;
/// As many times before the tables are looked at.
const DRAINS: usize = 16;
/// Open sockets are not looked at more often than this because of names.
const LEAST_GAP: Duration = Duration::from_secs(1);

/// See above.
pub(super) struct State {
    pub kernel: Kernel,
    pub rings: Option<[Events; 2]>,
    pub names: Names,
    pub ledger: Ledger,
    pub began: Instant,
    pub pace: Pace,
    /// When the last sweep began, and how long it took.
    pub last_sweep: Option<(Instant, Duration)>,
    /// The accept queues as the last look found them.
    pub queues: Vec<(QueueKey, AcceptQueue)>,
    pub counts: AgentCounts,
    pub details: Details,
}

impl State {
    /// Ends the waiting of DNS queries that nobody answers.
    pub fn expire_dns(&mut self) -> Result<()> {
        let Self { kernel, names, details, began, .. } = self;
        let at = began.elapsed();
        kernel.expire_dns(|key, message| {
            if let Ok(question) = dns::question(message) {
                let workload = &names.local(key.local);
                details.timed_out(&TimedOut { local: key.local, workload, question: &question, at });
            }
        })
    }

    /// Tells names what time it is.
    pub fn set_time(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.names.set_time(now.as_secs(), self.began.elapsed());
    }

    /// Takes the events that wait, up to a limit; returns true when there may be more.
    pub fn drain(&mut self) -> bool {
        // Taken out while they are drained, because an event changes all the rest.
        let Some([mut events, mut dns_events]) = self.rings.take() else { return false };
        self.set_time();
        let taken = events.drain(DRAIN_LIMIT, |octets| self.take(octets));
        let taken_dns = dns_events.drain(DRAIN_LIMIT, |octets| self.take_dns(octets));
        self.rings = Some([events, dns_events]);
        taken == DRAIN_LIMIT || taken_dns == DRAIN_LIMIT
    }

    /// Takes what sources of names tell. What flows have counted up to now is theirs by the names of before.
    pub fn learn(&mut self, updates: &mut Vec<Update>) {
        self.set_time();
        for update in updates.drain(..) {
            self.names.apply(&update);
        }
        self.settle();
    }

    /// Takes what the names file says beside objects.
    pub fn set_extra(&mut self, extra: Arc<Extra>) {
        if let Err(error) = self.kernel.set_named_networks(&extra.cidrs) {
            warn!(error = format!("{error:#}"), "clients of some named networks are not told apart");
        }
        self.set_time();
        self.names.set_extra(extra);
        self.settle();
    }

    /// Reads the tables now if flows have other names now: what they count from here on is another's.
    fn settle(&mut self) {
        if self.ledger.is_renamed(&self.names) {
            let is_old = self.last_sweep.is_none_or(|(begin, _)| begin.elapsed() >= LEAST_GAP);
            if let Err(error) = self.look(is_old) {
                warn!(error = format!("{error:#}"), "cannot look at the kernel's tables");
            }
        }
    }

    /// The addresses that flows go to.
    pub fn remotes(&self) -> HashSet<IpAddr> {
        self.ledger.remotes()
    }

    /// Looks at the open sockets if it is time, and takes what the tables have; says how full they are.
    pub fn observe(&mut self) -> Result<Vec<Fullness>> {
        let is_due = self.last_sweep.is_none_or(|(begin, took)| begin.elapsed() >= self.pace.gap(took));
        self.look(is_due)
    }

    /// The same, with a look at the open sockets or without one.
    fn look(&mut self, sweeps: bool) -> Result<Vec<Fullness>> {
        let began = Instant::now();
        self.set_time();
        // Names that were resolved before a flow began are known before the flow is.
        for _ in 0..DRAINS {
            if !self.drain() {
                break;
            }
        }
        if sweeps && let Some(took) = self.kernel.sweep()? {
            self.counts.sweeps.observe(took);
            self.last_sweep = Some((began, took));
        }
        self.expire_dns()?;
        self.names.expire();
        self.queues = self.kernel.accept_queues()?;
        for (key, _) in &self.queues {
            self.names.listens(key.local, key.port);
        }
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

    fn take(&mut self, octets: &[u8]) {
        match ingest::event(octets) {
            Some(Event::NewFlow { flow, client_port }) => {
                // For its memory: the cgroup may be gone when somebody asks for metrics.
                self.names.local(flow.local);
                self.names.observe(&flow);
                self.names.connected(&flow, client_port);
            }
            Some(Event::Trouble(event)) if event_log::is_enabled() => {
                if let Some(named) = aggregate::edge(&event.flow, &mut self.names) {
                    let peer = ingest::ip(event.flow.remote);
                    let name = self.names.resolved_from(event.flow.local, peer);
                    event_log::log(&event, &named.edge, peer, name.as_ref());
                }
            }
            Some(Event::Trouble(_)) => {}
            None => warn!(length = octets.len(), "an event that this agent does not understand"),
        }
    }

    fn take_dns(&mut self, octets: &[u8]) {
        let Self { names, details, counts, began, .. } = self;
        counts.dns_events += 1;
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
            duration: answer.duration,
            at: began.elapsed(),
        });
        if message.rcode == ResponseCode::NoError as u8 && details.policy() != DnsNames::Off {
            names.learn(local, &question.name, &message.addresses);
        }
    }
}
