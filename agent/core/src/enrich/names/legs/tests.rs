use std::sync::Arc;

use super::super::Options;
use super::super::testing::*;
use super::*;
use crate::enrich::policy::{DnsNames, Labels};
use crate::enrich::sidecar::Direction;

/// The workload, its sidecar in the same pod, and another pod.
struct Mesh {
    names: Names,
    app: u64,
    proxy: u64,
    other: u64,
}

fn mesh() -> Mesh {
    let [app, proxy, other] = [kubepods(1, 'a'), kubepods(1, 'b'), kubepods(2, 'c')];
    let tree = Tree::new(&[&app, &proxy, &other]);
    let mut names = tree.names(Options { sidecar_ports: vec![15001, 15006], ..Options::default() });
    names.receive(apply_pod(pod(1, "web", "10.0.0.1")));
    names.receive(apply_pod(pod(2, "db", "10.0.0.2")));
    names.take_changes();
    let [app, proxy, other] = [app, proxy, other].map(|path| tree.local(&path));
    Mesh { names, app, proxy, other }
}

impl Mesh {
    /// Observes a flow; whether it goes through a sidecar.
    fn via(&mut self, flow: &FlowKey) -> Via {
        self.names.observe(flow);
        let remote = self.names.remote(flow);
        self.names.via(flow, &remote)
    }
}

#[test]
fn without_a_sidecar_every_flow_is_direct() {
    let mut mesh = mesh();
    for flow in [client(mesh.app, "127.0.0.1", 15001), client(mesh.app, "10.0.0.2", 80)] {
        assert_eq!(mesh.via(&flow), Via::Direct);
    }
}

#[test]
fn who_listens_at_a_sidecars_port_is_one() {
    let mut mesh = mesh();
    mesh.names.listens(mesh.proxy, 8080);
    assert!(mesh.names.changes().is_empty());
    mesh.names.listens(mesh.proxy, 15001);
    assert!(mesh.names.take_changes().concern(&client(mesh.app, "10.0.0.2", 80)));
    mesh.names.listens(mesh.proxy, 15006);
    assert!(mesh.names.changes().is_empty(), "that is no news");
    for (flow, expected) in [
        (client(mesh.app, "127.0.0.1", 15001), Via::OwnSidecar(Direction::Outbound)),
        (server(mesh.proxy, "127.0.0.1", 15001), Via::OwnSidecar(Direction::Outbound)),
        // The pod's own address is the pod, as loopback is.
        (client(mesh.app, "10.0.0.1", 15001), Via::OwnSidecar(Direction::Outbound)),
        (client(mesh.proxy, "10.0.0.2", 80), Via::Sidecar),
        (server(mesh.proxy, "10.0.0.2", 15006), Via::Sidecar),
        (client(mesh.proxy, "10.0.0.1", 8080), Via::OwnSidecar(Direction::Inbound)),
        (client(mesh.other, "10.0.0.1", 80), Via::Direct),
    ] {
        assert_eq!(mesh.via(&flow), expected, "{flow:?}");
    }
}

