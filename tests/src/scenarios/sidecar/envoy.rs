//! A real Envoy as the sidecar, and its own counts as the truth.
//!
//! Every scenario ends with the same three facts: each leg to a sidecar is as large at both ends and as what Envoy accepted;
//! what left the pod is on one edge, once; no two samples have the same labels (the lab refuses such a scrape).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};

use super::{Mesh, SENT, SIDECAR_OPENED, SIDECAR_SENT};
use crate::lab::{
    crossed::RECEIVED,
    envoy::{self, Envoy, HEALTH, INBOUND, Route, Setup},
    eventually,
    metrics::{Edge, FAILURES, Metrics, OPENED},
    promql::Prometheus,
    topology::{Net, Outcome, Pod},
};

/// Services' addresses, which lead to no pod but by Envoy.
const STOCK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 20)), 80);
const EMPTY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 21)), 80);
/// Outside the known networks (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// One workload uses two ports through its sidecar: one leg, every series once, also for a real Prometheus.
pub(in super::super) fn two_ports(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let envoy = Envoy::start(name, &mesh.client, &mesh.client_uid, &Setup::default())?;
    let prometheus = Prometheus::start(name, mesh.agent.address())?;
    let mut servers = Vec::new();
    for (port, count) in [(80, 3), (9000, 2)] {
        servers.push(mesh.server.serve(mesh.server.at(port), &["--mode", "echo"])?);
        call(&mesh.client, mesh.server.at(port), count, 1000)?;
    }
    ensure!(envoy.accepted()? == 5, "envoy accepted {}", envoy.accepted()?);
    mesh.agent.until("two ports are one leg", |metrics| {
        through(metrics, 80, 3, 3000)?;
        through(metrics, 9000, 2, 2000)?;
        outbound_leg(metrics, 5, 5000)
    })?;
    eventually("Prometheus keeps as many series as there are lines", || {
        let own = prometheus.query("scrape_samples_scraped{job=\"netcause\"}")?;
        let kept = prometheus.query("count({job=\"netcause\",__name__!~\"up|scrape_.*\"})")?;
        let ([(_, lines)], [(_, kept)]) = (&own[..], &kept[..]) else { anyhow::bail!("{own:?} {kept:?}") };
        let legs =
            prometheus.query(&format!("sum({SIDECAR_OPENED}{{workload=\"front\",reporter=\"source\"}})"))?;
        ensure!(matches!(legs[..], [(_, 5.0)]), "{legs:?}");
        ensure!(lines == kept, "{lines} lines, {kept} series");
        Ok(())
    })?;
    mesh.finish()
}

/// What an excluded port, or an excluded user at the same port, sends to a pod that the sidecar talks to as well stays an
/// edge of its own, with its past and its refusals.
pub(in super::super) fn excluded(name: &str) -> Result<()> {
    const GROUP: u32 = 4711;
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let setup = Setup { excluded_port: Some(9090), excluded_group: Some(GROUP), ..Setup::default() };
    let envoy = Envoy::start(name, &mesh.client, &mesh.client_uid, &setup)?;
    let _echo = mesh.server.serve(mesh.server.at(8080), &["--mode", "echo"])?;
    let excluded = mesh.server.serve(mesh.server.at(9090), &["--mode", "echo"])?;
    let plain = Mesh::edge("source", 9090);
    call(&mesh.client, mesh.server.at(9090), 4, 1000)?;
    mesh.agent.until("it is direct", |metrics| metrics.expect(OPENED, &plain, 4))?;
    call(&mesh.client, mesh.server.at(8080), 1, 1000)?;
    mesh.agent.until("the sidecar talks to the same pod", |metrics| through(metrics, 8080, 1, 1000))?;
    drop(excluded);
    let refused = mesh.client.connect(mesh.server.at(9090), &["--count", "7"])?;
    ensure!(refused.failed("ECONNREFUSED") == 7, "{refused:?}");
    // Another container of the pod, whose user is not redirected, to the same address and port.
    let user = net.pod_on_host(&mesh.client, "user", &mesh.client_uid)?;
    let outcome = user.connect_as(
        GROUP,
        mesh.server.at(8080),
        &["--count", "6", "--send", "1000", "--receive", "1000"],
    )?;
    ensure!(outcome.count("connected") == 6 && outcome.count("broken") == 0, "{outcome:?}");
    call(&mesh.client, mesh.server.at(8080), 2, 1000)?;
    ensure!(envoy.accepted()? == 3, "envoy accepted {}", envoy.accepted()?);
    mesh.agent.until("what is excluded stays direct", |metrics| {
        metrics.expect(OPENED, &plain.with("via", ""), 4)?;
        metrics.expect(SENT, &plain.with("via", ""), 4000)?;
        metrics.expect(FAILURES, &plain.with("via", ""), 7)?;
        metrics.expect(OPENED, &Mesh::edge("source", 8080).with("via", ""), 6)?;
        through(metrics, 8080, 3, 3000)?;
        outbound_leg(metrics, 3, 3000)
    })?;
    mesh.finish()
}

