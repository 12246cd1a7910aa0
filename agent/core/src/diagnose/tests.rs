//! Windows are made, and what is said of them is compared.

mod dns;
mod lab;
mod large;
mod neighbours;
mod node_pairs;
mod one_end;
mod protocols;
mod readers;
mod sidecar;

use std::time::Duration;

use netcause_common::drops::DropCause;
use netcause_common::flow::{ConnectFailure, RetransmitKind, TcpCounters, Timeouts};

use super::*;
use crate::aggregate::model::{Counting, EdgeWindows};
use crate::aggregate::peer_nodes::PeerNodeWindows;
use crate::aggregate::places::{Found, Readings};
use crate::aggregate::turn::{On, Waits};
use crate::aggregate::{Reporter, Via};
use cause::{Confidence, Side};
use finding::Subject;

/// The windows of a node, and what is said of them.
struct Node {
    edges: EdgeWindows,
    listeners: Readings<u32>,
    node: Readings<u32>,
    peer_nodes: PeerNodeWindows,
    diagnosis: Diagnosis,
    now: u64,
    turns: Vec<Turn>,
}

fn edge(source: &str, destination: &str) -> Arc<Edge> {
    Arc::new(Edge {
        reporter: Reporter::Source,
        source: Workload::plain(source),
        destination: Workload::plain(destination),
        service: None,
        port: Some(8080),
        via: Via::Direct,
    })
}

/// What a healthy edge counts in five seconds.
fn healthy() -> Totals {
    let mut tcp = TcpCounters {
        opened: 5,
        sent_segments: 1000,
        received_segments: 1000,
        sent_bytes: 1_000_000,
        received_bytes: 100_000,
        ..TcpCounters::ZERO
    };
    tcp.rtt.buckets[4] = 10;
    tcp.rtt.sum = 8_000;
    Totals { tcp, ..Totals::ZERO }
}

impl Node {
    /// A minute of healthy traffic between these, which is remembered.
    fn with_past(edges: &[Arc<Edge>]) -> Self {
        let counted: Vec<_> = edges.iter().map(|edge| (Arc::clone(edge), healthy())).collect();
        Self::with_past_of(&counted)
    }

    /// A minute of this, in which nothing is found.
    fn with_past_of(counted: &[(Arc<Edge>, Totals)]) -> Self {
        let mut node = Self {
            edges: EdgeWindows::new(1 << 20),
            listeners: Readings::new(1 << 16),
            node: Readings::new(1 << 16),
            peer_nodes: PeerNodeWindows::new(1 << 16),
            diagnosis: Diagnosis::new(Family::ALL.map(|(_, family)| family).to_vec()),
            now: 100,
            turns: Vec::new(),
        };
        node.edges.end_reading(Duration::from_secs(node.now));
        node.windows(12, counted);
        assert!(node.diagnosis.findings().is_empty(), "{:?}", node.diagnosis.findings());
        node
    }

    fn window(&mut self, counted: &[(Arc<Edge>, Totals)]) {
        self.now += 5;
        let now = Duration::from_secs(self.now);
        for (number, (edge, totals)) in counted.iter().enumerate() {
            self.edges.count(Counting::Edge(number), edge, totals);
        }
        self.edges.end_reading(now);
        assert!(self.edges.has_just_ended());
        let turns = self.diagnosis.judge(&Windows {
            edges: &self.edges.recent(),
            listeners: &self.listeners.recent(),
            node: &self.node.recent(),
            peer_nodes: &self.peer_nodes.recent(),
            now,
            wall: 1_000_000 + self.now,
        });
        self.turns.extend(turns);
    }

    /// What a place has counted so far, in the window that ends next.
    fn read(&mut self, place: &Place, totals: &[u64]) {
        self.node.read([Found { id: 0, place: place.clone(), totals, levels: &[] }]);
        self.node.end_reading(Duration::from_secs(self.now + 5));
    }

