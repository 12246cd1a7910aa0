//! A real Envoy as the sidecar of a pod, set up as Istio does it: connections out of the pod are redirected to 15001 and those
//! into it to 15006, Envoy passes the latter on from 127.0.0.6, and its own connections are recognised by its group.
//!
//! What Envoy counts itself (`/stats`) is what the agent's numbers are compared with.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    cgroup::{Cgroup, kubepods},
    eventually,
    files::Files,
    namespace::connect_in,
    process::Process,
    timeout,
    topology::Pod,
};

/// Envoy's ports: what is redirected to it out of its pod and into it, its health, and its own page.
pub(crate) const OUTBOUND: u16 = 15001;
pub(crate) const INBOUND: u16 = 15006;
pub(crate) const HEALTH: u16 = 15021;
const ADMIN: u16 = 15000;
/// By this group the rules recognise what Envoy itself sends.
const GROUP: &str = "1337";
/// Where Envoy connects into its pod from.
const PASSED_ON: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// The identity of every sidecar here. Nobody verifies it: what matters to the agent is that both ends encrypt.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0wytz6rR7Q0qVoyt
60YD9/8YJeyahaQ19/oG+z6w4aehRANCAATCWq4j09oD4QDiXLpLhotJFSR7ep5R
iXOB9DB06t58UsASAxCpYqn3kI/ghsqFPeugwBTXz8puldaifxPp9z00
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUax62fB0L2YlviaAnwpNVYqwYviUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbWVzaC50ZXN0MCAXDTI2MTEyODIzNTg0MVoYDzIxMjYxMTA0
MjM1ODQxWjAUMRIwEAYDVQQDDAltZXNoLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATCWq4j09oD4QDiXLpLhotJFSR7ep5RiXOB9DB06t58UsASAxCpYqn3
kI/ghsqFPeugwBTXz8puldaifxPp9z00o2kwZzAdBgNVHQ4EFgQUcwx8Odch3QWs
rFOJw0D1ms/1TocwHwYDVR0jBBgwFoAUcwx8Odch3QWsrFOJw0D1ms/1TocwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALggltZXNoLnRlc3QwCgYIKoZIzj0EAwID
RwAwRAIgVqMTqLVvZOeO4sSfKpkdwPYY6j5GJx1oBXBhrt4PxRgCICO8/au4JXqD
7CEv8H/kdmblW17cOigPS5NQqGfpWJ4m
-----END CERTIFICATE-----
";

/// A service's address, and where Envoy leads what is sent there.
pub(crate) struct Route {
    pub(crate) service: SocketAddr,
    /// None: Envoy answers requests of HTTP itself, with 503.
    pub(crate) to: Option<SocketAddr>,
}

/// What a sidecar is to do beside passing everything on to where it was sent.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    pub(crate) routes: &'a [Route],
    /// Ports that are not redirected out of the pod.
    pub(crate) excluded_port: Option<u16>,
    /// A group whose connections are not redirected out of the pod.
    pub(crate) excluded_group: Option<u32>,
    /// With TLS between sidecars, and certificates of both.
    pub(crate) tls: bool,
}

/// A running Envoy in a pod, in a container of its own.
pub(crate) struct Envoy {
    process: Process,
    /// The pod's network.
    within: File,
    _files: Files,
    _cgroup: Cgroup,
}

impl Envoy {
    /// Redirects the connections of the pod with this uid, as the init container of Istio does, and starts one.
    pub(crate) fn start(scenario: &str, pod: &Pod, uid: &str, setup: &Setup<'_>) -> Result<Self> {
        redirect(pod, setup)?;
        Self::start_redirected(scenario, pod, uid, setup)
    }

    /// Starts one in a pod whose connections are redirected already.
    pub(crate) fn start_redirected(scenario: &str, pod: &Pod, uid: &str, setup: &Setup<'_>) -> Result<Self> {
        // Not below the cgroup of the pod's first container: an agent recognises both by the uid.
        let cgroup = Cgroup::with_layout(scenario, &format!("{}-envoy", pod.port), &kubepods(uid))?;
        let files = Files::new(pod, "envoy")?;
        let config = files.write("envoy.json", &config(setup).to_string())?;
        // A change of the group would end the tie to the lab's life.
        let mut command = pod.command_in(cgroup.path(), "setpriv")?;
        command.args(["--regid", GROUP, "--clear-groups", "--pdeathsig", "KILL", "envoy"]);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        command.arg("--config-path").arg(config);
        let process = Process::spawn("envoy", &mut command)?;
        let envoy = Self { process, within: pod.open()?, _files: files, _cgroup: cgroup };
        eventually("envoy is ready", || {
            let answer = envoy.get("/ready")?;
            anyhow::ensure!(answer.contains("200 OK"), "{answer}");
            Ok(())
        })
        .with_context(|| envoy.process.said())?;
        Ok(envoy)
    }

    /// One of Envoy's own counts.
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        let text = self.get(&format!("/stats?filter={name}"))?;
        let prefix = format!("{name}: ");
        let value = text.lines().find_map(|line| line.trim().strip_prefix(&prefix));
        value.with_context(|| format!("no {name} in\n{text}"))?.parse().context("a count of Envoy's")
    }

    /// Connections that it accepted from its pod's workload.
    pub(crate) fn accepted(&self) -> Result<u64> {
        self.count("listener.0.0.0.0_15001.downstream_cx_total")
    }

    /// Its own page, without a connection of the pod's workload.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = connect_in(&self.within, (IpAddr::from([127, 0, 0, 1]), ADMIN).into())?;
        stream.set_read_timeout(Some(timeout()))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Redirects a pod's connections to its sidecar, which need not be there yet.