/// 2 MB to an address outside go through the sidecar once.
pub(in super::super) fn outside(name: &str) -> Result<()> {
    const BYTES: u64 = 2_000_000;
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let envoy = Envoy::start(name, &mesh.client, &mesh.client_uid, &Setup::default())?;
    let far = net.pod("far")?;
    far.also_at(&format!("{OUTSIDE}/32"))?;
    route(&mesh.client, OUTSIDE.into())?;
    let at = SocketAddr::new(OUTSIDE.into(), 443);
    let _echo = far.serve(at, &["--mode", "echo"])?;
    call(&mesh.client, at, 1, BYTES)?;
    ensure!(envoy.accepted()? == 1, "envoy accepted {}", envoy.accepted()?);
    let sent = envoy.count("cluster.passthrough.upstream_cx_tx_bytes_total")?;
    ensure!(sent == BYTES, "envoy sent {sent} bytes");
    let edge = Edge::labelled(&[("reporter", "source"), ("source_workload", "front")]);
    // It is a pod of this machine, which the agent may find out.
    let edge = edge.with_any("destination_workload", vec!["external".to_owned(), far.workload().to_owned()]);
    mesh.agent.until("every byte is there once", |metrics| {
        metrics.expect(SENT, &edge.with("via", "sidecar"), BYTES)?;
        metrics.expect(SENT, &edge, BYTES)?;
        outbound_leg(metrics, 1, BYTES)
    })?;
    mesh.finish()
}

/// The sidecar leads a service to another workload, and answers itself for one without endpoints: what was reached is an
/// edge, once; of the rest there is the leg to the sidecar only.
pub(in super::super) fn routes(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let old = net.pod("old")?;
    let service = |name: &str, at: SocketAddr, endpoints: &str| {
        format!(
            "  - {{namespace: shop, name: {name}, addresses: [{}], ports: [{{port: {}}}]{endpoints}}}\n",
            at.ip(),
            at.port()
        )
    };
    let endpoints = format!(", endpoints: [{{addresses: [{}], ports: [{{port: 8080}}]}}]", old.v4);
    let more = format!("services:\n{}{}", service("stock", STOCK, &endpoints), service("empty", EMPTY, ""));
    let mesh = Mesh::with_names(&net, name, &more)?;
    let routes =
        [Route { service: STOCK, to: Some(mesh.server.at(8080)) }, Route { service: EMPTY, to: None }];
    let envoy =
        Envoy::start(name, &mesh.client, &mesh.client_uid, &Setup { routes: &routes, ..Setup::default() })?;
    let _echo = mesh.server.serve(mesh.server.at(8080), &["--mode", "echo"])?;
    for service in [STOCK, EMPTY] {
        route(&mesh.client, service.ip())?;
    }
    call(&mesh.client, STOCK, 5, 1000)?;
    for _ in 0..3 {
        let url = format!("http://{EMPTY}/");
        let args =
            ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--noproxy", "*", &url];
        let code = mesh.client.run("curl", &args, "")?;
        ensure!(code == "503", "envoy answered {code}");
    }
    ensure!(envoy.accepted()? == 8, "envoy accepted {}", envoy.accepted()?);
    let of_client = Edge::labelled(&[("reporter", "source"), ("source_workload", "front")]);
    mesh.agent.until("only what was reached is an edge", |metrics| {
        through(metrics, 8080, 5, 5000)?;
        metrics.expect(OPENED, &of_client, 5)?;
        metrics.expect(SENT, &of_client, 5000)?;
        for reporter in ["source", "destination"] {
            metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "front", "outbound"), 8)?;
        }
        Ok(())
    })?;
    mesh.finish()
}

