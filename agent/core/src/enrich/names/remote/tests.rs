use std::sync::Arc;

use super::super::Options;
use super::super::testing::*;
use super::*;
use crate::enrich::directory::SKEW;
use crate::enrich::objects::{Change, Pod};
use crate::enrich::policy::DnsNames;

/// A cluster with a node, two services and their pods.
fn cluster() -> Names {
    let mut names = names();
    names.receive(node("node-1", "10.1.0.1"));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.receive(apply_pod(Pod {
        is_host_network: true,
        node: Some("node-1".into()),
        ..pod(2, "dns", "10.1.0.1")
    }));
    names.receive(service("api", "10.96.0.1"));
    names.receive(endpoints("api", &[("10.0.0.1", 1)]));
    names.receive(service("dns", "10.96.0.2"));
    names.receive(endpoints("dns", &[("10.1.0.1", 2)]));
    names
}

#[test]
fn the_first_source_with_an_address_names_it() {
    let mut names = cluster();
    let cards = Name::new("bank", "cards");
    names.set_extra(extra(&[("203.0.113.0/24", cards.clone()), ("10.0.0.0/8", cards)], Vec::new()));
    for (address, port, expected) in [
        ("10.96.0.1", 80, "shop/api -> shop/web"),
        // At every node; of two services, so of neither.
        ("10.1.0.1", 30080, "/node-1"),
        // The service's address at a port that it does not have.
        ("10.96.0.1", 81, "shop/api -> unknown"),
        // On a node's address, one of its pods; the service is known by the endpoint.
        ("10.1.0.1", 8080, "shop/dns -> shop/dns"),
        // A pod's own address, where a load balancer in the socket layer leads.
        ("10.0.0.1", 8080, "shop/api -> shop/web"),
        ("10.0.0.1", 9090, "shop/web"),
        ("10.1.0.1", 22, "/node-1"),
        ("203.0.113.9", 443, "bank/cards"),
        ("10.9.9.9", 443, "bank/cards"),
        ("192.0.2.1", 443, "external"),
    ] {
        assert_eq!(names.to(address, port), expected, "{address}:{port}");
    }
    assert_eq!(names.conntrack.query_count(), 0, "no lookup was needed");
    names.set_extra(Arc::default());
    assert_eq!(names.to("10.9.9.9", 443), "10.9.9.9");
    assert_eq!(names.to("203.0.113.9", 443), "external");
}

#[test]
fn a_node_port_that_is_one_services_is_that_service() {
    let mut names = names();
    names.receive(node("node-1", "10.1.0.1"));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.receive(service("api", "10.96.0.1"));
    names.receive(endpoints("api", &[("10.0.0.1", 1)]));
    assert_eq!(names.to("10.1.0.1", 30080), "shop/api -> shop/web");
    assert_eq!(names.to("10.9.9.9", 30080), "10.9.9.9", "that is no node");
}

#[test]
fn a_client_at_a_services_port_is_no_service() {
    let names = cluster();
    for (address, expected) in [("10.0.0.1", "shop/web"), ("10.1.0.1", "/node-1"), ("10.96.0.1", "10.96.0.1")]
    {
        let remote = names.remote(&server(CLIENT, address, 80));
        assert_eq!(text(&remote), expected);
    }
    let holder = names.remote(&server(CLIENT, "10.0.0.1", 80));
    assert_eq!(holder.since, Some(BEGIN - u64::from(SKEW)));
    assert_eq!(names.remote(&client(CLIENT, "10.96.0.1", 80)).since, None);
}

#[test]
fn a_service_is_known_over_any_protocol() {
    let names = cluster();
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_DNS] {
        let flow = FlowKey { protocol, ..client(CLIENT, "10.96.0.1", 80) };
        assert_eq!(text(&names.remote(&flow)), "shop/api -> shop/web");
    }
}

#[test]
fn what_is_no_address_has_a_word() {
    let names = names();
    for (remote, expected) in [
        (Address::EXTERNAL, Workload::External),
        (Address::OTHER, Workload::Other),
        (Address::ANY, Workload::Any),
        (Address::UNKNOWN, Workload::Unknown),
    ] {
        let flow = FlowKey { remote, ..server(CLIENT, "10.0.0.1", 80) };
        assert_eq!(names.remote(&flow), Remote::plain(expected));
    }
}

#[test]
fn loopback_in_a_pod_is_the_pod_itself() {
    let path = kubepods(1, 'a');
    let tree = Tree::new(&[&path, "system.slice/ssh.service"]);
    let mut names = tree.names(Options::default());
    let flow = client(tree.local(&path), "127.0.0.1", 80);
    assert_eq!(text(&names.remote(&flow)), format!("pod:{}", uid(1)));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    assert_eq!(text(&names.remote(&flow)), "shop/web");
    for local in [tree.local("system.slice/ssh.service"), CLIENT] {
        let remote = names.remote(&client(local, "127.0.0.1", 80));
        assert_eq!(text(&remote), "127.0.0.1");
        assert_eq!(names.resolve_again(&remote.workload, None, Some(80)), None);
    }
}

