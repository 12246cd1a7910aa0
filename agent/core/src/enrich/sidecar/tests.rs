use netcause_common::flow::FlowKey;

use super::*;
use Direction::{Inbound, Outbound};
use Role::{Client, Server};

const APP: u64 = 1;
const ENVOY: u64 = 2;
const OTHER_POD: u64 = 3;
/// Another container of the pod.
const AGENT: u64 = 4;
/// Addresses: the pod's own, another pod's, loopback, and what Envoy binds to for connections into its pod.
const OWN: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 2];
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const PASSED_ON: [u8; 4] = [127, 0, 0, 6];

fn pod(digit: u8) -> PodUid {
    format!("{digit}0000000-0000-4000-8000-000000000000").parse().unwrap()
}

fn sidecars() -> Sidecars {
    let mut sidecars = Sidecars::new(vec![15001, 15006]);
    assert!(sidecars.listens(ENVOY, Some(pod(1)), 15001));
    assert!(!sidecars.listens(ENVOY, Some(pod(1)), 15006), "that is no news");
    sidecars
}

fn leg<'a>(local: u64, role: Role, address: [u8; 4], port: u16) -> Leg<'a> {
    let pod = Some(if local == OTHER_POD { pod(2) } else { pod(1) });
    let is_own = address[0] == 127 || address == OWN && local != OTHER_POD;
    Leg { local, pod, role, address: address.into(), port, is_own, service: None }
}