/// A pod that calls its own address is direct at both ends, one that calls its own service has legs only, probes of the
/// sidecar's health are probes only, and the other end's edge has the port that was called.
pub(in super::super) fn itself(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let routes = [Route { service: STOCK, to: Some(mesh.server.at(8080)) }];
    let setup = Setup { routes: &routes, ..Setup::default() };
    let envoy = Envoy::start(name, &mesh.server, &mesh.server_uid, &setup)?;
    let _echo = mesh.server.serve(SocketAddr::new([0, 0, 0, 0].into(), 8080), &["--mode", "echo"])?;
    call(&mesh.client, mesh.server.at(8080), 3, 1000)?;
    let inbound = envoy.count(&format!("listener.0.0.0.0_{INBOUND}.downstream_cx_total"))?;
    ensure!(inbound == 3, "envoy accepted {inbound}");
    mesh.agent.until("both ends have the same port", |metrics| joined(metrics, 3))?;
    call(&mesh.server, mesh.server.at(8080), 4, 1000)?;
    for _ in 0..2 {
        let url = format!("http://{}/ready", mesh.server.at(HEALTH));
        mesh.client.run("curl", &["--silent", "--fail", "--noproxy", "*", &url], "")?;
    }
    let to_itself = |reporter, port: u16| {
        Edge::labelled(&[
            ("reporter", reporter),
            ("source_workload", "back"),
            ("destination_workload", "back"),
            ("destination_port", &port.to_string()),
            ("via", ""),
        ])
    };
    let direct = |metrics: &Metrics| {
        for reporter in ["source", "destination"] {
            metrics.expect(OPENED, &to_itself(reporter, 8080), 4)?;
            metrics.expect(SENT, &to_itself(reporter, 8080), 4000)?;
            metrics.expect(OPENED, &Mesh::edge(reporter, HEALTH).with("via", ""), 2)?;
        }
        Ok(())
    };
    mesh.agent.until("what it sends to itself is direct", |metrics| {
        joined(metrics, 3)?;
        direct(metrics)
    })?;
    // Out to the sidecar, from there to itself, and in to the workload.
    route(&mesh.server, STOCK.ip())?;
    call(&mesh.server, STOCK, 2, 1000)?;
    ensure!(envoy.accepted()? == 2, "envoy accepted {}", envoy.accepted()?);
    let through = Edge::labelled(&[("source_workload", "back"), ("via", "sidecar")]);
    mesh.agent.until("its own service has legs only", |metrics| {
        joined(metrics, 3 + 2 * 2)?;
        direct(metrics)?;
        for reporter in ["source", "destination"] {
            metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "back", "outbound"), 2)?;
            metrics.expect(SIDECAR_SENT, &Mesh::leg(reporter, "back", "outbound"), 2000)?;
        }
        metrics.expect(OPENED, &through, 0)
    })?;
    mesh.finish()
}