pub(crate) fn redirect(pod: &Pod, setup: &Setup<'_>) -> Result<()> {
    pod.run("nft", &["-f", "-"], &rules(setup)).map(drop)
}

/// Istio's rules (`istio-iptables`), as nft writes them.
fn rules(setup: &Setup<'_>) -> String {
    let port = setup.excluded_port.map(|port| format!("  tcp dport {port} return\n")).unwrap_or_default();
    let group =
        setup.excluded_group.map(|group| format!("  meta skgid {group} return\n")).unwrap_or_default();
    format!(
        "table ip istio {{\n chain output {{\n  type nat hook output priority -100;\n  \
         oifname lo ip saddr {PASSED_ON} return\n  \
         oifname lo ip daddr != 127.0.0.1 meta skgid {GROUP} ip protocol tcp redirect to :{INBOUND}\n  \
         oifname lo meta skgid != {GROUP} return\n  meta skgid {GROUP} return\n  ip daddr 127.0.0.1 return\n\
         {group}{port}  ip protocol tcp redirect to :{OUTBOUND}\n }}\n \
         chain prerouting {{\n  type nat hook prerouting priority -100;\n  \
         tcp dport {{ 15020, {HEALTH}, 15090 }} return\n  ip protocol tcp redirect to :{INBOUND}\n }}\n}}\n"
    )
}

/// Envoy's configuration.
fn config(setup: &Setup<'_>) -> Value {
    let mut passthrough =
        json!({"name": "passthrough", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"});
    let mut inbound = json!({"filters": [tcp("inbound")]});
    if setup.tls {
        passthrough["transport_socket"] = tls("UpstreamTlsContext");
        inbound["transport_socket"] = tls("DownstreamTlsContext");
        inbound["transport_socket"]["typed_config"]["require_client_certificate"] = true.into();
    }
    let mut clusters = vec![
        passthrough,
        json!({
            "name": "inbound", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
            "upstream_bind_config": {"source_address": {"address": PASSED_ON, "port_value": 0}}
        }),
        cluster("admin", Some(SocketAddr::from(([127, 0, 0, 1], ADMIN)))),
    ];
    let mut chains = Vec::new();
    for (number, Route { service, to }) in setup.routes.iter().enumerate() {
        let name = format!("route{number}");
        clusters.push(cluster(&name, *to));
        let filter = if to.is_some() { tcp(&name) } else { http(&name, "/") };
        chains.push(json!({
            "filter_chain_match": {
                "prefix_ranges": [{"address_prefix": service.ip(), "prefix_len": 32}],
                "destination_port": service.port()
            },
            "filters": [filter]
        }));
    }
    chains.push(json!({"filters": [tcp("passthrough")]}));
    let original =
        json!([extension("envoy.filters.listener.original_dst", "listener.original_dst.v3.OriginalDst")]);
    let listener = |name: &str, port: u16, filters: &Value, chains: Value| {
        json!({
            "name": name, "address": socket(SocketAddr::from(([0, 0, 0, 0], port))),
            "listener_filters": filters, "filter_chains": chains
        })
    };
    json!({
        "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], ADMIN)))},
        "static_resources": {
            "clusters": clusters,
            "listeners": [
                listener("outbound", OUTBOUND, &original, chains.into()),
                listener("inbound", INBOUND, &original, json!([inbound])),
                listener("health", HEALTH, &json!([]), json!([{"filters": [http("admin", "/ready")]}]))
            ]
        }
    })
}

fn cluster(name: &str, to: Option<SocketAddr>) -> Value {
    let endpoints: Vec<_> = to.iter().map(|to| json!({"endpoint": {"address": socket(*to)}})).collect();
    json!({
        "name": name, "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    })
}

/// Passes bytes on to a cluster.
fn tcp(cluster: &str) -> Value {
    let mut filter = extension("envoy.filters.network.tcp_proxy", "network.tcp_proxy.v3.TcpProxy");
    filter["typed_config"]["stat_prefix"] = cluster.into();
    filter["typed_config"]["cluster"] = cluster.into();
    filter
}

/// Passes requests below this path on to a cluster.
fn http(cluster: &str, path: &str) -> Value {
    let manager = "network.http_connection_manager.v3.HttpConnectionManager";
    let mut filter = extension("envoy.filters.network.http_connection_manager", manager);
    let config = &mut filter["typed_config"];
    config["stat_prefix"] = cluster.into();
    config["http_filters"] = json!([extension("envoy.filters.http.router", "http.router.v3.Router")]);
    let route = json!({"match": {"prefix": path}, "route": {"cluster": cluster}});
    config["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]});
    filter
}

/// Encrypts, and shows the certificate; accepts every other one.
fn tls(kind: &str) -> Value {
    let of = |text: &str| json!({"inline_string": text});
    let kind = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}");
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": kind,
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": of(CERTIFICATE), "private_key": of(KEY)}],
            "validation_context": {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
        }
    }})
}

fn extension(name: &str, kind: &str) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.filters.{kind}");
    json!({"name": name, "typed_config": {"@type": kind}})
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}
