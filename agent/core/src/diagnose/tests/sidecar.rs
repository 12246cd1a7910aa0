//! Whether a sidecar holds requests up, or what is behind it.

use netcause_common::flow::ConnectFailure;

use super::*;
use crate::enrich::sidecar::Direction;

/// The leg from an application to its sidecar, or from the sidecar to the application.
fn leg(workload: &str, direction: Direction, reporter: Reporter) -> Arc<Edge> {
    let via = Via::OwnSidecar(direction);
    Arc::new(Edge { reporter, port: None, via, ..(*edge(workload, workload)).clone() })
}

fn meshed(source: &str, destination: &str) -> Arc<Edge> {
    Arc::new(Edge { via: Via::Sidecar, ..(*edge(source, destination)).clone() })
}

/// Requests that are answered after so many milliseconds.
fn answered(after: u64) -> Totals {
    let mut totals = healthy();
    totals.waits.responses.buckets[0] = 10;
    totals.waits.responses.sum = 10 * after;
    totals
}

/// Answers take two seconds, and two connections wait for them on this.
fn late(on: On) -> Totals {
    let mut totals = answered(2000);
    totals.waits.waited_us[on as usize] = 10_000_000;
    totals.waits.unanswered.buckets[0] = 2;
    totals.waits.unanswered.sum = 2000;
    totals
}

#[test]
fn a_sidecar_that_does_not_accept_is_at_fault() {
    let leg = leg("web", Direction::Outbound, Reporter::Source);
    let mut node = Node::with_past(&[Arc::clone(&leg)]);
    let mut refused = Totals::ZERO;
    refused.tcp.connect_failures[ConnectFailure::Refused as usize] = 10;
    node.windows(2, &[(leg, refused)]);
    assert_eq!(node.active(), [("sidecar_fault", Confidence::High, "web/web".to_owned())]);
}

#[test]
fn a_late_sidecar_is_at_fault_unless_what_is_behind_it_is_late() {
    let own = leg("web", Direction::Outbound, Reporter::Source);
    let upstream = meshed("web", "db");
    let past = [(Arc::clone(&own), answered(10)), (Arc::clone(&upstream), answered(10))];
    let mut node = Node::with_past_of(&past);
    node.windows(4, &[(Arc::clone(&own), late(On::PeerApplication)), (Arc::clone(&upstream), answered(10))]);
    assert_eq!(node.active(), [("sidecar_fault", Confidence::Medium, "web/web".to_owned())]);

    let mut node = Node::with_past_of(&past);
    node.windows(4, &[(own, late(On::PeerApplication)), (upstream, late(On::PeerApplication))]);
    assert_eq!(node.active(), [("slow_server", Confidence::High, "web/db:8080".to_owned())]);
}

#[test]
fn what_is_behind_a_sidecar_and_has_no_cause_is_still_not_its_fault() {
    let own = leg("web", Direction::Outbound, Reporter::Source);
    let upstream = meshed("web", "db");
    let past = [(Arc::clone(&own), answered(10)), (Arc::clone(&upstream), answered(10))];
    let mut node = Node::with_past_of(&past);
    // The sidecar's connections wait for the network, and repeat nothing yet.
    let mut stuck = answered(10);
    stuck.waits.waited_us[On::Network as usize] = 8_000_000;
    node.windows(4, &[(own, late(On::PeerApplication)), (upstream, stuck)]);
    assert_eq!(node.causes(), ["upstream_of_sidecar"]);
}

#[test]
fn a_servers_sidecar_that_does_not_pass_requests_on_is_at_fault() {
    let served = other_end(&meshed("web", "db"));
    let inner = leg("db", Direction::Inbound, Reporter::Destination);
    let past = [(Arc::clone(&served), answered(10)), (Arc::clone(&inner), answered(10))];
    for (inside, cause) in [(answered(10), "sidecar_fault"), (late(On::LocalApplication), "slow_server")] {
        let mut node = Node::with_past_of(&past);
        node.windows(4, &[(Arc::clone(&served), late(On::LocalApplication)), (Arc::clone(&inner), inside)]);
        let findings = node.diagnosis.findings();
        let [Dated { finding, .. }] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!((finding.cause.label(), finding.side), (cause, Side::Server));
    }
}

