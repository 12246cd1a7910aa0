use netcause_common::flow::{Counted, FlowKey, LimitedBy, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::histogram::{RTT_BOUNDS_US, bucket};

use super::*;
use crate::aggregate::turn::{On, WAIT_BOUNDS_MS};
use crate::expose::waiting::show;
use crate::ingest::{End, Role, Traffic};
use crate::testing::{Node, tcp};

/// A client's connection whose server has thought for so long, or has answered a while ago after so long.
fn connection(flow: FlowKey, thinks: bool, took: Duration) -> Connection {
    let (since_sent, since_received, speaker) = if thinks {
        (took, took + Duration::from_secs(1), End::Local)
    } else {
        (took + Duration::from_millis(100), Duration::from_millis(100), End::Peer)
    };
    Connection {
        flow,
        role: Role::Client,
        since_sent,
        since_received,
        since_acknowledged: since_sent,
        limited: None,
        round_trip: Duration::from_millis(1),
        has_unacknowledged: false,
        has_unsent: false,
        has_unread: false,
        is_peer_done: false,
        has_sent: true,
        has_received: true,
        traffic: None,
        has_retransmitted: false,
        queueing: None,
        is_unaccepted: false,
        speaker: Some(speaker),
        before: None,
    }
}

fn flow(number: u64) -> FlowKey {
    FlowKey { role: ROLE_CLIENT, protocol: PROTOCOL_TCP, ..tcp(number) }
}

/// Ends a sweep as the engine does.
fn end_sweep(node: &mut Node, waiting: &mut Waiting) {
    let ended = waiting.end_sweep(node.now);
    for (flow, found) in ended.flows {
        let flow = node.model.counting_for(&flow);
        let more = waiting.take(flow, found, ended.since_us);
        node.model.count(&flow, &more, node.now, node.names.is_contested(&flow));
    }
}

/// Sweeps, and reads the tables.
fn sweep(
    node: &mut Node,
    waiting: &mut Waiting,
    connections: &[Connection],
) -> Vec<crate::expose::budget::Shown> {
    for connection in connections {
        waiting.see(connection, node.now);
    }
    node.read();
    end_sweep(node, waiting);
    node.read();
    let mut shown = node.shown.clone();
    show(&mut shown, waiting, &node.model);
    shown
}

#[test]
fn each_sweep_adds_the_time_since_the_one_before() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    node.open(flow(1), 3);
    node.read();
    let took = Duration::from_millis(40);
    let all = [true, true, false].map(|thinks| connection(flow(1), thinks, took));
    let mut total = Duration::ZERO;
    for _ in 0..3 {
        let shown = sweep(&mut node, &mut waiting, &all);
        total = node.now.saturating_sub(Duration::from_secs(1));
        let waits = &shown[0].totals.waits;
        assert_eq!(u128::from(waits.waited_us[On::PeerApplication as usize]), 2 * total.as_micros());
        assert_eq!(u128::from(waits.waited_us[On::Idle as usize]), total.as_micros());
        assert_eq!(waits.waiting[On::PeerApplication as usize], 2);
        assert_eq!(waits.waiting.iter().sum::<u64>(), 3, "every connection is somewhere");
        assert_eq!(waits.responses.sum % 40, 0);
    }
    let waits = sweep(&mut node, &mut waiting, &[])[0].totals.waits;
    assert_eq!(u128::from(waits.waited_us[On::Idle as usize]), total.as_micros(), "counters stay");
    assert_eq!(waits.waiting, [0; On::COUNT], "the gauge does not");
    // Each sweep was the first of its connections, so each has its answer.
    assert_eq!((waits.responses.buckets[bucket(&WAIT_BOUNDS_MS, 40)], waits.responses.sum), (3, 120));
}