    /// A full accept queue, and the handshakes that it has dropped so far.
    fn drops_handshakes(&mut self, server: &str, dropped: u64) {
        self.listeners.read([Found {
            id: 1,
            place: Place::Listener(Workload::plain(server), Some(8080)),
            totals: &[0, 0, dropped, 0, 0],
            levels: &[5, 4],
        }]);
        self.listeners.end_reading(Duration::from_secs(self.now + 5));
    }

    fn windows(&mut self, count: usize, counted: &[(Arc<Edge>, Totals)]) {
        (0..count).for_each(|_| self.window(counted));
    }

    /// Cause, confidence and subject of what is active.
    fn active(&self) -> Vec<(&'static str, Confidence, String)> {
        let dated = self.diagnosis.findings().into_iter().filter(|dated| dated.until.is_none());
        dated
            .map(|Dated { finding, .. }| {
                (finding.cause.label(), finding.confidence, finding.subject.to_string())
            })
            .collect()
    }

    fn causes(&self) -> Vec<&'static str> {
        self.active().into_iter().map(|(cause, ..)| cause).collect()
    }
}

/// The same pair, seen from the other end.
fn other_end(edge: &Edge) -> Arc<Edge> {
    Arc::new(Edge { reporter: Reporter::Destination, ..edge.clone() })
}

/// A path that carries nothing: segments of this size are repeated.
fn dead(is_full_size: bool) -> Totals {
    let mut dead = Totals::ZERO;
    dead.tcp.sent_segments = 12;
    again(&mut dead, RetransmitKind::Timeout, 12);
    dead.tcp.full_size_retransmits = if is_full_size { 12 } else { 0 };
    dead.tcp.timeouts = [3, 3, 6];
    dead.waits.waited_us[On::Network as usize] = 15_000_000;
    dead
}

fn again(totals: &mut Totals, kind: RetransmitKind, segments: u64) {
    totals.tcp.retransmitted_segments[kind as usize] += segments;
}

#[test]
fn loss_is_found_and_ends_again() {
    let (bad, good) = (edge("web", "db"), edge("web", "cache"));
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&good)]);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 30);
    node.windows(2, &[(Arc::clone(&bad), lossy), (Arc::clone(&good), healthy())]);
    assert_eq!(node.active(), [("path_loss", Confidence::High, "web/db:8080".to_owned())]);
    let dated = &node.diagnosis.findings()[0];
    assert_eq!((dated.finding.side, dated.finding.affected_total), (Side::Path, 1));
    assert_eq!(dated.finding.id(), "path_loss/web/db:8080");
    assert!(dated.since >= 1_000_150 && dated.since <= 1_000_165, "{}", dated.since);
    assert!(
        dated.finding.evidence[0].says.starts_with("1.5 % of the segments were sent again (60 of 4000)"),
        "{:?}",
        dated.finding.evidence
    );
    // It ends within a minute.
    node.windows(12, &[(bad, healthy()), (good, healthy())]);
    assert!(node.causes().is_empty());
    let dated = &node.diagnosis.findings()[0];
    assert!(dated.until.is_some_and(|until| until <= 1_000_190), "{dated:?}");
    assert!(matches!(node.turns[..], [Turn::Began(_), Turn::Ended(..)]));
}

#[test]
fn little_loss_on_a_large_edge_and_one_retransmission_on_a_small_one_are_nothing() {
    let (large, small) = (edge("web", "db"), edge("web", "cache"));
    let mut node = Node::with_past(&[Arc::clone(&large), Arc::clone(&small)]);
    let (mut little, mut one) = (healthy(), Totals::ZERO);
    again(&mut little, RetransmitKind::Fast, 1);
    one.tcp.sent_segments = 5;
    one.tcp.received_segments = 5;
    again(&mut one, RetransmitKind::TailLossProbe, 1);
    node.windows(6, &[(large, little), (small, one)]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
}

#[test]
fn what_was_lost_always_is_not_new() {
    let radio = edge("phone", "server");
    let mut node = Node::with_past(&[Arc::clone(&radio)]);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 15);
    node.windows(3, &[(Arc::clone(&radio), lossy)]);
    assert_eq!(node.causes(), ["path_loss"]);
}