#[test]
fn a_sidecar_that_reads_nothing_is_at_fault_though_nothing_comes_to_it() {
    let own = leg("web", Direction::Outbound, Reporter::Source);
    let (its_end, upstream) = (other_end(&own), meshed("web", "db"));
    let past = [(Arc::clone(&own), answered(10)), (Arc::clone(&upstream), answered(10))];
    let mut unread = Totals::ZERO;
    unread.waits.waited_us[On::LocalReader as usize] = 10_000_000;
    // Answers that it does not read any more are owed to it, as far as the kernel shows.
    let mut owed = Totals::ZERO;
    owed.waits.waited_us[On::PeerApplication as usize] = 8_000_000;
    // Or answers have come that it does not read.
    for behind in [owed, Totals { tcp: TcpCounters { sent_segments: 10, ..TcpCounters::ZERO }, ..unread }] {
        let mut node = Node::with_past_of(&past);
        let own = (Arc::clone(&own), late(On::PeerApplication));
        node.windows(4, &[own, (Arc::clone(&upstream), behind), (Arc::clone(&its_end), unread)]);
        assert_eq!(node.active(), [("sidecar_fault", Confidence::Medium, "web/web".to_owned())]);
    }
}

#[test]
fn a_sidecar_that_accepts_nothing_is_at_fault_unless_it_waits_itself() {
    let own = leg("web", Direction::Outbound, Reporter::Source);
    let upstream = meshed("web", "db");
    let past = [(Arc::clone(&own), answered(10)), (Arc::clone(&upstream), answered(10))];
    let judged = |port: u16, behind: Totals| {
        let mut node = Node::with_past_of(&past);
        node.diagnosis.set_sidecar_ports(vec![15001]);
        for _ in 0..4 {
            node.listeners.read([Found {
                id: 1,
                place: Place::Listener(Workload::plain("web"), Some(port)),
                totals: &[0; 5],
                levels: &[2, 100],
            }]);
            node.listeners.end_reading(Duration::from_secs(node.now + 5));
            node.window(&[(Arc::clone(&own), late(On::PeerApplication)), (Arc::clone(&upstream), behind)]);
        }
        node.active()
    };
    let fault = |confidence| vec![("sidecar_fault", confidence, "web/web".to_owned())];
    // Nothing comes to it any more: each request has a connection of its own, there as well.
    assert_eq!(judged(15001, Totals::ZERO), fault(Confidence::Medium));
    // The queue of the application itself says nothing of its sidecar.
    assert_eq!(judged(8080, Totals::ZERO), fault(Confidence::Low));
    // Its places are all taken by requests that a slow server owes answers to.
    assert_eq!(
        judged(15001, late(On::PeerApplication)),
        [("slow_server", Confidence::High, "web/db:8080".to_owned())]
    );
}

#[test]
fn a_sidecar_that_does_nothing_at_all_is_at_fault_on_a_busy_node_too() {
    let own = leg("web", Direction::Outbound, Reporter::Source);
    let (its_end, upstream) = (other_end(&own), meshed("web", "db"));
    let past = [(Arc::clone(&own), answered(10)), (Arc::clone(&upstream), answered(10))];
    let mut unread = Totals::ZERO;
    unread.waits.waited_us[On::LocalReader as usize] = 10_000_000;
    let still = Totals { tcp: TcpCounters::ZERO, ..late(On::PeerApplication) };
    // One that answers now and then may lack a CPU.
    for (leg, confidence) in [(still, Confidence::Medium), (late(On::PeerApplication), Confidence::Low)] {
        let mut node = Node::with_past_of(&past);
        node.read(&Place::Cpu, &[0]);
        for window in 1..=4 {
            node.read(&Place::Cpu, &[window * 4_900_000_000]);
            let upstream = (Arc::clone(&upstream), Totals::ZERO);
            node.window(&[(Arc::clone(&own), leg), upstream, (Arc::clone(&its_end), unread)]);
        }
        assert_eq!(node.active(), [("sidecar_fault", confidence, "web/web".to_owned())]);
    }
}