#[test]
fn a_connection_that_stands_still_is_observed_at_each_sweep_and_older() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    node.open(flow(1), 1);
    node.read();
    let stalled = |seconds| {
        let since = Duration::from_secs(seconds);
        let limited = Some((LimitedBy::Network, since));
        let acknowledged = Duration::from_secs(90);
        Connection {
            since_acknowledged: acknowledged,
            limited,
            has_unacknowledged: true,
            ..connection(flow(1), true, since)
        }
    };
    for seconds in [7, 17] {
        sweep(&mut node, &mut waiting, &[stalled(seconds)]);
    }
    let acknowledged = connection(flow(1), true, Duration::from_secs(27));
    let ages = sweep(&mut node, &mut waiting, &[acknowledged])[0].totals.waits.unacknowledged;
    assert_eq!((ages.sum, ages.buckets.iter().sum::<u64>()), (24_000, 2));
    assert_eq!([7_000, 17_000].map(|age| ages.buckets[bucket(&WAIT_BOUNDS_MS, age)]), [1, 1]);
}

#[test]
fn a_request_without_an_answer_is_observed_at_each_sweep_and_older() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    let server = FlowKey { role: ROLE_SERVER, ..flow(2) };
    for flow in [flow(1), server] {
        node.open(flow, 1);
    }
    node.read();
    let hangs = |seconds| {
        let client = connection(flow(1), true, Duration::from_secs(seconds));
        let (sent, received) = (client.since_sent, client.since_received);
        let server = Connection {
            flow: server,
            role: Role::Server,
            since_sent: received,
            since_received: sent,
            speaker: Some(End::Peer),
            ..client
        };
        [client, server]
    };
    sweep(&mut node, &mut waiting, &hangs(4));
    sweep(&mut node, &mut waiting, &hangs(7));
    let idle = connection(flow(1), false, Duration::from_secs(9));
    let shown = sweep(&mut node, &mut waiting, &[idle]);
    assert_eq!(shown.len(), 2);
    for shown in shown {
        let ages = shown.totals.waits.unanswered;
        let by_age = [4_000, 7_000].map(|age| ages.buckets[bucket(&WAIT_BOUNDS_MS, age)]);
        assert_eq!((ages.sum, by_age), (11_000, [1, 1]), "{shown:?}");
    }
}

/// A server may answer each connection's only request and close it, so that no sweep finds both ends' words on one.
#[test]
fn answers_on_connections_that_have_ended_count() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    node.open(flow(1), 1);
    node.read();
    let asks = connection(flow(1), true, Duration::from_secs(2));
    let asks = Connection { has_received: false, ..asks };
    let waits = |node: &mut Node, waiting: &mut Waiting, on: On| {
        sweep(node, waiting, &[asks])[0].totals.waits.waiting[on as usize]
    };
    let sends = TcpCounters { sent_bytes: 100, ..TcpCounters::ZERO };
    for counted in [TcpCounters::ZERO, sends] {
        waiting.count(&flow(1), &counted);
        assert_eq!(waits(&mut node, &mut waiting, On::Unknown), 1, "{counted:?}");
    }
    waiting.count(&flow(2), &TcpCounters { received_bytes: 9, ..sends });
    assert_eq!(waits(&mut node, &mut waiting, On::Unknown), 1, "of another flow");
    waiting.count(&flow(1), &TcpCounters { received_bytes: 9, ..TcpCounters::ZERO });
    assert_eq!(waits(&mut node, &mut waiting, On::PeerApplication), 1);
}