#[test]
fn an_outside_address_is_what_its_client_resolved() {
    let mut names = with_dns(DnsNames::Shown, 2);
    let other = CLIENT + 1;
    names.resolve(CLIENT, "a.test", "192.0.2.1");
    assert_eq!(names.to("192.0.2.1", 443), "/a.test");
    assert_eq!(text(&names.remote(&client(other, "192.0.2.1", 443))), "external");
    assert_eq!(
        text(&names.remote(&server(CLIENT, "192.0.2.1", 443))),
        "external",
        "this client did not resolve it"
    );
    // As many as may be.
    names.resolve(CLIENT, "b.test", "192.0.2.2");
    names.resolve(CLIENT, "c.test", "192.0.2.3");
    names.to("192.0.2.2", 443);
    let held = names.remote(&client(CLIENT, "192.0.2.2", 443));
    assert_eq!((text(&held), names.to("192.0.2.3", 443)), ("/b.test".to_owned(), "external".to_owned()));
    // An edge of the first is gone.
    names.retain(&[CLIENT].into(), &std::collections::HashSet::new());
    assert_eq!(names.to("192.0.2.3", 443), "/c.test");
    assert_eq!(names.to("192.0.2.1", 443), "external");
    // What is inside keeps its address.
    names.resolve(CLIENT, "b.test", "10.9.9.9");
    assert_eq!(names.to("10.9.9.9", 443), "10.9.9.9");
    names.wait(60);
    assert_eq!(names.to("192.0.2.3", 443), "external", "the name counts no longer");
}

#[test]
fn outside_names_are_shown_as_names_may_be() {
    for (policy, max, expected) in [
        (DnsNames::Shown, 9, "/a.test"),
        (DnsNames::Hashed, 9, "/h:"),
        (DnsNames::Off, 9, "external"),
        (DnsNames::Shown, 0, "external"),
        (DnsNames::Hashed, 0, "external"),
    ] {
        let mut names = with_dns(policy, max);
        names.resolve(CLIENT, "a.test", "192.0.2.1");
        let shown = names.to("192.0.2.1", 443);
        assert!(shown.starts_with(expected) && (shown == expected || expected == "/h:"), "{shown}");
    }
    // A DNS name that reads like an address or a reserved word is shown as that.
    let mut names = with_dns(DnsNames::Shown, 9);
    for (name, expected) in [("192.0.2.7", "192.0.2.7"), ("several", "several"), ("external", "external")] {
        names.resolve(CLIENT, name, "192.0.2.1");
        assert_eq!(names.to("192.0.2.1", 443), expected);
    }
}

#[test]
fn a_server_of_dns_outside_keeps_its_address() {
    let mut names = names();
    let flow = FlowKey { protocol: PROTOCOL_DNS, ..client(CLIENT, "192.0.2.53", 53) };
    assert_eq!(text(&names.remote(&flow)), "192.0.2.53");
    names.set_extra(extra(&[("192.0.2.0/24", Name::new("", "resolvers"))], Vec::new()));
    assert_eq!(text(&names.remote(&flow)), "/resolvers");
}

#[test]
fn several_workloads_behind_a_service_are_no_one() {
    let mut names = cluster();
    names.receive(apply_pod(pod(3, "batch", "10.0.0.3")));
    names.receive(endpoints("api", &[("10.0.0.1", 1), ("10.0.0.3", 3)]));
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> several");
    assert_eq!(names.to("10.0.0.3", 8080), "shop/api -> shop/batch");
    assert_eq!(names.conntrack.query_count(), 0);
    names.receive(endpoints("api", &[("10.0.0.3", 3)]));
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> shop/batch");
}

#[test]
fn the_connection_tracking_says_what_no_endpoint_does() {
    let mut names = names();
    names.receive(service("api", "10.96.0.1"));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.receive(apply_pod(pod(2, "web", "10.0.0.2")));
    names.receive(apply_pod(pod(3, "batch", "10.0.0.3")));
    let flow = client(CLIENT, "10.96.0.1", 80);
    let nameless = names.remote(&flow);
    assert_eq!((text(&nameless), names.conntrack.query_count()), ("shop/api -> unknown".to_owned(), 0));
    names.observe(&flow);
    assert_eq!(names.conntrack.query_count(), 2, "over TCP and over UDP");
    names.take_changes();
    names.found(&["10.0.0.1", "10.0.0.2"]);
    assert!(names.take_changes().concern(&client(CLIENT, "10.96.0.1", 80)));
    let again = names.resolve_again(&nameless.workload, nameless.service.as_ref(), Some(80)).unwrap();
    assert_eq!(text(&again), "shop/api -> shop/web");
    // Lookups continue while there are such flows.
    for _ in 0..20 {
        names.wait(60);
        names.expire();
    }
    names.found(&["10.0.0.1", "10.0.0.3"]);
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> several");
    names.wait(60);
    names.found(&["10.9.9.9"]);
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> unknown", "it is in no source");
    // Endpoints take precedence over conntrack.
    names.receive(endpoints("api", &[("10.0.0.3", 3)]));
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> shop/batch");
}