/// Sidecars at both ends, with TLS between them, and a workload that begins before its sidecar: what was refused then is the
/// leg's, both legs are exact, and the two ends of the edge agree.
pub(in super::super) fn both_ends(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let setup = Setup { tls: true, ..Setup::default() };
    envoy::redirect(&mesh.client, &setup)?;
    let refused = mesh.client.connect(mesh.server.at(8080), &["--count", "3"])?;
    ensure!(refused.failed("ECONNREFUSED") == 3, "{refused:?}");
    mesh.agent.until("it is refused", |metrics| metrics.expect(FAILURES, &Mesh::edge("source", 8080), 3))?;
    let front = Envoy::start_redirected(name, &mesh.client, &mesh.client_uid, &setup)?;
    let back = Envoy::start(name, &mesh.server, &mesh.server_uid, &setup)?;
    let _echo = mesh.server.serve(mesh.server.at(8080), &["--mode", "echo"])?;
    call(&mesh.client, mesh.server.at(8080), 4, 1000)?;
    let passed_on = back.count("cluster.inbound.upstream_cx_total")?;
    ensure!((front.accepted()?, passed_on) == (4, 4), "{} {passed_on}", front.accepted()?);
    let handshakes = front.count("cluster.passthrough.ssl.handshake")?;
    ensure!(handshakes == 4, "{handshakes} handshakes of TLS");
    mesh.agent.until("legs and both ends are exact", |metrics| {
        outbound_leg(metrics, 4, 4000)?;
        let leg = Mesh::leg("source", "front", "outbound");
        metrics.expect("netcause_sidecar_connect_failures_total", &leg.with("reason", "refused"), 3)?;
        metrics.expect(FAILURES, &Mesh::edge("source", 8080), 0)?;
        inbound_leg(metrics, 4)?;
        let ends =
            ["source", "destination"].map(|reporter| Mesh::edge(reporter, 8080).with("via", "sidecar"));
        for end in &ends {
            metrics.expect(OPENED, end, 4)?;
        }
        let sent = metrics.total(SENT, |sample| ends[0].matches(sample));
        let received = metrics.total(RECEIVED, |sample| ends[1].matches(sample));
        // What is encrypted is more than what was sent.
        ensure!(sent == received && sent > 4000.0, "{sent} bytes sent, {received} received");
        Ok(())
    })?;
    mesh.finish()
}

/// Fails unless the edge into the mesh has one port at both ends, and the leg to the workload has so many connections.
fn joined(metrics: &Metrics, inbound: u64) -> Result<()> {
    metrics.expect(OPENED, &Mesh::edge("source", 8080), 3)?;
    metrics.expect(OPENED, &Mesh::edge("destination", 8080).with("via", "sidecar"), 3)?;
    metrics.expect(SENT, &Mesh::edge("destination", 8080).with("via", "sidecar"), 3000)?;
    metrics.expect(OPENED, &Mesh::edge("destination", INBOUND), 0)?;
    inbound_leg(metrics, inbound)
}

/// Fails unless both ends of the leg from the server's sidecar to the server have this, 1000 bytes each.
fn inbound_leg(metrics: &Metrics, connections: u64) -> Result<()> {
    for reporter in ["source", "destination"] {
        metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "back", "inbound"), connections)?;
        metrics.expect(SIDECAR_SENT, &Mesh::leg(reporter, "back", "inbound"), 1000 * connections)?;
    }
    Ok(())
}

/// Fails unless the edge of the client's sidecar to the server has this, and the server's end the same.
fn through(metrics: &Metrics, port: u16, connections: u64, bytes: u64) -> Result<()> {
    let edge = Mesh::edge("source", port).with("via", "sidecar");
    metrics.expect(OPENED, &edge, connections)?;
    metrics.expect(SENT, &edge, bytes)
}

/// Fails unless both ends of the leg from the client to its sidecar have this.
fn outbound_leg(metrics: &Metrics, connections: u64, bytes: u64) -> Result<()> {
    for reporter in ["source", "destination"] {
        metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "front", "outbound"), connections)?;
        metrics.expect(SIDECAR_SENT, &Mesh::leg(reporter, "front", "outbound"), bytes)?;
    }
    Ok(())
}

/// Connections that each send so many bytes and get them back.
fn call(client: &Pod, to: SocketAddr, connections: u64, bytes: u64) -> Result<Outcome> {
    let (count, bytes) = (connections.to_string(), bytes.to_string());
    let outcome = client.connect(to, &["--count", &count, "--send", &bytes, "--receive", &bytes])?;
    ensure!(outcome.count("connected") == connections && outcome.count("broken") == 0, "{outcome:?}");
    Ok(outcome)
}

/// Lets a pod send to an address that is not on its network.
fn route(pod: &Pod, to: IpAddr) -> Result<()> {
    pod.run("ip", &["route", "add", &format!("{to}/32"), "dev", "eth0"], "").map(drop)
}
