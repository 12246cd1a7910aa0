use super::*;

const ADDRESS: &str = "10.0.0.1";

#[test]
fn a_pod_holds_its_address_from_when_it_was_made_until_it_is_gone() {
    let mut directory = directory();
    let effects = directory.apply_pod(pod(1, START, &[ADDRESS]), START + 20);
    assert_eq!((effects.addresses, effects.pods), (vec![ip(ADDRESS)], vec![uid(1)]));
    assert_eq!(directory.apply_pod(pod(1, START, &[ADDRESS]), START + 21), Effects::default());
    assert_eq!(directory.holder_name(ADDRESS, START + 1), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START - 4), None, "it was not there");
    assert_eq!(directory.holder_name("10.0.0.2", START + 1), None);
    let holder = directory.holder(ip("::ffff:10.0.0.1"), START + 1).unwrap();
    assert_eq!(holder.since, START - 3, "but for the clocks");
    assert_eq!(directory.delete_pod(1, START + 50).addresses, [ip(ADDRESS)]);
    assert_eq!(directory.holder_name(ADDRESS, START + 49), Some("pod-1"), "what happened then was its");
    assert_eq!(directory.holder_name(ADDRESS, START + 51), None);
    assert!(directory.pod(&uid(1)).unwrap().is_gone);
    directory.expire(START + 50 + 300);
    assert_eq!(directory.workload(1), Some("pod-1"), "in its time of grace");
    directory.expire(START + 50 + 301);
    assert_eq!((directory.workload(1), directory.holder_name(ADDRESS, START + 49)), (None, None));
}

#[test]
fn an_address_that_comes_late_was_not_held_before() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[]), START + 100);
    directory.apply_pod(pod(1, START, &[ADDRESS]), START + 102);
    assert_eq!(directory.holder_name(ADDRESS, START + 50), None, "it was reported without the address");
    assert_eq!(directory.holder_name(ADDRESS, START + 103), Some("pod-1"));
}

#[test]
fn a_pod_of_both_families_holds_both() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[ADDRESS]), START);
    let effects = directory.apply_pod(pod(1, START, &[ADDRESS, "fd00::1"]), START + 60);
    assert_eq!(effects.addresses, [ip("fd00::1")]);
    assert_eq!(directory.holder_name("fd00::1", START + 61), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START + 61), Some("pod-1"));
    assert_eq!(directory.holder_name("fd00::1", START - 20), None);
    directory.apply_pod(pod(1, START, &["fd00::1"]), START + 80);
    assert_eq!(directory.holder_name(ADDRESS, START + 81), None);
    assert_eq!(directory.holder_name("fd00::1", START + 81), Some("pod-1"));
}

#[test]
fn a_completed_job_gives_its_address_back_when_it_ended() {
    let mut directory = directory();
    let done = Pod { until: Some(START + 30), has_ended: true, ..pod(1, START, &[ADDRESS]) };
    directory.apply_pod(pod(1, START, &[ADDRESS]), START + 1);
    directory.apply_pod(done.clone(), START + 45);
    assert_eq!(directory.holder_name(ADDRESS, START + 25), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START + 34), None);
    directory.apply_pod(pod(2, START + 38, &[ADDRESS]), START + 46);
    assert_eq!(directory.holder_name(ADDRESS, START + 25), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START + 47), Some("pod-2"));
    directory.apply_pod(done, START + 48);
    assert_eq!(
        directory.holder_name(ADDRESS, START + 49),
        Some("pod-2"),
        "it is listed with its address for long"
    );
    assert_eq!(directory.workload(1), Some("pod-1"));
}

#[test]
fn what_is_told_only_when_it_has_ended_held_its_address_too() {
    let mut directory = directory();
    let until = Some(START + 30);
    directory.apply_pod(Pod { until, has_ended: true, ..pod(1, START, &[ADDRESS]) }, START + 45);
    assert_eq!(directory.holder_name(ADDRESS, START + 25), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START + 40), None);
    directory.apply_pod(Pod { has_ended: true, ..pod(2, START, &["10.0.0.2"]) }, START + 45);
    assert_eq!(directory.holder_name("10.0.0.2", START + 25), None, "the end is unknown");
}

