//! Sidecar proxies: proxied traffic is one edge, and the leg between the workload and its sidecar is counted apart.

pub(super) mod envoy;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    faults::Fault,
    files::Files,
    metrics::{Edge, Metrics, OPENED},
    topology::{Net, Pod, Sidecar},
};

/// The ports of Istio's sidecars for traffic out of their pod and into it.
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;

const SIDECAR_OPENED: &str = "netcause_sidecar_connections_opened_total";
const SENT: &str = "netcause_tcp_sent_bytes_total";
const SIDECAR_SENT: &str = "netcause_sidecar_sent_bytes_total";

/// Two workloads, and an agent that knows their names.
struct Mesh {
    client: Pod,
    server: Pod,
    /// Unique, since agents of other scenarios and labs see these pods' cgroups too.
    client_uid: String,
    server_uid: String,
    agent: Agent,
    _names: Files,
}

impl Mesh {
    fn new(net: &Net, name: &str) -> Result<Self> {
        Self::with_names(net, name, "")
    }

    /// With these further names in the agent's file.
    fn with_names(net: &Net, name: &str, more: &str) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let scenario = hasher.finish() >> 32;
        let uid = |number: u8| format!("{:08x}-0000-4000-8000-{scenario:08x}000{number}", std::process::id());
        let (client_uid, server_uid) = (uid(1), uid(2));
        let client = net.pod_of_uid("client", &client_uid)?;
        let server = net.pod_of_uid("server", &server_uid)?;
        let pod = |workload: &str, uid: &str, pod: &Pod| {
            format!(
                "  - {{namespace: shop, workload: {workload}, uid: {uid}, addresses: [{}, \"{}\"]}}\n",
                pod.v4, pod.v6
            )
        };
        let text = format!(
            "pods:\n{}{}{more}",
            pod("front", &client_uid, &client),
            pod("back", &server_uid, &server)
        );
        let names = Files::new(&client, "names")?;
        let file = names.write("names.yaml", &text)?;
        let config = format!("names_file: {}\n", file.display());
        let agent = Agent::start(
            name,
            "agent",
            &Options { config: Some(&config), without_dns: true, ..Options::default() },
        )?;
        Ok(Self { client, server, client_uid, server_uid, agent, _names: names })
    }

    /// The edge from one workload to the other, seen from one end.
    fn edge(reporter: &'static str, port: u16) -> Edge {
        Edge::labelled(&[
            ("reporter", reporter),
            ("source_namespace", "shop"),
            ("source_workload", "front"),
            ("destination_namespace", "shop"),
            ("destination_workload", "back"),
            ("destination_port", &port.to_string()),
        ])
    }

    /// The leg between a workload and its own sidecar, seen from one end.
    fn leg(reporter: &'static str, workload: &'static str, leg: &'static str) -> Edge {
        Edge::labelled(&[("reporter", reporter), ("namespace", "shop"), ("workload", workload), ("leg", leg)])
    }

    fn finish(self) -> Result<()> {
        self.agent.stop(Signal::TERM)
    }
}

/// A workload that connects to its sidecar over loopback has one edge to the destination, and the leg to the sidecar
/// is counted apart.
pub(super) fn over_loopback(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let at = mesh.server.at(8080);
    let _echo = mesh.server.serve(at, &["--mode", "echo"])?;
    let sidecar = loopback(OUTBOUND);
    let _sidecar = Sidecar::start(name, &mesh.client, &mesh.client_uid, sidecar, at)?;
    let outcome = mesh.client.connect(sidecar, &["--count", "7", "--send", "1000", "--receive", "1000"])?;
    ensure!(outcome.count("connected") == 7 && outcome.count("broken") == 0, "{outcome:?}");
    mesh.agent.until("both legs are one edge", |metrics| outbound(metrics, 8080, 7, 7000))?;
    mesh.finish()
}

