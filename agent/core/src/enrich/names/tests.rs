use netcause_common::flow::LOCAL_IS_NAMESPACE;

use super::testing::*;
use super::*;
use crate::enrich::cgroup::rules::Rule;
use crate::enrich::objects::Change;

#[test]
fn a_local_end_is_a_pod_a_place_or_a_number() {
    let (known, unknown) = (kubepods(1, 'a'), kubepods(9, 'b'));
    let tree = Tree::new(&[&known, &unknown, "system.slice/ssh.service", "system.slice/ora.service"]);
    let mut names = tree.names(Options::default());
    let rule = Rule::new("system.slice/ora*.service", Some("bank"), "oracle").unwrap();
    names.set_extra(extra(&[], vec![rule]));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    for (local, expected) in [
        (0, "other".to_owned()),
        (LOCAL_IS_NAMESPACE | 7, "netns:7".to_owned()),
        (1, "cgroup:1".to_owned()),
        (tree.local(&known), "shop/web".to_owned()),
        (tree.local(&unknown), format!("pod:{}", uid(9))),
        (tree.local("system.slice/ssh.service"), "ssh.service".to_owned()),
        (tree.local("system.slice/ora.service"), "bank/oracle".to_owned()),
    ] {
        let shown = match names.local(local) {
            Workload::Named(name) if !name.namespace().is_empty() => name.to_string(),
            other => other.to_string(),
        };
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_pod_that_is_told_late_names_its_flows_and_no_others() {
    let (one, two, other) = (kubepods(1, 'a'), kubepods(1, 'b'), kubepods(2, 'c'));
    let tree = Tree::new(&[&one, &two, &other]);
    let mut names = tree.names(Options::default());
    let locals = [&one, &two, &other].map(|path| tree.local(path));
    let nameless = locals.map(|local| names.local(local));
    assert!(nameless.iter().all(Workload::is_nameless), "{nameless:?}");
    assert!(names.changes().is_empty());
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    let changes = names.take_changes();
    let concerned = locals.map(|local| changes.concern(&client(local, "10.0.0.9", 80)));
    assert_eq!(concerned, [true, true, false]);
    // Flows to its address, too.
    assert!(changes.concern(&client(locals[2], "10.0.0.1", 80)));
    assert!(names.changes().is_empty(), "they are returned once");
    let web = Workload::named(Name::new("shop", "web"));
    assert_eq!([0, 1, 2].map(|n| names.local(locals[n])), [web.clone(), web.clone(), nameless[2].clone()]);
    let again = nameless.map(|end| names.resolve_again(&end, None, None).map(|remote| remote.workload));
    assert_eq!(again[0], Some(web));
    assert!(again[2].as_ref().is_none_or(Workload::is_nameless));
}

#[test]
fn a_pod_in_a_pod_is_the_outer_one() {
    let inner = format!("{}/kubelet/{}", kubepods(1, 'a'), kubepods(2, 'b'));
    let tree = Tree::new(&[&inner]);
    let mut names = tree.names(Options::default());
    let local = tree.local(&inner);
    let nameless = names.local(local);
    assert_eq!(nameless.to_string(), format!("pod:{}", uid(2)));
    names.receive(apply_pod(pod(1, "build", "10.0.0.1")));
    assert!(names.changes().concern(&client(local, "10.0.0.9", 80)));
    let build = Workload::named(Name::new("shop", "build"));
    assert_eq!(names.resolve_again(&nameless, None, None).unwrap().workload, build);
    assert_eq!(names.local(local), build);
}

#[test]
fn a_static_pods_name_comes_by_either_uid() {
    let hash = "0123456789abcdef0123456789abcdef";
    let path = format!("kubepods/burstable/pod{hash}/{}", "a".repeat(64));
    let tree = Tree::new(&[&path]);
    let mut names = tree.names(Options::default());
    let local = tree.local(&path);
    assert_eq!(names.local(local).to_string(), format!("pod:{hash}"));
    let mut pod = pod(1, "etcd", "10.0.0.1");
    pod.static_uid = Some(hash.into());
    names.receive(apply_pod(pod));
    assert!(names.changes().concern(&client(local, "10.0.0.9", 80)));
    assert_eq!(names.local(local), Workload::named(Name::new("shop", "etcd")));
}

#[test]
fn what_is_not_in_use_is_forgotten() {
    let (one, two) = (kubepods(1, 'a'), kubepods(2, 'b'));
    let tree = Tree::new(&[&one, &two]);
    let mut names = tree.names(Options::default());
    let (one, two) = (tree.local(&one), tree.local(&two));
    names.observe_local(one);
    names.observe_local(two);
    names.retain(&[one].into(), &HashSet::new());
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.receive(apply_pod(pod(2, "db", "10.0.0.2")));
    let changes = names.take_changes();
    assert!(changes.concern(&client(one, "10.0.0.9", 80)));
    assert!(!changes.concern(&client(two, "10.0.0.9", 80)));
    names.receive(service("db", "10.96.0.1"));
    assert_eq!(names.to("10.96.0.1", 80), "shop/db -> unknown");
    assert_eq!(names.queried.len(), 1);
    names.retain(&HashSet::new(), &[ip("10.96.0.1")].into());
    assert_eq!(names.queried.len(), 1);
    names.retain(&HashSet::new(), &HashSet::new());
    assert!(names.queried.is_empty());
}

#[test]
fn a_file_that_has_changed_concerns_everything() {
    let mut names = names();
    names.set_extra(extra(&[("203.0.113.0/24", Name::new("bank", "cards"))], Vec::new()));
    assert!(names.take_changes().concern(&client(CLIENT, "192.0.2.1", 80)));
    assert_eq!(names.to("203.0.113.9", 80), "bank/cards");
    names.set_extra(extra(&[("203.0.113.0/24", Name::new("bank", "rates"))], Vec::new()));
    assert_eq!(names.to("203.0.113.9", 80), "bank/rates");
    names.set_extra(Arc::default());
    assert_eq!(names.to("203.0.113.9", 80), "external");
}

#[test]
fn a_name_that_is_resolved_concerns_its_addresses_once() {
    let mut names = with_dns(DnsNames::Shown, 9);
    names.resolve(CLIENT, "a.test", "192.0.2.1");
    let changes = names.take_changes();
    assert!(changes.concern(&client(CLIENT, "192.0.2.1", 80)));
    assert!(!changes.concern(&client(CLIENT, "192.0.2.2", 80)));
    names.resolve(CLIENT, "a.test", "192.0.2.1");
    assert!(names.take_changes().is_empty(), "it is called so already");
    names.resolve(CLIENT, "b.test", "192.0.2.1");
    assert!(!names.take_changes().is_empty());
}

#[test]
fn addresses_that_nobody_knows_are_told_once() {
    let mut names = names();
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    for address in ["10.0.0.1", "10.0.0.8", "10.0.0.9", "10.0.0.9", "192.0.2.1"] {
        names.to(address, 80);
    }
    assert_eq!(names.take_unknown(), [ip("10.0.0.8"), ip("10.0.0.9")].into());
    assert!(names.take_unknown().is_empty());
}

#[test]
fn no_two_ends_look_alike() {
    let uid = uid(1);
    let ends = [
        Workload::Pod(uid.parse().unwrap()),
        Workload::Pod("0123456789abcdef0123456789abcdef".parse().unwrap()),
        Workload::Namespace(5),
        Workload::Cgroup(5),
        Workload::Address(ip("192.0.2.1")),
        Workload::Address(ip("2001:db8::1")),
        Workload::Several,
        Workload::External,
        Workload::Any,
        Workload::Unknown,
        Workload::Other,
    ];
    for end in ends {
        assert_eq!(Workload::plain(&end.to_string()), end);
        let shown = Workload::named(Name::new("shop", &end.to_string()));
        assert_eq!((shown.namespace(), shown.to_string()), ("shop", end.to_string()));
    }
    for name in ["pod:web", "cgroup:", "netns:-1", "h:5", "192.0.2", "web", "Other"] {
        assert_eq!(Workload::plain(name), Workload::Named(Name::new("", name)));
    }
}

#[test]
fn a_list_of_many_concerns_everything() {
    let mut names = names();
    names.receive(Change::Init(Kind::Pod));
    for number in 1..=80 {
        names.receive(apply_pod(pod(number, "web", &format!("10.0.0.{number}"))));
    }
    names.take_changes();
    names.receive(Change::Init(Kind::Pod));
    names.receive(Change::InitDone(Kind::Pod));
    assert!(names.take_changes().concern(&client(CLIENT, "10.9.9.9", 80)));
}
