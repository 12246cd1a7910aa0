//! Fixtures for tests of names: objects as sources send them, flows as the kernel counts them, and cgroups.

use std::net::IpAddr;

use netcause_common::endpoint::Address;
use netcause_common::flow::{
    FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER,
};

use super::*;
use crate::enrich::cgroup::rules::{Rule, Rules};
use crate::enrich::networks::Networks;
use crate::enrich::objects::{
    Change, Endpoint, EndpointSlice, Node, Owner, Pod, Service, ServicePort, Source,
};
use crate::ingest::dns::Resolved;

/// The time at which tests begin.
pub const BEGIN: Seconds = 1_800_000_000;
/// A client that is in no cgroup.
pub(super) const CLIENT: u64 = LOCAL_IS_NAMESPACE | 1;

/// Names of a node that knows 10.0.0.0/8, and has no cgroups.
pub(super) fn names() -> Names {
    with_options(Options::default())
}

/// The same with names from DNS.
pub(super) fn with_dns(policy: DnsNames, max_outside_names: usize) -> Names {
    with_options(Options { labels: Arc::new(Labels::new(policy)), max_outside_names, ..Options::default() })
}

fn with_options(options: Options) -> Names {
    started(Names::new(known(options)))
}

/// Names after the first, empty list of pods.
pub(super) fn started(mut names: Names) -> Names {
    names.set_time(BEGIN, Duration::from_secs(100));
    names.receive(Change::Init(Kind::Pod));
    names.receive(Change::InitDone(Kind::Pod));
    names.take_changes();
    names
}

pub(super) use crate::enrich::objects::Kind;

/// Options with 10.0.0.0/8 as the known network.
pub(super) fn known(options: Options) -> Options {
    Options { known_networks: vec!["10.0.0.0/8".parse().unwrap()], ..options }
}

impl Names {
    /// Applies a change from the API.
    pub(super) fn receive(&mut self, change: Change) {
        self.apply(&Update { source: Source::Api, change });
    }

    /// Advances the time.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.set_time(self.now + seconds, self.at + Duration::from_secs(seconds));
    }

    /// Records a DNS answer with one address to a client.
    pub(super) fn resolve(&mut self, local: u64, name: &str, address: &str) {
        let resolved = Resolved { address: ip(address), ttl: 30 };
        self.learn(local, &name.parse().unwrap(), &[resolved]);
    }

    /// The remote end of a client's flow, as text.
    pub(super) fn to(&mut self, address: &str, port: u16) -> String {
        self.flow(&client(CLIENT, address, port))
    }

    /// Observes a flow; its remote end as text.
    pub(super) fn flow(&mut self, flow: &FlowKey) -> String {
        self.observe(flow);
        text(&self.remote(flow))
    }

    /// Answers the conntrack lookup of every service with these backends.
    pub(super) fn found(&mut self, backends: &[&str]) {
        let found: Vec<_> = backends.iter().map(|backend| (ip(backend), 8080).into()).collect();
        let pass = self.ask_conntrack().unwrap();
        self.answer_conntrack(pass.answered(|_| found.clone()));
    }
}

/// `namespace/workload`, and the service after an arrow.
pub(super) fn text(remote: &Remote) -> String {
    let Remote { workload, service, .. } = remote;
    let workload = match workload {
        Workload::Named(name) => name.to_string(),
        other => other.to_string(),
    };
    match service {
        Some(service) => format!("{service} -> {workload}"),
        None => workload,
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A flow of a client.
pub(super) fn client(local: u64, address: &str, port: u16) -> FlowKey {
    let remote = match ip(address) {
        IpAddr::V4(v4) => Address::from_v4_network_order(u32::from_ne_bytes(v4.octets())),
        IpAddr::V6(_) => panic!("only IPv4 is supported here"),
    };
    FlowKey { local, remote, service_port: port, protocol: PROTOCOL_TCP, role: ROLE_CLIENT, reserved: 0 }
}

/// The same at the server's end.
pub(super) fn server(local: u64, address: &str, port: u16) -> FlowKey {
    FlowKey { role: ROLE_SERVER, ..client(local, address, port) }
}

/// The uid of a pod with a number.
pub fn uid(number: u8) -> Box<str> {
    format!("{number:02}000000-0000-4000-8000-000000000000").into()
}

/// A pod of a Deployment in `shop`.
pub fn pod(number: u8, workload: &str, address: &str) -> Pod {
    Pod {
        uid: uid(number),
        namespace: "shop".into(),
        name: format!("{workload}-abc-{number}").into(),
        owner: Some(Owner {
            kind: "ReplicaSet".into(),
            name: format!("{workload}-abc").into(),
            api_version: "apps/v1".into(),
        }),
        template_hash: Some("abc".into()),
        addresses: vec![ip(address)],
        since: Some(BEGIN),
        ..Pod::default()
    }
}

pub(super) fn apply_pod(pod: Pod) -> Change {
    Change::ApplyPod(Box::new(pod))
}

pub(super) fn node(name: &str, address: &str) -> Change {
    Change::ApplyNode(Box::new(Node { name: name.into(), addresses: vec![ip(address)], zone: None }))
}

/// A service in `shop` at port 80, over TCP and UDP, and at port 30080 of every node.
pub fn service(name: &str, address: &str) -> Change {
    let port = |protocol, node_port| ServicePort { protocol, port: 80, node_port };
    Change::ApplyService(Box::new(Service {
        namespace: "shop".into(),
        name: name.into(),
        addresses: vec![ip(address)],
        ports: vec![port(PROTOCOL_TCP, Some(30080)), port(PROTOCOL_UDP, None)],
    }))
}

/// All of a service's endpoints, at port 8080: addresses and the numbers of their pods.
pub fn endpoints(service: &str, of: &[(&str, u8)]) -> Change {
    let endpoint =
        |(address, pod): &(&str, u8)| Endpoint { addresses: vec![ip(address)], pod: Some(uid(*pod)) };
    Change::ApplyEndpointSlice(Box::new(EndpointSlice {
        namespace: "shop".into(),
        name: format!("{service}-a").into(),
        service: service.into(),
        ports: vec![ServicePort { protocol: PROTOCOL_TCP, port: 8080, node_port: None }],
        endpoints: of.iter().map(endpoint).collect(),
    }))
}

/// The networks and cgroup rules of a names file.
pub(super) fn extra(networks: &[(&str, Name)], rules: Vec<Rule>) -> Arc<Extra> {
    let networks: Vec<_> =
        networks.iter().map(|(network, name)| (network.parse().unwrap(), name.clone())).collect();
    Arc::new(Extra {
        networks: Networks::new(&networks).unwrap(),
        cidrs: networks.iter().map(|(network, _)| *network).collect(),
        cgroups: Rules::new(rules).unwrap(),
    })
}

/// Cgroups by their paths.
pub(super) struct Tree(Vec<String>);

impl Tree {
    pub(super) fn new(paths: &[&str]) -> Self {
        Self(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    pub(super) fn local(&self, path: &str) -> u64 {
        100 + self.0.iter().position(|known| known == path).unwrap() as u64
    }

    /// Names that know the paths of all these cgroups.
    pub(super) fn names(&self, options: Options) -> Names {
        let mut names = started(Names::new(known(options)));
        for path in &self.0 {
            names.answer_cgroup(self.local(path), Some(path.as_bytes()));
        }
        names.take_changes();
        names
    }
}

/// Where the kubelet puts a container of a pod.
pub(super) fn kubepods(number: u8, container: char) -> String {
    let container = String::from(container).repeat(64);
    format!("kubepods/burstable/pod{}/{container}", uid(number))
}