/// Outgoing connections redirected to the sidecar are one edge, and those excluded from the redirect are edges of
/// their own.
pub(super) fn redirected(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let at = mesh.server.at(8080);
    let _echo = mesh.server.serve(at, &["--mode", "echo"])?;
    let _sidecar = Sidecar::start(name, &mesh.client, &mesh.client_uid, loopback(OUTBOUND), at)?;
    // Port 80 has no listener, so only the sidecar can have served the connections.
    let _redirect = Fault::redirect_output(&mesh.client, 80, OUTBOUND)?;
    let args = ["--count", "5", "--send", "1000", "--receive", "1000"];
    let outcome = mesh.client.connect(mesh.server.at(80), &args)?;
    ensure!(outcome.count("connected") == 5 && outcome.count("broken") == 0, "{outcome:?}");
    mesh.agent.until("both legs are one edge", |metrics| {
        metrics.expect(OPENED, &Mesh::edge("source", 80), 0)?;
        outbound(metrics, 8080, 5, 5000)
    })?;
    // To another pod, which the sidecar has no connection to.
    let other = net.pod("other")?;
    let _excluded = other.serve(other.at(9092), &["--mode", "echo"])?;
    let outcome = mesh.client.connect(other.at(9092), &args)?;
    ensure!(outcome.count("connected") == 5 && outcome.count("broken") == 0, "{outcome:?}");
    let excluded = Edge::labelled(&[("reporter", "source"), ("source_workload", "front")])
        .with_any("destination_workload", other.names());
    mesh.agent.until("what is excluded is an edge", |metrics| {
        metrics.expect(OPENED, &excluded, 5)?;
        metrics.expect(OPENED, &excluded.with("via", "sidecar"), 0)
    })?;
    mesh.finish()
}

/// Incoming connections redirected to the sidecar are one edge, and the leg from the sidecar to the workload is
/// counted apart.
pub(super) fn inbound(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let mesh = Mesh::new(&net, name)?;
    let _echo = mesh.server.serve(loopback(8080), &["--mode", "echo"])?;
    let any: SocketAddr = ([0, 0, 0, 0], INBOUND).into();
    let _sidecar = Sidecar::start(name, &mesh.server, &mesh.server_uid, any, loopback(8080))?;
    let _redirect = Fault::redirect_input(&mesh.server, 8080, INBOUND)?;
    let args = ["--count", "6", "--send", "1000", "--receive", "1000"];
    let outcome = mesh.client.connect(mesh.server.at(8080), &args)?;
    ensure!(outcome.count("connected") == 6 && outcome.count("broken") == 0, "{outcome:?}");
    mesh.agent.until("both legs are one edge", |metrics| {
        metrics.expect(OPENED, &Mesh::edge("source", 8080), 6)?;
        // The port that was called, where the sidecar serves only one.
        let edge = Mesh::edge("destination", 8080).with("via", "sidecar");
        metrics.expect(OPENED, &edge, 6)?;
        metrics.expect(OPENED, &Mesh::edge("destination", INBOUND), 0)?;
        for reporter in ["source", "destination"] {
            metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "back", "inbound"), 6)?;
            metrics.expect(SIDECAR_SENT, &Mesh::leg(reporter, "back", "inbound"), 6000)?;
        }
        let to_itself = Edge::labelled(&[("source_workload", "back"), ("destination_workload", "back")]);
        metrics.expect(OPENED, &to_itself, 0)
    })?;
    mesh.finish()
}

/// Fails unless the client's end has one edge to the other workload, through its sidecar, and both ends of the leg.
fn outbound(metrics: &Metrics, port: u16, connections: u64, bytes: u64) -> Result<()> {
    metrics.expect(OPENED, &Mesh::edge("source", port).with("via", "sidecar"), connections)?;
    metrics.expect(OPENED, &Mesh::edge("source", port), connections)?;
    metrics.expect(OPENED, &Mesh::edge("destination", port), connections)?;
    metrics.expect(SENT, &Mesh::edge("source", port), bytes)?;
    for reporter in ["source", "destination"] {
        metrics.expect(SIDECAR_OPENED, &Mesh::leg(reporter, "front", "outbound"), connections)?;
        metrics.expect(SIDECAR_SENT, &Mesh::leg(reporter, "front", "outbound"), bytes)?;
    }
    // Nothing is an edge that goes to the sidecar.
    let to_itself = Edge::labelled(&[("source_workload", "front"), ("destination_workload", "front")]);
    metrics.expect(OPENED, &to_itself, 0)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)
}