#[test]
fn drops_on_this_node_are_named_by_what_dropped() {
    for (why, cause) in [
        (DropCause::Policy, "policy_drop"),
        (DropCause::Queue, "shaper_drop"),
        (DropCause::NextHop, "no_route"),
        (DropCause::Route, "asymmetric_route"),
    ] {
        let bad = edge("web", "db");
        let mut node = Node::with_past(&[Arc::clone(&bad)]);
        let mut dropped = healthy();
        again(&mut dropped, RetransmitKind::Fast, 40);
        dropped.tcp.retransmitted_after_drop[why as usize] = 40;
        node.windows(2, &[(bad, dropped)]);
        assert_eq!(node.active(), [(cause, Confidence::High, "web/db:8080".to_owned())]);
    }
}

#[test]
fn a_dead_path_takes_what_follows_from_it() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let dead = dead(false);
    // Nothing comes back, and windows with what did are over.
    node.windows(3, &[(Arc::clone(&bad), dead)]);
    assert_eq!(node.causes(), ["dead_path"]);
    // Timeouts back off: it waits, and sends nothing for a while.
    let waits = Waits { waited_us: dead.waits.waited_us, ..Waits::ZERO };
    node.windows(10, &[(Arc::clone(&bad), Totals { waits, ..Totals::ZERO })]);
    assert_eq!(node.causes(), ["dead_path"]);
}

#[test]
fn only_large_segments_vanish() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut hole = Totals::ZERO;
    hole.tcp.opened = 3;
    hole.tcp.received_segments = 6;
    hole.tcp.sent_segments = 20;
    again(&mut hole, RetransmitKind::Timeout, 9);
    hole.tcp.full_size_retransmits = 9;
    hole.tcp.timeouts = [3, 3, 3];
    // The healthy windows before are still in the span that is judged.
    node.windows(5, &[(bad, hole)]);
    assert_eq!(node.active(), [("mtu_black_hole", Confidence::High, "web/db:8080".to_owned())]);
}

#[test]
fn refusals_are_the_servers_or_a_rules() {
    let bad = edge("web", "db");
    let refused = || {
        let mut totals = Totals::ZERO;
        totals.tcp.connect_failures[ConnectFailure::Refused as usize] = 20;
        totals.tcp.resets[1] = 20;
        totals
    };
    let mut node = Node::with_past(&[]);
    node.windows(3, &[(Arc::clone(&bad), refused())]);
    assert_eq!(node.active(), [("connection_refused", Confidence::Medium, "web/db:8080".to_owned())]);
    // The server's end is on this node too, listens, and sent nothing.
    let mut node = Node::with_past(&[]);
    node.listeners.read([Found {
        id: 1,
        place: Place::Listener(Workload::plain("db"), Some(8080)),
        totals: &[0, 0, 0, 0, 0],
        levels: &[1, 128],
    }]);
    node.listeners.end_reading(Duration::from_secs(node.now));
    node.listeners.read([Found {
        id: 1,
        place: Place::Listener(Workload::plain("db"), Some(8080)),
        totals: &[0, 0, 0, 0, 0],
        levels: &[1, 128],
    }]);
    node.windows(3, &[(bad, refused())]);
    assert_eq!(node.active(), [("policy_reject", Confidence::Medium, "web/db:8080".to_owned())]);
}

#[test]
fn a_restart_of_a_server_is_over_before_it_is_a_finding() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut restart = healthy();
    restart.tcp.connect_failures[ConnectFailure::Refused as usize] = 20;
    // Three seconds lie in two windows at most.
    node.windows(2, &[(Arc::clone(&bad), restart)]);
    node.windows(6, &[(bad, healthy())]);
    assert!(node.turns.is_empty(), "{:?}", node.turns);
}