#[test]
fn a_pod_that_has_ended_at_no_known_time_ends_when_it_is_told() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[ADDRESS]), START);
    directory.apply_pod(Pod { has_ended: true, ..pod(1, START, &[ADDRESS]) }, START + 40);
    assert_eq!(directory.holder_name(ADDRESS, START + 20), Some("pod-1"));
    assert_eq!(directory.holder_name(ADDRESS, START + 41), None);
}

#[test]
fn an_address_used_again_before_the_end_was_told() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[ADDRESS]), START);
    directory.apply_pod(pod(2, START + 100, &[]), START + 100);
    directory.apply_pod(pod(2, START + 100, &[ADDRESS]), START + 102);
    assert_eq!(directory.holder_name(ADDRESS, START + 103), Some("pod-2"));
    assert_eq!(directory.holder_name(ADDRESS, START + 101), None, "whose it was is not known");
    assert_eq!(directory.holder_name(ADDRESS, START + 60), Some("pod-1"));
    directory.expire(START + 150);
    assert_eq!(
        directory.holder_name(ADDRESS, START + 103),
        Some("pod-2"),
        "although the end of the other was never reported"
    );
    directory.delete_pod(1, START + 154);
    for (at, who) in [(60, Some("pod-1")), (103, Some("pod-2")), (200, Some("pod-2"))] {
        assert_eq!(directory.holder_name(ADDRESS, START + at), who, "{at}");
    }
}

#[test]
fn who_was_first_is_not_known_at_once() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[ADDRESS]), START);
    directory.apply_pod(pod(2, START - 20, &[ADDRESS]), START + 5);
    directory.expire(START + 9);
    assert_eq!(
        directory.holder_name(ADDRESS, START + 7),
        None,
        "the first one may have ended without a report yet"
    );
    directory.delete_pod(2, START + 10);
    directory.expire(START + 20);
    assert_eq!(directory.holder_name(ADDRESS, START + 7), Some("pod-1"), "but the second one has");
}

#[test]
fn an_address_used_again_after_the_end_was_told() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &[ADDRESS]), START);
    directory.delete_pod(1, START + 100);
    directory.apply_pod(pod(2, START + 104, &[ADDRESS]), START + 106);
    for (at, who) in [(99, Some("pod-1")), (104, Some("pod-2")), (106, Some("pod-2"))] {
        assert_eq!(directory.holder_name(ADDRESS, START + at), who, "{at}");
    }
}

#[test]
fn the_pods_of_a_nodes_network_do_not_hold_its_address() {
    let mut directory = directory();
    let host = Pod { is_host_network: true, node: Some("worker-1".into()), ..pod(1, START, &["192.0.2.1"]) };
    directory.apply_pod(host, START);
    assert_eq!(directory.holder_name("192.0.2.1", START), None);
    let effects = directory.change(Change::ApplyNode(Box::new(node("worker-1", &["192.0.2.1"]))), START + 5);
    assert_eq!(effects.addresses.first(), Some(&ip("192.0.2.1")));
    let holder = directory.holder(ip("192.0.2.1"), START + 9).unwrap();
    let HolderRef::Node(node) = holder.entity else { panic!("{holder:?}") };
    assert_eq!((node.name, node.zone), ("worker-1", Some("zone-a")));
    let pod = directory.pod(&uid(1)).unwrap();
    assert_eq!((pod.is_host_network, pod.node), (true, Some(node)));
    directory.change(Change::Delete(Kind::Node, "worker-1".into()), START + 50);
    assert_eq!(directory.holder_name("192.0.2.1", START + 51), None);
    assert_eq!(directory.holder_name("192.0.2.1", START + 40), Some("worker-1"));
}