impl Sidecars {
    /// Opens connections, each flow's after it was observed, and ends a reading and a quiet one.
    fn open(&mut self, opened: &[(Leg<'_>, u64)]) {
        for (leg, connections) in opened {
            drop(self.observe(leg));
            self.count(leg, *connections);
        }
        drop((self.settle(), self.settle()));
    }
}

#[test]
fn legs_over_loopback_differ_from_those_to_other_pods() {
    let sidecars = sidecars();
    for (local, role, address, port, expected) in [
        // Out: the workload connects to its sidecar, and that to the other pod.
        (APP, Client, LOOPBACK, 15001, Via::OwnSidecar(Outbound)),
        (ENVOY, Server, LOOPBACK, 15001, Via::OwnSidecar(Outbound)),
        (ENVOY, Server, OWN, 15001, Via::OwnSidecar(Outbound)),
        (ENVOY, Client, PEER, 8080, Via::Sidecar),
        // In: the other pod's connection is redirected to the sidecar, which connects to the workload.
        (ENVOY, Server, PEER, 15006, Via::Sidecar),
        (ENVOY, Client, OWN, 8080, Via::OwnSidecar(Inbound)),
        // The pod's own service: out to the sidecar, and from the sidecar to itself.
        (ENVOY, Server, OWN, 15006, Via::OwnSidecar(Inbound)),
        // Its own metrics and health.
        (ENVOY, Server, PEER, 15090, Via::Direct),
        // No evidence that it is redirected.
        (APP, Client, PEER, 5432, Via::Direct),
        (APP, Server, PEER, 8080, Via::Direct),
        // Without a sidecar.
        (OTHER_POD, Client, PEER, 8080, Via::Direct),
        (OTHER_POD, Client, LOOPBACK, 8080, Via::Direct),
    ] {
        let via = sidecars.via(&leg(local, role, address, port));
        assert_eq!(via, expected, "{local} {role:?} {address:?} {port}");
    }
}

#[test]
fn until_counted_what_the_sidecar_has_connected_to_is_redirected() {
    let mut sidecars = sidecars();
    let to = |port| leg(APP, Client, PEER, port);
    assert_eq!(sidecars.via(&to(80)), Via::Direct);
    assert!(sidecars.observe(&to(80)).is_empty(), "no sidecar's");
    assert_eq!(sidecars.observe(&leg(ENVOY, Client, PEER, 80)), [APP]);
    assert!(sidecars.observe(&leg(ENVOY, Client, PEER, 80)).is_empty(), "that is no news");
    assert_eq!(sidecars.via(&to(80)), Via::OwnSidecar(Outbound));
    assert_eq!(sidecars.via(&to(9090)), Via::Direct, "another port of the same pod");
    // By the service, whose address leads to another one.
    let service = Name::new("shop", "web");
    let by_service = Leg { service: Some(&service), ..leg(APP, Client, [10, 96, 0, 1], 80) };
    assert_eq!(sidecars.via(&by_service), Via::Direct);
    let known = Leg { service: Some(&service), ..leg(ENVOY, Client, [10, 0, 0, 3], 8080) };
    assert_eq!(sidecars.observe(&known), [APP]);
    assert_eq!(sidecars.via(&by_service), Via::OwnSidecar(Outbound));
}

#[test]
fn what_the_sidecar_accepted_tells_who_was_redirected() {
    let mut sidecars = sidecars();
    let accepted = leg(ENVOY, Server, OWN, 15001);
    // It answers itself, for a service without endpoints: nothing is sent on.
    let stock = leg(APP, Client, [10, 96, 0, 2], 80);
    sidecars.open(&[(stock, 4), (accepted, 4)]);
    assert_eq!(sidecars.via(&stock), Via::OwnSidecar(Outbound));
    // An excluded port, then one more connection through the sidecar to the same pod.
    let excluded = leg(APP, Client, PEER, 9090);
    sidecars.open(&[(excluded, 5)]);
    let (redirected, sent_on) = (leg(APP, Client, PEER, 8080), leg(ENVOY, Client, PEER, 8080));
    sidecars.open(&[(redirected, 1), (accepted, 1), (sent_on, 1)]);
    assert_eq!(sidecars.via(&excluded), Via::Direct);
    assert_eq!(sidecars.via(&redirected), Via::OwnSidecar(Outbound));
    // An excluded user at the same address and port, at the same time.
    let of_user = leg(AGENT, Client, PEER, 8080);
    sidecars.open(&[(of_user, 7), (redirected, 2), (accepted, 2), (sent_on, 1)]);
    assert_eq!(sidecars.via(&of_user), Via::Direct);
    assert_eq!(sidecars.via(&redirected), Via::OwnSidecar(Outbound));
    // What it has not connected to as yet is no more redirected.
    drop(sidecars.observe(&leg(ENVOY, Client, PEER, 7000)));
    assert_eq!(sidecars.via(&leg(AGENT, Client, PEER, 7000)), Via::Direct);
    assert_eq!(sidecars.via(&leg(APP, Client, PEER, 7000)), Via::OwnSidecar(Outbound));
    // What is sent to the sidecar's port itself is of no other flow.
    let dialled = leg(APP, Client, LOOPBACK, 15001);
    sidecars.open(&[(dialled, 3), (leg(ENVOY, Server, LOOPBACK, 15001), 3), (excluded, 3)]);
    assert_eq!(sidecars.via(&excluded), Via::Direct);
}

#[test]
fn what_was_opened_waits_for_the_end_of_the_reading() {
    let mut sidecars = sidecars();
    let flow = FlowKey { service_port: 80, ..FlowKey::default() };
    sidecars.opened(&flow, 5);
    // Its cgroup is looked up, or never found.
    for _ in 0..MAX_WAITING {
        assert_eq!(sidecars.take_opened(|_| false), None);
    }
    assert_eq!(sidecars.take_opened(|_| false), Some(vec![(flow, 5)]));
    sidecars.opened(&flow, 6);
    assert_eq!(sidecars.take_opened(|_| true), Some(vec![(flow, 6)]));
    assert_eq!(sidecars.take_opened(|_| true), Some(Vec::new()));
    let redirected = leg(APP, Client, PEER, 80);
    sidecars.count(&redirected, 5);
    for _ in 0..=MAX_OPENED + 9 {
        sidecars.opened(&flow, 5);
    }
    assert_eq!(sidecars.take_opened(|_| false), Some(Vec::new()), "too many to compare");
    drop((sidecars.settle(), sidecars.settle()));
    drop(sidecars.observe(&leg(ENVOY, Client, PEER, 80)));
    assert_eq!(sidecars.via(&redirected), Via::OwnSidecar(Outbound), "its counts say nothing");
    let mut none = Sidecars::default();
    none.opened(&flow, 5);
    assert_eq!(none.take_opened(|_| false), Some(Vec::new()));
}

#[test]
fn a_workload_is_a_server_to_its_sidecar_where_that_connects_to() {
    let mut sidecars = sidecars();
    let served = leg(APP, Server, LOOPBACK, 8080);
    assert_eq!(sidecars.via(&served), Via::Direct, "another container of the pod may be its client");
    assert!(sidecars.observe(&served).is_empty());
    assert_eq!(sidecars.observe(&leg(ENVOY, Client, LOOPBACK, 8080)), [APP, ENVOY]);
    assert_eq!(sidecars.via(&served), Via::OwnSidecar(Inbound));
    assert_eq!(sidecars.via(&leg(APP, Server, LOOPBACK, 9090)), Via::Direct);
    // From the pod's own address it is the workload that calls itself, unless the counts say otherwise.
    let (from_itself, passed_on) = (leg(APP, Server, OWN, 8080), leg(APP, Server, PASSED_ON, 8080));
    assert_eq!(sidecars.via(&from_itself), Via::Direct);
    let (calls_itself, passes_on) = (leg(APP, Client, OWN, 8080), leg(ENVOY, Client, OWN, 8080));
    sidecars.open(&[(calls_itself, 5), (from_itself, 5)]);
    sidecars.open(&[(passes_on, 3), (passed_on, 3)]);
    assert_eq!(sidecars.via(&calls_itself), Via::Direct);
    assert_eq!(sidecars.via(&from_itself), Via::Direct);
    assert_eq!(sidecars.via(&passed_on), Via::OwnSidecar(Inbound));
    // A container that calls another one over loopback, where the sidecar does so, too.
    sidecars.open(&[(leg(AGENT, Client, LOOPBACK, 8080), 6), (leg(APP, Server, LOOPBACK, 8080), 6)]);
    assert_eq!(sidecars.via(&served), Via::Direct);
}

#[test]
fn a_sidecar_that_asks_itself_has_no_inbound_leg() {
    let mut sidecars = sidecars();
    let asks = leg(ENVOY, Client, LOOPBACK, 15020);
    drop(sidecars.observe(&asks));
    assert_eq!(sidecars.via(&asks), Via::OwnSidecar(Inbound));
    assert!(sidecars.listens(ENVOY, Some(pod(1)), 15020), "the leg was taken for another one");
    assert!(!sidecars.listens(ENVOY, Some(pod(1)), 15020));
    assert_eq!(sidecars.via(&asks), Via::Direct);
    // A sidecar at the pod's address, before a workload at the same port of loopback.
    assert!(sidecars.listens(APP, Some(pod(1)), 15020));
    assert_eq!(sidecars.via(&asks), Via::OwnSidecar(Inbound));
    assert!(!sidecars.listens(OTHER_POD, Some(pod(2)), 15020));
}

#[test]
fn the_port_of_redirected_connections_is_the_only_one_that_is_served() {
    let mut sidecars = sidecars();
    let redirected = leg(ENVOY, Server, PEER, 15006);
    assert_eq!(sidecars.served_port(&redirected), None);
    assert!(sidecars.observe(&leg(ENVOY, Client, OWN, 8080)).contains(&ENVOY));
    assert_eq!(sidecars.served_port(&redirected), Some(8080));
    assert_eq!(sidecars.served_port(&leg(ENVOY, Server, PEER, 15090)), None);
    assert_eq!(sidecars.served_port(&leg(ENVOY, Client, PEER, 15006)), None);
    // Its own health does not count.
    drop(sidecars.observe(&leg(ENVOY, Client, LOOPBACK, 15020)));
    assert_eq!(sidecars.served_port(&redirected), None);
    sidecars.listens(ENVOY, Some(pod(1)), 15020);
    assert_eq!(sidecars.served_port(&redirected), Some(8080));
    drop(sidecars.observe(&leg(ENVOY, Client, OWN, 9000)));
    assert_eq!(sidecars.served_port(&redirected), None);
}

#[test]
fn a_sidecar_is_forgotten_with_its_flows() {
    let mut sidecars = sidecars();
    let redirected = leg(APP, Client, PEER, 80);
    drop(sidecars.observe(&leg(ENVOY, Client, PEER, 80)));
    sidecars.open(&[(redirected, 1), (leg(ENVOY, Server, OWN, 15001), 1)]);
    assert_eq!(sidecars.beside(ENVOY).collect::<Vec<_>>(), [APP]);
    sidecars.retain(|_| true, |_| false);
    assert_eq!(sidecars.via(&redirected), Via::Direct, "nothing is known of that address");
    sidecars.retain(|local| local != ENVOY, |_| true);
    assert!(sidecars.is_empty() && sidecars.by_pod.is_empty());
    for number in 0..MAX_PODS as u64 + 5 {
        sidecars.listens(number, None, 15001);
    }
    assert_eq!(sidecars.pods.len(), MAX_PODS);
}
