use super::*;

const APP: u64 = 1;
const ENVOY: u64 = 2;
const OTHER_POD: u64 = 3;

fn pod(digit: u8) -> PodUid {
    format!("{digit}0000000-0000-4000-8000-000000000000").parse().unwrap()
}

fn sidecars() -> Sidecars {
    let mut sidecars = Sidecars::new(vec![15001, 15006]);
    assert!(sidecars.learn(ENVOY, Some(pod(1))));
    assert!(!sidecars.learn(ENVOY, Some(pod(1))), "that is no news");
    sidecars
}

fn leg<'a>(local: u64, role: Role, port: u16, is_own: bool, remote: &'a Workload) -> Leg<'a> {
    let pod = Some(if local == OTHER_POD { pod(2) } else { pod(1) });
    Leg { local, pod, role, port, is_own, remote, service: None }
}

#[test]
fn legs_over_loopback_differ_from_those_to_other_pods() {
    let sidecars = sidecars();
    let peer = Workload::plain("peer");
    use Direction::{Inbound, Outbound};
    use Role::{Client, Server};
    for (local, role, port, is_own, expected) in [
        // Out: the workload connects to its sidecar, and that to the other pod.
        (APP, Client, 15001, true, Via::OwnSidecar(Outbound)),
        (ENVOY, Server, 15001, true, Via::OwnSidecar(Outbound)),
        (ENVOY, Client, 8080, false, Via::Sidecar),
        // In: the other pod's connection is redirected to the sidecar, which connects to the workload.
        (ENVOY, Server, 15006, false, Via::Sidecar),
        (ENVOY, Client, 8080, true, Via::OwnSidecar(Inbound)),
        // Its own metrics and health.
        (ENVOY, Server, 15090, false, Via::Direct),
        // No evidence that it is redirected.
        (APP, Client, 5432, false, Via::Direct),
        (APP, Server, 8080, false, Via::Direct),
        // Without a sidecar.
        (OTHER_POD, Client, 8080, false, Via::Direct),
        (OTHER_POD, Client, 8080, true, Via::Direct),
    ] {
        let via = sidecars.via(&leg(local, role, port, is_own, &peer));
        assert_eq!(via, expected, "{local} {role:?} {port} {is_own}");
    }
}

#[test]
fn what_is_redirected_is_known_by_the_sidecars_own_connection() {
    let mut sidecars = sidecars();
    let (db, web) = (Workload::plain("db"), Workload::plain("web"));
    let service = Name::new("shop", "web");
    let to = |remote, service| Leg { service, ..leg(APP, Role::Client, 80, false, remote) };
    assert_eq!(sidecars.via(&to(&web, None)), Via::Direct);
    assert!(sidecars.observe(&to(&web, None)).is_empty(), "no sidecar's");
    assert_eq!(sidecars.observe(&leg(ENVOY, Role::Client, 8080, false, &web)), [APP]);
    assert!(sidecars.observe(&leg(ENVOY, Role::Client, 8081, false, &web)).is_empty(), "that is no news");
    assert!(sidecars.observe(&leg(APP, Role::Client, 80, false, &db)).is_empty(), "no sidecar says so");
    assert_eq!(sidecars.via(&to(&web, None)), Via::OwnSidecar(Direction::Outbound));
    // Excluded from the redirection.
    assert_eq!(sidecars.via(&to(&db, None)), Via::Direct);
    // By the service, where what stands behind it is not known.
    assert_eq!(sidecars.via(&to(&Workload::Backend, Some(&service))), Via::Direct);
    let known = Leg { service: Some(&service), ..leg(ENVOY, Role::Client, 8080, false, &Workload::Backend) };
    assert_eq!(sidecars.observe(&known), [APP]);
    assert_eq!(sidecars.via(&to(&Workload::Backend, Some(&service))), Via::OwnSidecar(Direction::Outbound));
    // Many are outside: that two are says nothing.
    drop(sidecars.observe(&leg(ENVOY, Role::Client, 443, false, &Workload::External)));
    assert_eq!(sidecars.via(&to(&Workload::External, None)), Via::Direct);
}

#[test]
fn a_workload_is_a_server_to_its_sidecar_where_that_connects_to() {
    let mut sidecars = sidecars();
    let own = Workload::plain("app");
    let served = leg(APP, Role::Server, 8080, true, &own);
    assert_eq!(sidecars.via(&served), Via::Direct, "another container of the pod may be its client");
    assert!(sidecars.observe(&served).is_empty());
    assert_eq!(sidecars.observe(&leg(ENVOY, Role::Client, 8080, true, &own)), [APP]);
    assert_eq!(sidecars.via(&served), Via::OwnSidecar(Direction::Inbound));
    let other = leg(APP, Role::Server, 9090, true, &own);
    assert_eq!(sidecars.via(&other), Via::Direct);
}

#[test]
fn a_sidecar_is_forgotten_with_its_flows() {
    let mut sidecars = sidecars();
    let own = Workload::plain("app");
    drop(sidecars.observe(&leg(ENVOY, Role::Client, 8080, true, &own)));
    sidecars.retain(|local| local != ENVOY);
    assert!(sidecars.is_empty() && sidecars.by_pod.is_empty());
    for number in 0..MAX_PODS as u64 + 5 {
        sidecars.learn(number, None);
    }
    assert_eq!(sidecars.pods.len(), MAX_PODS);
}