fn waiting(on: On, connections: u64) -> Totals {
    let mut totals = healthy();
    totals.waits.waited_us[on as usize] = connections * 5_000_000;
    totals
}

fn answering(milliseconds: u64) -> Totals {
    let mut totals = waiting(On::PeerApplication, 2);
    totals.waits.responses.buckets[6] = 5;
    totals.waits.responses.sum = 5 * milliseconds;
    totals
}

#[test]
fn a_server_is_slow_by_its_own_measure() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[]);
    node.windows(12, &[(Arc::clone(&bad), answering(20))]);
    assert!(node.causes().is_empty());
    node.windows(4, &[(Arc::clone(&bad), answering(2100))]);
    assert_eq!(node.active(), [("slow_server", Confidence::High, "web/db:8080".to_owned())]);
    let finding = &node.diagnosis.findings()[0].finding;
    assert!(finding.summary.contains("It is not the network"), "{}", finding.summary);
    assert!(!finding.counter_evidence.is_empty());
}

/// Requests that sweeps find waiting for so long.
fn unanswered(milliseconds: u64) -> Totals {
    let mut totals = waiting(On::PeerApplication, 2);
    totals.waits.unanswered.buckets[6] = 2;
    totals.waits.unanswered.sum = 2 * milliseconds;
    totals
}

#[test]
fn a_server_that_closes_after_each_answer_is_slow_by_the_age_of_requests() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[]);
    node.windows(12, &[(Arc::clone(&bad), unanswered(15))]);
    assert!(node.causes().is_empty());
    node.windows(4, &[(Arc::clone(&bad), unanswered(900))]);
    assert_eq!(node.causes(), ["slow_server"]);
}

#[test]
fn a_server_that_was_never_waited_for_and_hangs_is_slow() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    node.windows(4, &[(Arc::clone(&bad), unanswered(4_000))]);
    // No answer has come late: they may be lost on the way back.
    assert_eq!(node.active(), [("slow_server", Confidence::Medium, "web/db:8080".to_owned())]);
    let missing = &node.diagnosis.findings()[0].finding.missing_evidence;
    assert!(missing.iter().any(|missing| missing.why.contains("lost on the way back")), "{missing:?}");
}

#[test]
fn long_polls_are_not_slow() {
    let (polled, waited) = (edge("web", "events"), edge("web", "queue"));
    let mut node = Node::with_past(&[]);
    node.windows(40, &[(polled, answering(25_000)), (waited, unanswered(12_000))]);
    assert!(node.turns.is_empty(), "{:?}", node.turns);
}

#[test]
fn who_does_not_read_holds_data_up() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    node.windows(3, &[(bad, waiting(On::PeerWindow, 1))]);
    let dated = node.diagnosis.findings();
    assert_eq!(node.causes(), ["receiver_stalled"]);
    assert_eq!(dated[0].finding.side, Side::Server);
}

#[test]
fn a_full_accept_queue_explains_what_its_clients_see() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut syns = waiting(On::PeerWindow, 2);
    again(&mut syns, RetransmitKind::Syn, 12);
    syns.tcp.opened = 0;
    for number in 1..=3 {
        node.drops_handshakes("db", 20 * number);
        node.window(&[(Arc::clone(&bad), syns)]);
    }
    assert_eq!(node.active(), [("accept_queue_overflow", Confidence::High, "db:8080".to_owned())]);
    assert_eq!(node.diagnosis.findings()[0].finding.affected, [bad]);
}

#[test]
fn many_edges_of_one_server_are_one_finding() {
    let clients = ["a", "b", "c", "d"].map(|client| edge(client, "db"));
    let others = ["a", "b", "c", "d"].map(|client| edge(client, "cache"));
    let all: Vec<_> = clients.iter().chain(&others).map(Arc::clone).collect();
    let mut node = Node::with_past(&all);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 30);
    let bad = clients.iter().map(|edge| (Arc::clone(edge), lossy));
    let good = others.iter().map(|edge| (Arc::clone(edge), healthy()));
    let counted: Vec<_> = bad.chain(good).collect();
    node.windows(2, &counted);
    assert_eq!(node.active(), [("path_loss", Confidence::High, "db:8080".to_owned())]);
    assert_eq!(node.diagnosis.findings()[0].finding.affected_total, 4);
}

