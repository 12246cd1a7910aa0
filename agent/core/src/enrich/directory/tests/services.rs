use super::*;
use crate::enrich::name::Name;
use crate::enrich::objects::{Endpoint, EndpointSlice, Service, ServicePort};

fn port(port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort { protocol: TCP, port, node_port }
}

fn service(name: &str, addresses: &[&str], ports: &[ServicePort]) -> Change {
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    let (namespace, name) = ("shop".into(), name.into());
    Change::ApplyService(Box::new(Service { namespace, name, addresses, ports: ports.to_vec() }))
}

fn slice(name: &str, service: &str, endpoints: &[(&str, Option<u32>)]) -> Change {
    let endpoint = |(address, pod): &(&str, Option<u32>)| Endpoint {
        addresses: vec![ip(address)],
        pod: pod.map(|number| uid_text(number).into()),
    };
    Change::ApplyEndpointSlice(Box::new(EndpointSlice {
        namespace: "shop".into(),
        name: name.into(),
        service: service.into(),
        ports: vec![port(8080, None)],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }))
}

fn name(workload: &str) -> Name {
    Name::new("shop", workload)
}

#[test]
fn a_service_is_found_by_address_and_port() {
    let mut directory = directory();
    let effects = directory
        .change(service("cart", &["10.96.0.1", "203.0.113.1"], &[port(80, None), port(443, None)]), START);
    assert_eq!(effects.addresses, [ip("10.96.0.1"), ip("203.0.113.1")]);
    for address in ["10.96.0.1", "203.0.113.1"] {
        assert_eq!(directory.service(ip(address), 443, TCP), Some(&name("cart")));
        assert_eq!(directory.service(ip(address), 443, UDP), None);
        assert_eq!(directory.service(ip(address), 444, TCP), None);
        assert_eq!(directory.service_any_port(ip(address)), Some(&name("cart")));
    }
    directory.change(service("cart", &["10.96.0.1"], &[port(80, None)]), START);
    assert_eq!(directory.service(ip("10.96.0.1"), 443, TCP), None);
    assert_eq!(directory.service_any_port(ip("203.0.113.1")), None);
    directory.change(Change::Delete(Kind::Service, "shop/cart".into()), START);
    assert_eq!(directory.service_any_port(ip("10.96.0.1")), None);
}

#[test]
fn services_that_share_an_address_are_told_apart_by_port() {
    let mut directory = directory();
    directory.change(service("web", &["203.0.113.1"], &[port(80, None), port(53, None)]), START);
    directory.change(service("dns", &["203.0.113.1"], &[port(53, None)]), START);
    let address = ip("203.0.113.1");
    assert_eq!(directory.service(address, 80, TCP), Some(&name("web")));
    assert_eq!(directory.service(address, 53, TCP), None, "it may be either");
    assert_eq!(directory.service_any_port(address), None);
    directory.change(Change::Delete(Kind::Service, "shop/web".into()), START);
    assert_eq!(directory.service(address, 53, TCP), Some(&name("dns")));
}

#[test]
fn a_node_port_is_a_services_on_nodes_only() {
    let mut directory = directory();
    directory.change(service("cart", &[], &[port(80, Some(30080))]), START);
    directory.change(Change::ApplyNode(Box::new(node("worker-1", &["192.0.2.1"]))), START);
    directory.apply_pod(pod(1, START, &["10.0.0.1"]), START);
    assert_eq!(directory.service(ip("192.0.2.1"), 30080, TCP), Some(&name("cart")));
    assert_eq!(directory.service(ip("192.0.2.1"), 80, TCP), None);
    assert_eq!(directory.service(ip("10.0.0.1"), 30080, TCP), None);
    assert_eq!(directory.service(ip("192.0.2.9"), 30080, TCP), None);
}

#[test]
fn an_endpoint_belongs_to_its_service_and_pod() {
    let mut directory = directory();
    directory.change(Change::ApplyNode(Box::new(node("worker-1", &["192.0.2.1"]))), START);
    directory.apply_pod(pod(1, START, &["10.0.0.1"]), START);
    directory.apply_pod(Pod { is_host_network: true, ..pod(2, START, &["192.0.2.1"]) }, START);
    let endpoints = [("10.0.0.1", None), ("192.0.2.1", Some(2)), ("198.51.100.1", None)];
    assert_eq!(directory.change(slice("cart-a", "cart", &endpoints), START).addresses.len(), 3);
    let at = |address| directory.endpoint(ip(address), 8080, TCP).map(|found| (found.service, found.pod));
    let cart = name("cart");
    assert_eq!(at("10.0.0.1"), Some((Some(&cart), Some(&name("pod-1")))));
    assert_eq!(at("192.0.2.1"), Some((Some(&cart), Some(&name("pod-2")))), "of the node's network");
    assert_eq!(at("198.51.100.1"), Some((Some(&cart), None)));
    assert_eq!(directory.endpoint(ip("10.0.0.1"), 8081, TCP), None);
    assert_eq!(directory.endpoint(ip("10.0.0.1"), 8080, UDP), None);
    assert_eq!(directory.backends(&cart), [&name("pod-1"), &name("pod-2")]);
    assert_eq!(directory.only_backend(&cart), None);
}

