//! What the node shows beside the edge that is judged: the other end where this node runs it, other clients, what it dropped.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use netcause_common::dns::DnsCounters;
use netcause_common::drops::DropCause;
use netcause_common::flow::ResetReason;

use super::finding::Signal;
use super::symptoms::{failed_connects, gets_on, local, peer, percent, waited};
use crate::aggregate::totals::Totals;
use crate::aggregate::turn::On;
use crate::aggregate::{Edge, Reporter};
use crate::enrich::Workload;
use crate::enrich::sidecar::{Direction, Via};

/// From so many connections on, on average, a server waits for the network.
const STUCK: f64 = 0.3;
/// From this share of the time on that some task waits for a CPU, times are those of the scheduler.
const SHORT_OF_CPU: f64 = 0.9;

/// A server's workload and its port.
type Server = (Workload, Option<u16>);

/// What the node shows beside the edge that is judged.
#[derive(Debug, Default)]
pub struct Around {
    /// Edges that received TCP segments in the last part of the span, and how many; not those that repeat what they send and do not get on.
    heard: Vec<(Arc<Edge>, u64)>,
    /// The same by the workload at the other end, added up when it is asked for: few judgements do.
    received: OnceCell<HashMap<Workload, u64>>,
    /// The same by both ends: the workload here, and that at the other end.
    between: OnceCell<HashMap<(Workload, Workload), u64>>,
    /// What the server's end of an edge has, where this node runs it, by workload and port.
    pub servers: HashMap<Server, ServerEnd>,
    /// Clients whose connections wait for the network, in the last part of the span, by the server, with the end that waits.
    stuck: HashMap<Server, Vec<(Reporter, Workload)>>,
    /// Segments below full size that clients here sent again to a server's port, in the last part of the span, and heard nothing.
    silent: HashMap<Server, u64>,
    /// DNS in the last part of the span, by the server: what its clients on this node saw.
    pub resolvers: HashMap<Workload, Resolver>,
    /// DNS between a client and a server that this node runs, in the last part of the span: what the server's end saw. A pair that was
    /// ever seen there is here, also when nothing arrives any more.
    pub served: HashMap<(Workload, Workload), Served>,
    /// What the sidecars of this node's workloads wait for in the last part of the span, by the workload.
    pub legs: HashMap<Workload, Beyond>,
    /// Packets that this node dropped between a workload and its peer in the last part of the span, by [`DropCause`].
    pub drops: HashMap<(Workload, Workload), [u64; DropCause::COUNT]>,
    /// The share of the time in which some task waited for a CPU; `None` where that is not known.
    pub cpu_waiting: Option<f64>,
    /// Evidence that cannot be had here: signal and reason.
    pub missing: HashMap<&'static str, String>,
}

/// What the server's end of connections has counted, and its listening port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerEnd {
    /// Resets sent because nobody listens.
    pub no_socket: u64,
    /// Handshakes dropped at a full accept queue.
    pub accept_queue_full: u64,
    /// A port listens there.
    pub listens: bool,
}

/// What clients on this node see of a DNS server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Pairs that got answers.
    pub answered: usize,
    /// Pairs whose queries timed out, and that got no answer.
    pub silent: usize,
    /// Answers, to all of them.
    pub answers: u64,
}

/// What a DNS server on this node sees of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Queries that arrived.
    pub queries: u64,
    /// Answers that were sent.
    pub answers: u64,
}

/// What a sidecar's connections do in the last part of the span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beyond {
    /// Connections of the sidecar, on average, that wait for the network or the application at the other end.
    pub owed: f64,
    /// Those of which it cannot be decided.
    pub unknown: f64,
    /// Its connects that failed.
    pub failed: u64,
    /// Segments that it received from others.
    pub received: u64,
    /// Payload that it sent to others, in bytes.
    pub sent_bytes: u64,
    /// Its connections to its own application that wait for that, on average.
    pub inbound_waited: f64,
    /// Segments that its application received from it.
    pub inbound_received: u64,
    /// Connections of its application, on average, whose data it has not read.
    pub unread: f64,
    /// Connections that wait in its accept queues, on average.
    pub queued: f64,
}

impl Around {
    /// Adds an edge.
    pub fn add(&mut self, edge: &Edge, totals: &Totals) {
        if edge.reporter == Reporter::Destination {
            let end = self.servers.entry((edge.destination.clone(), edge.port)).or_default();
            end.no_socket += totals.tcp.resets_sent[ResetReason::NoSocket as usize];
        }
    }

    /// Adds what it has counted in the last part of the span, which has so many seconds.
    pub fn add_recent(&mut self, edge: &Arc<Edge>, totals: &Totals, seconds: f64) {
        let received = totals.tcp.received_segments;
        let again: u64 = totals.tcp.retransmitted_segments.iter().sum();
        if received > 0 && (again == 0 || gets_on(&totals.tcp)) {
            self.heard.push((Arc::clone(edge), received));
        } else if edge.reporter == Reporter::Source {
            let small = again.saturating_sub(totals.tcp.full_size_retransmits);
            if small > 0 {
                *self.silent.entry((edge.destination.clone(), edge.port)).or_default() += small;
            }
        }
        if waited(&totals.waits, On::Network, seconds) >= STUCK {
            let clients = self.stuck.entry((edge.destination.clone(), edge.port)).or_default();
            clients.push((edge.reporter, edge.source.clone()));
        }
        self.add_dns(edge, &totals.dns);
        self.add_leg(edge, totals, seconds);
    }