#[test]
fn the_holder_of_a_backend_at_the_time_of_the_lookup_counts() {
    let mut names = names();
    names.receive(service("api", "10.96.0.1"));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.to("10.96.0.1", 80);
    names.wait(10);
    names.found(&["10.0.0.1"]);
    names.wait(30);
    names.receive(Change::Delete(Kind::Pod, uid(1)));
    let since = Some(names.now);
    names.receive(apply_pod(Pod { since, ..pod(2, "batch", "10.0.0.1") }));
    assert_eq!(names.to("10.0.0.1", 8080), "shop/batch");
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> shop/web");
    names.wait(60);
    names.expire();
    names.found(&["10.0.0.1"]);
    assert_eq!(names.to("10.96.0.1", 80), "shop/api -> shop/batch");
}

#[test]
fn either_way_to_a_service_tells_what_is_behind_it() {
    let mut names = names();
    names.receive(service("api", "10.96.0.1"));
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    let over_udp = FlowKey { protocol: PROTOCOL_UDP, ..client(CLIENT, "10.96.0.1", 80) };
    names.observe(&over_udp);
    let nameless = names.remote(&over_udp);
    let backend = (ip("10.0.0.1"), 8080).into();
    let over_udp =
        |query: ServiceQuery| if query.service.protocol == PROTOCOL_UDP { vec![backend] } else { vec![] };
    let pass = names.ask_conntrack().unwrap();
    names.answer_conntrack(pass.answered(over_udp));
    let again = names.resolve_again(&nameless.workload, nameless.service.as_ref(), Some(80)).unwrap();
    assert_eq!(text(&again), "shop/api -> shop/web");
}

#[test]
fn ends_without_a_name_are_resolved_again() {
    let path = kubepods(1, 'a');
    let tree = Tree::new(&[&path]);
    let mut names = tree.names(Options::default());
    let local = tree.local(&path);
    let mut ends = vec![
        (Workload::Cgroup(local), None),
        (names.local(local), None),
        (Workload::Address(ip("10.0.0.1")), Some(80)),
        (Workload::Address(ip("10.0.0.1")), None),
    ];
    let again = |names: &mut Names, (end, port): &(Workload, Option<u16>)| {
        names.resolve_again(end, None, *port).map(|remote| remote.workload)
    };
    for end in &ends {
        assert!(again(&mut names, end).as_ref().is_none_or(Workload::is_nameless), "{end:?}");
    }
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    let web = Workload::named(Name::new("shop", "web"));
    for end in &ends {
        assert_eq!(again(&mut names, end), Some(web.clone()), "{end:?}");
    }
    // Ends that have a name or never will are unchanged; so is the backend of a service that is not looked up.
    ends = vec![
        (web, Some(80)),
        (Workload::External, Some(80)),
        (Workload::Several, Some(80)),
        (Workload::Backend, Some(80)),
        (Workload::Address(ip("127.0.0.1")), Some(80)),
    ];
    for end in &ends {
        assert_eq!(again(&mut names, end), None, "{end:?}");
    }
    let api = Name::new("shop", "api");
    assert_eq!(names.resolve_again(&Workload::Backend, Some(&api), Some(80)), None);
    // An address that has become a service's.
    names.receive(service("api", "10.96.0.1"));
    names.receive(endpoints("api", &[("10.0.0.1", 1)]));
    let address = Workload::Address(ip("10.96.0.1"));
    assert_eq!(text(&names.resolve_again(&address, None, Some(80)).unwrap()), "shop/api -> shop/web");
    assert_eq!(names.resolve_again(&address, None, None), None, "a service is no client");
}

#[test]
fn services_looked_up_in_conntrack_are_bounded() {
    let mut names = names();
    for number in 0..MAX_QUERIED + 2 {
        let [.., high, low] = number.to_be_bytes();
        let name = format!("s{number}");
        names.receive(service(&name, &format!("10.96.{high}.{low}")));
        assert_eq!(names.to(&format!("10.96.{high}.{low}"), 80), format!("shop/{name} -> unknown"));
    }
    assert_eq!(names.queried.len(), MAX_QUERIED);
    // One service at many addresses.
    let mut many = super::super::testing::names();
    let Change::ApplyService(mut api) = service("api", "10.96.0.1") else { unreachable!() };
    api.addresses = (1..=100).map(|last| [10, 96, 0, last].into()).collect();
    many.receive(Change::ApplyService(api));
    for last in 1..=100 {
        assert_eq!(many.to(&format!("10.96.0.{last}"), 80), "shop/api -> unknown");
    }
    assert_eq!(many.queried.values().map(Vec::len).sum::<usize>(), MAX_ADDRESSES);
}