#[test]
fn an_endpoint_of_two_services_is_of_neither_and_its_pods_all_the_same() {
    let mut directory = directory();
    directory.apply_pod(pod(1, START, &["10.0.0.1"]), START);
    directory.change(slice("one-a", "one", &[("10.0.0.1", Some(1))]), START);
    directory.change(slice("two-a", "two", &[("10.0.0.1", Some(1))]), START);
    let found = directory.endpoint(ip("10.0.0.1"), 8080, TCP).unwrap();
    assert_eq!((found.service, found.pod), (None, Some(&name("pod-1"))));
    let effects = directory.change(Change::Delete(Kind::EndpointSlice, "shop/one-a".into()), START);
    assert_eq!(effects.addresses, [ip("10.0.0.1")]);
    assert_eq!(directory.endpoint(ip("10.0.0.1"), 8080, TCP).unwrap().service, Some(&name("two")));
}

#[test]
fn all_slices_of_a_service_are_behind_it() {
    let mut directory = directory();
    for number in 1..=3 {
        let owner = Some(owner("StatefulSet", if number == 3 { "db" } else { "cart" }));
        directory.apply_pod(Pod { owner, ..pod(number, START, &[&format!("10.0.0.{number}")]) }, START);
    }
    let cart = name("cart");
    assert!(directory.backends(&cart).is_empty());
    directory.change(slice("cart-a", "cart", &[("10.0.0.1", Some(1))]), START);
    directory.change(slice("cart-b", "cart", &[("10.0.0.2", Some(2))]), START);
    assert_eq!((directory.backends(&cart), directory.only_backend(&cart)), (vec![&cart], Some(&cart)));
    let effects =
        directory.change(slice("cart-b", "cart", &[("10.0.0.2", Some(2)), ("10.0.0.3", None)]), START);
    assert_eq!(effects.addresses, [ip("10.0.0.3")]);
    assert_eq!((directory.backends(&cart).len(), directory.only_backend(&cart)), (2, None));
    directory.change(slice("cart-b", "other", &[("10.0.0.3", None)]), START);
    assert_eq!(directory.backends(&cart), [&cart]);
    assert_eq!(directory.backends(&name("other")), [&name("db")]);
}

#[test]
fn services_beyond_the_limits_are_counted() {
    let mut directory = Directory::new(Limits { services: 1, slices: 1, endpoints: 2, ..Limits::default() });
    directory.change(service("one", &["10.96.0.1"], &[port(80, None)]), START);
    directory.change(service("two", &["10.96.0.2"], &[port(80, None)]), START);
    directory.change(slice("a", "one", &[("10.0.0.1", None), ("10.0.0.2", None), ("10.0.0.3", None)]), START);
    directory.change(slice("b", "one", &[]), START);
    let statistics = directory.statistics();
    assert_eq!((statistics.services, statistics.slices, statistics.endpoints), (1, 1, 2));
    let dropped = statistics.dropped;
    assert_eq!((dropped.services, dropped.slices, dropped.endpoints), (1, 1, 1));
}

#[test]
fn a_service_that_leads_elsewhere_is_an_effect() {
    let mut directory = directory();
    for number in 1..4 {
        let owner = Some(owner("StatefulSet", if number < 3 { "few" } else { "more" }));
        directory.apply_pod(Pod { owner, ..pod(number, START, &[&format!("10.0.0.{number}")]) }, START);
    }
    directory.change(service("cart", &["10.96.0.1"], &[port(80, None)]), START);
    let mut is_moved = |change| directory.change(change, START).addresses.contains(&ip("10.96.0.1"));
    assert!(is_moved(slice("a", "cart", &[("10.0.0.1", Some(1))])), "it has a workload now");
    assert!(!is_moved(slice("a", "cart", &[("10.0.0.1", Some(1)), ("10.0.0.2", Some(2))])), "the same");
    assert!(is_moved(slice("b", "cart", &[("10.0.0.3", Some(3))])), "several");
    assert!(is_moved(Change::Delete(Kind::EndpointSlice, "shop/a".into())), "the other");
    assert!(is_moved(slice("b", "till", &[("10.0.0.3", Some(3))])), "none");
    assert!(is_moved(slice("b", "cart", &[("10.0.0.3", Some(3))])), "again");
    // Its workload is called otherwise.
    let (of, is) = (owner("StatefulSet", "more"), owner("CronJob", "nightly"));
    assert!(is_moved(Change::Owner { namespace: "shop".into(), of, is }));
    // Every node has its port, at any address.
    directory.change(service("cart", &["10.96.0.1"], &[port(80, Some(30080))]), START);
    let effects = directory.change(slice("b", "cart", &[("10.0.0.1", Some(1))]), START);
    assert!(effects.are_many);
}