#[test]
fn a_static_pod_is_found_by_both_of_its_uids() {
    let mut directory = directory();
    let hash = "0123456789abcdef0123456789abcdef";
    let mirror = Pod { static_uid: Some(hash.into()), ..pod(1, START, &[]) };
    directory.apply_pod(mirror, START);
    assert_eq!(directory.pod(&hash.parse().unwrap()), directory.pod(&uid(1)));
    assert!(directory.pod(&uid(1)).is_some());
    directory.delete_pod(1, START + 1);
    directory.expire(START + 1000);
    assert_eq!(directory.pod(&hash.parse().unwrap()), None);
}

#[test]
fn an_owner_told_later_renames_its_pods() {
    let mut directory = directory();
    for number in 0..3 {
        let owner = Some(owner("ReplicaSet", "cart-7d4b9c"));
        directory.apply_pod(Pod { owner, ..pod(number, START, &[&format!("10.0.0.{number}")]) }, START);
    }
    assert_eq!(directory.workload(0), Some("cart-7d4b9c"));
    let owned = |name| Change::Owner {
        namespace: "shop".into(),
        of: owner("ReplicaSet", "cart-7d4b9c"),
        is: owner("Deployment", name),
    };
    let effects = directory.change(owned("cart"), START + 1);
    assert_eq!((effects.addresses.len(), effects.pods.len(), effects.are_many), (3, 3, false));
    assert_eq!(
        (directory.workload(2), directory.holder_name("10.0.0.1", START)),
        (Some("cart"), Some("cart"))
    );
    assert_eq!(directory.change(owned("cart"), START + 2), Effects::default());
    let hash = Some("7d4b9c".into());
    let owner = Some(owner("ReplicaSet", "cart-7d4b9c"));
    let again = Pod { owner, template_hash: hash, ..pod(0, START, &["10.0.0.0"]) };
    directory.change(owned("basket"), START + 2);
    directory.apply_pod(again, START + 3);
    assert_eq!(directory.workload(0), Some("basket"), "an owner object counts for more than a name pattern");
}

#[test]
fn an_owner_told_before_its_pods_is_known_when_they_come() {
    let mut directory = Directory::new(Limits { owners: 2, ..Limits::default() });
    for name in ["one", "two", "three"] {
        let (namespace, is) = ("shop".into(), owner("Workflow", &name.to_uppercase()));
        directory.change(Change::Owner { namespace, of: owner("Job", name), is }, START);
    }
    for (number, name) in (0..).zip(["one", "two", "three"]) {
        directory.apply_pod(Pod { owner: Some(owner("Job", name)), ..pod(number, START, &[]) }, START);
    }
    let names = [0, 1, 2].map(|number| directory.workload(number));
    assert_eq!(names, [Some("one"), Some("TWO"), Some("THREE")], "the first was one too many");
}

#[test]
fn many_effects_are_told_as_many() {
    let mut directory = directory();
    for number in 0..100 {
        let owner = Some(owner("ReplicaSet", "cart-7d4b9c"));
        directory.apply_pod(Pod { owner, ..pod(number, START, &[]) }, START);
    }
    let owner = Some(owner("ReplicaSet", "cart-7d4b9c"));
    let formed = Pod { owner, template_hash: Some("7d4b9c".into()), ..pod(1, START, &[]) };
    assert!(directory.apply_pod(formed, START).are_many);
    assert_eq!(directory.workload(99), Some("cart"));
}

#[test]
fn a_uid_that_is_none_is_one_pods_all_the_same() {
    let mut directory = directory();
    let own = |name: &str, address| Pod { uid: name.into(), ..pod(1, START, &[address]) };
    directory.apply_pod(own("my-pod", ADDRESS), START);
    directory.apply_pod(own("my-other-pod", "10.0.0.2"), START);
    assert_eq!(directory.statistics().pods, 2);
    directory.change(Change::Delete(Kind::Pod, "my-pod".into()), START + 1);
    assert_eq!(
        (directory.holder_name(ADDRESS, START + 2), directory.holder_name("10.0.0.2", START + 2)),
        (None, Some("pod-1"))
    );
}