#[test]
fn a_fault_of_all_edges_is_the_nodes() {
    let pairs = [("a", "db"), ("b", "cache"), ("c", "queue"), ("d", "web")];
    let edges = pairs.map(|(source, destination)| edge(source, destination));
    let mut node = Node::with_past(&edges);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 30);
    let counted: Vec<_> = edges.iter().map(|edge| (Arc::clone(edge), lossy)).collect();
    node.windows(2, &counted);
    assert_eq!(node.active(), [("path_loss", Confidence::High, "node".to_owned())]);
}

#[test]
fn a_dns_server_that_answers_nothing_is_down() {
    let mut server = Edge::clone(&edge("web", "dns"));
    server.port = Some(53);
    let server = Arc::new(server);
    let mut node = Node::with_past(&[]);
    let mut answered = Totals::ZERO;
    answered.dns.queries[0] = 20;
    answered.dns.responses[0] = 20;
    answered.dns.duration.buckets[3] = 20;
    answered.dns.duration.sum = 20_000_000;
    node.windows(6, &[(Arc::clone(&server), answered)]);
    assert!(node.causes().is_empty());
    let mut slow = answered;
    (slow.dns.duration.buckets, slow.dns.duration.sum) = ([0; _], 20 * 400_000_000);
    slow.dns.duration.buckets[12] = 20;
    node.windows(4, &[(Arc::clone(&server), slow)]);
    assert_eq!(node.causes(), ["dns_server_slow"]);
    let mut dead = Totals::ZERO;
    dead.dns.queries[0] = 20;
    dead.dns.timeouts = 20;
    node.windows(6, &[(Arc::clone(&server), dead)]);
    assert!(node.causes().contains(&"dns_server_down"), "{:?}", node.active());
    let subject = Subject::DnsServer(finding::Pair::of(&server));
    assert!(node.diagnosis.findings().iter().any(|dated| dated.finding.subject == subject));
}

#[test]
fn nothing_at_all_is_no_finding() {
    let mut node = Node::with_past(&[]);
    node.windows(3, &[]);
    assert_eq!(node.diagnosis.watched().edges, 0);
    assert!(node.diagnosis.findings().is_empty());
}

#[test]
fn a_symptom_without_a_cause_is_said_to_have_none() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut failing = healthy();
    failing.tcp.connect_failures[ConnectFailure::Other as usize] = 20;
    node.windows(2, &[(bad, failing)]);
    assert!(node.causes().is_empty());
    let [symptom] = node.diagnosis.insufficient() else { panic!("{:?}", node.diagnosis.insufficient()) };
    assert_eq!(symptom.symptom, "web → db:8080: 40 of 60 connects failed");
}

#[test]
fn a_family_that_is_off_names_nothing() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    node.diagnosis = Diagnosis::new(vec![Family::Connect, Family::Dns]);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 30);
    node.windows(3, &[(bad, lossy)]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
}

#[test]
fn what_is_bad_from_the_begin_on_is_not_usual_soon() {
    let (refusing, lossy) = (edge("web", "db"), edge("web", "cache"));
    let mut refused = Totals::ZERO;
    refused.tcp.connect_failures[ConnectFailure::Refused as usize] = 50;
    let mut lost = healthy();
    again(&mut lost, RetransmitKind::Fast, 30);
    let mut node = Node::with_past(&[]);
    node.windows(60, &[(refusing, refused), (lossy, lost)]);
    assert_eq!(node.causes(), ["path_loss", "connection_refused"]);
    assert_eq!(node.turns.len(), 2, "{:?}", node.turns);
}