#[test]
fn used_connections_are_counted_with_their_queueing_delay() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    node.open(flow(1), 3);
    node.read();
    let idle = connection(flow(1), false, Duration::ZERO);
    let growth = Counted { sent_bytes: 5, ..Counted::default() };
    let traffic = Traffic { growth, minimum_round_trip: None };
    let used = Connection { traffic: Some(traffic), queueing: Some(Duration::from_micros(40)), ..idle };
    let bad = Connection { has_retransmitted: true, queueing: Some(Duration::from_millis(60)), ..used };
    let unmeasured = Connection { queueing: None, ..used };
    for turn in 1..=2 {
        let totals = sweep(&mut node, &mut waiting, &[idle, used, bad, unmeasured])[0].totals;
        assert_eq!((totals.tcp.sent_bytes, totals.tcp.rtt.sum), (15 * turn, 3000 * turn));
        let waits = totals.waits;
        assert_eq!(waits.used, [2 * turn, turn]);
        assert_eq!(waits.queueing.sum, 60_040 * turn);
        let by_time = [40, 60_000].map(|time| waits.queueing.buckets[bucket(&RTT_BOUNDS_US, time)]);
        assert_eq!(by_time, [turn, turn]);
        assert_eq!(waits.queueing.buckets.iter().sum::<u64>(), 2 * turn);
    }
}

#[test]
fn the_oldest_unaccepted_connection_of_each_listener_is_known() {
    let mut node = Node::new(1000);
    let mut waiting = Waiting::default();
    let listener = |port| QueueKey { local: flow(1).local, port, ..QueueKey::default() };
    let waits = |port, seconds| Connection {
        flow: FlowKey { service_port: port, ..flow(1) },
        role: Role::Server,
        since_sent: Duration::from_secs(seconds),
        is_unaccepted: true,
        ..connection(flow(1), false, Duration::ZERO)
    };
    let accepted = Connection { is_unaccepted: false, ..waits(80, 90) };
    sweep(&mut node, &mut waiting, &[waits(80, 3), waits(80, 7), waits(80, 5), accepted, waits(81, 1)]);
    let oldest =
        |waiting: &Waiting| [80, 81, 82].map(|port| waiting.oldest_unaccepted(&listener(port)).as_secs());
    assert_eq!(oldest(&waiting), [7, 1, 0]);
    sweep(&mut node, &mut waiting, &[waits(81, 2)]);
    assert_eq!(oldest(&waiting), [0, 2, 0], "accepted meanwhile");
}

#[test]
fn folded_flows_and_edges_wait_in_other() {
    let mut waiting = Waiting::default();
    waiting.begin(Duration::ZERO);
    // Without room for any edge.
    let mut node = Node::new(1);
    node.open(flow(1), 1);
    node.open(flow(2), 1);
    node.read();
    let took = Duration::from_secs(2);
    let unknown = FlowKey { service_port: 9, ..flow(3) };
    let all = [flow(1), flow(2), unknown].map(|flow| connection(flow, true, took));
    let shown = sweep(&mut node, &mut waiting, &all);
    let waits = |on: On| shown.iter().map(|shown| shown.totals.waits.waiting[on as usize]).sum::<u64>();
    assert_eq!(waits(On::PeerApplication), 3, "{shown:?}");
}

/// Sampling is right on average, whatever the length of the waits: a tenth of a sweep's gap, or several.
#[test]
fn sampled_seconds_are_true_on_average() {
    for (think, pause) in [(70, 930), (900, 300), (4700, 9100)] {
        let mut node = Node::new(1000);
        let mut waiting = Waiting::default();
        waiting.begin(Duration::ZERO);
        node.open(flow(1), 1);
        node.read();
        node.now = Duration::ZERO;
        let mut state = 7_u64;
        for _ in 0..40_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            node.now += Duration::from_millis(1000 + (state >> 33) % 1000);
            let phase = u64::try_from(node.now.as_millis()).unwrap() % (think + pause);
            let thinks = phase < think;
            waiting.see(&connection(flow(1), thinks, Duration::from_millis(phase)), node.now);
            end_sweep(&mut node, &mut waiting);
        }
        let (_, entry) = node.model.edges().next().unwrap();
        let waited = entry.totals().unpack().waits.waited_us[On::PeerApplication as usize] as f64 / 1e6;
        let truth = node.now.as_secs_f64() * think as f64 / (think + pause) as f64;
        assert!((waited / truth - 1.0).abs() < 0.08, "{waited} s of {truth} s at {think} ms");
    }
}