    /// Adds what a sidecar waits for.
    fn add_leg(&mut self, edge: &Edge, totals: &Totals, seconds: f64) {
        let waiting = |on: On| waited(&totals.waits, on, seconds);
        match (edge.via, edge.reporter) {
            (Via::Sidecar, Reporter::Source) => {
                let leg = self.legs.entry(edge.source.clone()).or_default();
                leg.owed += waiting(On::PeerApplication) + waiting(On::Network);
                leg.unknown += waiting(On::Unknown);
                leg.failed += failed_connects(&totals.tcp);
                leg.received += totals.tcp.received_segments;
                leg.sent_bytes += totals.tcp.sent_bytes;
            }
            (Via::OwnSidecar(Direction::Outbound), Reporter::Destination) => {
                self.legs.entry(edge.destination.clone()).or_default().unread += waiting(On::LocalReader);
            }
            (Via::OwnSidecar(Direction::Inbound), Reporter::Destination) => {
                let leg = self.legs.entry(edge.destination.clone()).or_default();
                leg.inbound_waited += waiting(On::LocalApplication) + waiting(On::LocalReader);
                leg.inbound_received += totals.tcp.received_segments;
            }
            _ => {}
        }
    }

    fn add_dns(&mut self, edge: &Edge, dns: &DnsCounters) {
        let (queries, answers) = (dns.queries.iter().sum::<u64>(), dns.responses.iter().sum::<u64>());
        if queries + answers + dns.timeouts == 0 {
            return;
        }
        match edge.reporter {
            Reporter::Source => {
                let resolver = self.resolvers.entry(edge.destination.clone()).or_default();
                resolver.answered += usize::from(answers > 0);
                resolver.silent += usize::from(answers == 0 && dns.timeouts > 0);
                resolver.answers += answers;
            }
            Reporter::Destination => {
                let served = self.served.entry((edge.source.clone(), edge.destination.clone())).or_default();
                served.queries += queries;
                served.answers += answers;
            }
        }
    }

    /// Adds a pair whose server, on this node, was asked before.
    pub fn add_served(&mut self, edge: &Edge) {
        self.served.entry((edge.source.clone(), edge.destination.clone())).or_default();
    }
}

impl Around {
    /// Packets to a workload from ends without a name that this node dropped for this cause in the last part of the span.
    #[must_use]
    pub fn dropped_of_addresses(&self, to: &Workload, cause: DropCause) -> u64 {
        let of = |(from, known): &(Workload, Workload)| known == to && matches!(from, Workload::Address(_));
        self.drops.iter().filter(|(pair, _)| of(pair)).map(|(_, counts)| counts[cause as usize]).sum()
    }

    /// TCP segments received from a workload in the last part of the span, over all edges: whether it can be reached at all.
    #[must_use]
    pub fn received_from(&self, workload: &Workload) -> u64 {
        let received = self.received.get_or_init(|| self.heard_by(|edge| peer(edge).clone()));
        received.get(workload).copied().unwrap_or_default()
    }

    /// The same, by one workload here alone.
    #[must_use]
    pub fn received_between(&self, here: &Workload, there: &Workload) -> u64 {
        let ends = |edge: &Edge| (local(edge).clone(), peer(edge).clone());
        let between = self.between.get_or_init(|| self.heard_by(ends));
        between.get(&(here.clone(), there.clone())).copied().unwrap_or_default()
    }

    /// Whether a server's port answers nobody here, not even small segments, while other ports of it answer.
    #[must_use]
    pub fn is_silent_port(&self, server: &Edge) -> bool {
        let is_it = |edge: &Edge| edge.destination == server.destination && edge.port == server.port;
        self.silent.contains_key(&(server.destination.clone(), server.port))
            && !self.heard.iter().any(|(edge, _)| edge.reporter == Reporter::Source && is_it(edge))
            && self.received_from(&server.destination) > 0
    }

    /// Whether what the other end of these connections has sent is not acknowledged, as this node sees there: a request that has not arrived
    /// as a whole, or an answer that has not. That end may know the client by its address alone, or this one.
    #[must_use]
    pub fn is_other_end_stuck(&self, edge: &Edge) -> bool {
        let is_it = |client: &Workload| {
            *client == edge.source
                || [client, &edge.source].iter().any(|end| matches!(end, Workload::Address(_)))
        };
        let stuck = self.stuck.get(&(edge.destination.clone(), edge.port));
        stuck.is_some_and(|ends| ends.iter().any(|(end, client)| *end != edge.reporter && is_it(client)))
    }

    /// Whether segments came over this edge in the last part of the span.
    #[must_use]
    pub fn has_heard(&self, edge: &Arc<Edge>) -> bool {
        self.heard.iter().any(|(heard, _)| Arc::ptr_eq(heard, edge))
    }

    fn heard_by<K: Eq + Hash>(&self, key: impl Fn(&Edge) -> K) -> HashMap<K, u64> {
        let mut received = HashMap::new();
        for (edge, segments) in &self.heard {
            *received.entry(key(edge)).or_default() += segments;
        }
        received
    }

    /// Why times say little on this node now: tasks wait for a CPU nearly always, so that everything is late.
    #[must_use]
    pub fn short_of_cpu(&self) -> Option<Signal> {
        let share = self.cpu_waiting.filter(|share| *share > SHORT_OF_CPU)?;
        let says = format!(
            "tasks of this node waited for a CPU in {} of the time: everything here is late",
            percent(share)
        );
        Some(Signal::value("node_pressure_cpu_waiting_seconds", share, "seconds per second", says))
    }
}
