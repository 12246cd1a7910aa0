//! A service leads to one workload after the other, and to none or several in between. Who is shown is compared with where it
//! led when something was sent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The service's address.
const SERVICE: u8 = 77;
/// Pods behind it, each of its own workload.
const PODS: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// So many segments are sent; by a flow of its own.
    Send { flow: u64, segments: u64 },
    /// The service leads to these pods, by bits, from now on.
    Lead(u8),
    /// Nothing happens for so many seconds.
    Wait(u64),
    /// The tables are read.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..3, 1_u64..9).prop_map(|(flow, segments)| Step::Send { flow, segments }),
        2 => (0_u8..1 << PODS).prop_map(Step::Lead),
        1 => (0_u64..20).prop_map(Step::Wait),
        1 => Just(Step::Read),
    ]
}

fn name(pods: u8) -> String {
    match pods.count_ones() {
        0 => "unknown".to_owned(),
        1 => format!("pod-{}", pods.trailing_zeros()),
        _ => "several".to_owned(),
    }
}

/// The kernel's tables and the daemon that reads them.
struct Node {
    player: Player,
    unread: BTreeMap<u64, u64>,
    announced: BTreeSet<u64>,
}

impl Node {
    fn key(number: u64) -> FlowKey {
        flow(CGROUP + number, SERVICE)
    }

    fn read(&mut self) {
        for (number, segments) in std::mem::take(&mut self.unread) {
            self.player.sent(Self::key(number), segments);
        }
        self.player.engine.take_cgroup_questions();
        self.player.play(Input::ReadingEnded);
    }

    fn change(&mut self, change: Change) {
        self.player.change(change);
        while let Some(output) = self.player.engine.poll() {
            if matches!(output, Output::Read) {
                self.read();
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send { flow, segments } => {
                *self.unread.entry(*flow).or_default() += segments;
                if self.announced.insert(*flow) {
                    let at = Duration::from_secs(self.player.seconds);
                    let flow = Self::key(*flow);
                    self.player.play(Input::Event(Event::NewFlow { at, flow, client_port: 4000, own: None }));
                }
            }
            Step::Lead(pods) => {
                let addresses: Vec<_> =
                    (0..PODS).map(|pod| (format!("10.0.0.{}", 11 + pod), pod + 1)).collect();
                let behind: Vec<_> = (0..PODS)
                    .filter(|pod| pods & 1 << pod != 0)
                    .map(|pod| &addresses[usize::from(pod)])
                    .map(|(address, number)| (address.as_str(), *number))
                    .collect();
                self.change(endpoints("shop", &behind));
            }
            Step::Wait(seconds) => self.player.seconds += seconds,
            Step::Read => self.read(),
        }
    }

    fn shown(&self) -> BTreeMap<String, u64> {
        let mut shown = BTreeMap::new();
        for (_, entry) in self.player.engine.model().edges() {
            let sent = entry.totals().unpack().tcp.sent_segments;
            if sent > 0 {
                *shown.entry(entry.edge().destination.to_string()).or_default() += sent;
            }
        }
        shown
    }
}

/// Plays all steps at a service that leads to the pods `first`; returns what is shown in the end, and what is right. Pods that
/// are `late` are reported after everything.
fn play(first: u8, late: u8, steps: &[Step]) -> [BTreeMap<String, u64>; 2] {
    let mut node = Node { player: Player::new(), unread: BTreeMap::new(), announced: BTreeSet::new() };
    let report = |node: &mut Node, is_late: bool| {
        for number in (0..PODS).filter(|number| (late & 1 << number != 0) == is_late) {
            let pod = pod(number + 1, &format!("pod-{number}"), &format!("10.0.0.{}", 11 + number));
            node.change(Change::ApplyPod(Box::new(pod)));
        }
    };
    report(&mut node, false);
    node.change(service("shop", "10.0.0.77"));
    node.step(&Step::Lead(first));
    let mut leads = first;
    let mut right: BTreeMap<String, u64> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Lead(pods) => leads = *pods,
            Step::Send { segments, .. } => *right.entry(name(leads)).or_default() += segments,
            Step::Wait(_) | Step::Read => {}
        }
        // Changes and observations are in order within a second, but where a service leads is dated in seconds.
        node.player.seconds += 1;
        node.step(step);
    }
    report(&mut node, true);
    node.read();
    node.read();
    [node.shown(), right]
}

#[test]
fn a_client_that_is_named_after_the_service_has_moved_has_its_past() {
    let mut node = Node { player: Player::new(), unread: BTreeMap::new(), announced: BTreeSet::new() };
    node.change(Change::ApplyPod(Box::new(pod(1, "blue", "10.0.0.11"))));
    node.change(service("shop", "10.0.0.77"));
    // The service leads nowhere, and then to a pod; who the client is, is known only after that.
    for (leads, segments) in [(0, 4), (1, 3)] {
        node.step(&Step::Lead(leads));
        node.player.seconds += 1;
        node.step(&Step::Send { flow: 0, segments });
        node.read();
        node.player.seconds += 5;
    }
    let path = Some(b"system.slice/web.service".as_slice());
    node.player.play(Input::Cgroup { id: CGROUP, path });
    node.read();
    node.read();
    let mut edges = node.player.edges();
    edges.retain(|edge| !edge.ends_with(": 0"));
    edges.sort_unstable();
    assert_eq!(edges, ["web.service -> blue: 3", "web.service -> unknown: 4"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Each workload has what was sent while the service led to it; what was sent while it led nowhere has no name.
    #[test]
    fn each_has_what_was_sent_while_the_service_led_to_it(
        first in 0_u8..1 << PODS,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let [shown, right] = play(first, 0, &steps);
        prop_assert_eq!(shown, right);
    }

    /// Pods that are reported late have their own, and nothing else, or it has no name.
    #[test]
    fn none_has_what_another_was_sent_when_pods_are_late(
        first in 0_u8..1 << PODS,
        late in 1_u8..1 << PODS,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let [shown, right] = play(first, late, &steps);
        prop_assert_eq!(shown.values().sum::<u64>(), right.values().sum::<u64>());
        for (name, sent) in shown.iter().filter(|(name, _)| *name != "unknown") {
            let most = right.get(name).copied().unwrap_or_default();
            prop_assert!(*sent <= most, "{}: {:?}, right is {:?}", name, &shown, &right);
        }
    }
}