#[test]
fn what_is_redirected_is_known_by_the_sidecars_flows() {
    let mut mesh = mesh();
    // Its first accepted connection identifies it.
    mesh.names.observe(&server(mesh.proxy, "127.0.0.1", 15001));
    mesh.names.take_changes();
    let outbound = client(mesh.app, "10.0.0.2", 80);
    assert_eq!(mesh.via(&outbound), Via::Direct);
    mesh.names.observe(&client(mesh.proxy, "10.0.0.2", 80));
    let changes = mesh.names.take_changes();
    assert!(changes.concern(&outbound) && !changes.concern(&client(mesh.other, "10.0.0.9", 80)));
    assert_eq!(mesh.via(&outbound), Via::OwnSidecar(Direction::Outbound));
    assert_eq!(mesh.via(&client(mesh.app, "10.0.0.9", 80)), Via::Direct, "excluded from it");
    assert_eq!(mesh.via(&client(mesh.app, "10.0.0.2", 9090)), Via::Direct, "another port of the same pod");
    // A service's address leads elsewhere. Its pods' ports are their own.
    mesh.names.receive(service("db", "10.96.0.1"));
    mesh.names.receive(endpoints("db", &[("10.0.0.2", 2)]));
    mesh.names.observe(&client(mesh.proxy, "10.0.0.2", 8080));
    assert_eq!(mesh.via(&client(mesh.app, "10.96.0.1", 80)), Via::OwnSidecar(Direction::Outbound));
    assert_eq!(mesh.via(&client(mesh.app, "10.0.0.2", 9090)), Via::Direct);
    mesh.names.take_changes();
    let inbound = server(mesh.app, "127.0.0.1", 8080);
    assert_eq!(mesh.via(&inbound), Via::Direct);
    mesh.names.observe(&client(mesh.proxy, "127.0.0.1", 8080));
    assert!(mesh.names.take_changes().concern(&inbound));
    assert_eq!(mesh.via(&inbound), Via::OwnSidecar(Direction::Inbound));
    // A flow of the workload is no evidence.
    mesh.names.observe(&client(mesh.app, "10.0.0.9", 80));
    assert!(mesh.names.changes().is_empty());
}

#[test]
fn only_tcp_goes_through_a_sidecar() {
    let mut mesh = mesh();
    mesh.names.listens(mesh.proxy, 15001);
    let datagrams = |flow| FlowKey { protocol: netcause_common::flow::PROTOCOL_UDP, ..flow };
    mesh.names.observe(&client(mesh.proxy, "10.0.0.2", 53));
    for (flow, expected) in [
        (client(mesh.app, "10.0.0.2", 53), Via::OwnSidecar(Direction::Outbound)),
        (datagrams(client(mesh.app, "10.0.0.2", 53)), Via::Direct),
        (datagrams(client(mesh.proxy, "10.0.0.2", 53)), Via::Sidecar),
        (datagrams(client(mesh.proxy, "127.0.0.1", 53)), Via::Direct),
    ] {
        assert_eq!(mesh.via(&flow), expected, "{flow:?}");
    }
}

#[test]
fn a_sidecar_connects_to_what_the_workload_has_resolved() {
    let [app, proxy] = [kubepods(1, 'a'), kubepods(1, 'b')];
    let tree = Tree::new(&[&app, &proxy]);
    let labels = Arc::new(Labels::new(DnsNames::Shown));
    let mut names = tree.names(Options {
        sidecar_ports: vec![15001],
        labels,
        max_outside_names: 9,
        ..Options::default()
    });
    let [app, proxy] = [app, proxy].map(|path| tree.local(&path));
    names.listens(proxy, 15001);
    names.resolve(app, "api.example.com", "192.0.2.1");
    assert_eq!(names.flow(&client(app, "192.0.2.1", 443)), "/api.example.com");
    assert_eq!(names.flow(&client(proxy, "192.0.2.1", 443)), "/api.example.com");
    assert_eq!(names.flow(&client(proxy, "192.0.2.2", 443)), "external");
    // The other way round, what the sidecar resolves is its own.
    names.resolve(proxy, "control.example.com", "192.0.2.3");
    assert_eq!(names.flow(&client(app, "192.0.2.3", 443)), "external");
}

#[test]
fn a_sidecar_without_flows_is_forgotten() {
    let mut mesh = mesh();
    mesh.names.listens(mesh.proxy, 15001);
    let flow = client(mesh.app, "127.0.0.1", 15001);
    assert_eq!(mesh.via(&flow), Via::OwnSidecar(Direction::Outbound));
    mesh.names.retain(&[mesh.app].into(), &std::collections::HashSet::new());
    assert_eq!(mesh.via(&flow), Via::Direct);
}
