//! What the file says, checked.

use std::collections::HashSet;
use std::hash::Hash;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::raw::{RawCgroup, RawEndpoints, RawFile, RawNetwork, RawNode, RawPod, RawService, Word};
use netcause_core::enrich::cgroup::rules::{Rule, RuleError, Rules};
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::name::Name;
use netcause_core::enrich::networks::Networks;
use netcause_core::enrich::objects::{Endpoint, EndpointSlice, Node, Owner, Pod, Service, ServicePort};

/// The kind of owner that a workload in the file is: it has no owner itself.
pub const WORKLOAD: &str = "Workload";

/// Things in the file. What fits into it is some 5 million; they take memory while they are read only.
const MAX_THINGS: usize = 8_000_000;

/// Everything that the file says.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) nodes: Vec<Node>,
    pub(super) services: Vec<Service>,
    pub(super) slices: Vec<EndpointSlice>,
    pub(super) pods: Vec<Pod>,
    pub(super) extra: Extra,
}

impl Content {
    /// From its text; or what is wrong with it, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        // The file is the operator's own; its length is bounded already.
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MAX_THINGS, max_events: 2 * MAX_THINGS },
            with_snippet: false,
        };
        let raw: RawFile =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
        Self::check(raw)
    }

    fn check(raw: RawFile) -> Result<Self, String> {
        let (mut pods, mut uids) = (Vec::with_capacity(raw.pods.len()), HashSet::new());
        for Spanned { value, referenced: at, .. } in raw.pods {
            let pod = pod(value).map_err(|problem| place("pods", problem, at))?;
            once(&mut uids, pod.uid.clone()).map_err(|()| {
                place(
                    "pods",
                    &format!("{}: a pod with this uid, or this name and address, stands before", pod.uid),
                    at,
                )
            })?;
            pods.push(pod);
        }
        let (mut services, mut slices, mut named) = (Vec::new(), Vec::new(), HashSet::new());
        for Spanned { value, referenced: at, .. } in raw.services {
            let (service, of_service) = service(value);
            once(&mut named, (service.namespace.clone(), service.name.clone())).map_err(|()| {
                let problem = format!("{}/{} stands there before", service.namespace, service.name);
                place("services", &problem, at)
            })?;
            services.push(service);
            slices.extend(of_service);
        }
        let (mut nodes, mut named) = (Vec::new(), HashSet::new());
        for Spanned { value, referenced: at, .. } in raw.nodes {
            let node = node(value);
            once(&mut named, node.name.clone())
                .map_err(|()| place("nodes", &format!("{} stands there before", node.name), at))?;
            nodes.push(node);
        }
        let mut networks = Vec::with_capacity(raw.networks.len());
        let mut places = Vec::with_capacity(raw.networks.len());
        for Spanned { value, referenced: at, .. } in raw.networks {
            networks.push(network(&value).map_err(|problem| place("networks", problem, at))?);
            places.push(at);
        }
        let cidrs = networks.iter().map(|(network, _)| *network).collect();
        let networks = Networks::new(&networks).map_err(|(index, error)| {
            place("networks", &error.to_string(), places.get(index).copied().unwrap_or(Location::UNKNOWN))
        })?;
        let (mut rules, mut last) = (Vec::with_capacity(raw.cgroups.len()), Location::UNKNOWN);
        for Spanned { value, referenced: at, .. } in raw.cgroups {
            rules.push(rule(&value).map_err(|error| place("cgroups", &error.to_string(), at))?);
            last = at;
        }
        let cgroups = Rules::new(rules).map_err(|error| place("cgroups", &error.to_string(), last))?;
        Ok(Self { nodes, services, slices, pods, extra: Extra { networks, cidrs, cgroups } })
    }
}

/// As YAML's reader says it.
fn place(key: &str, problem: &str, at: Location) -> String {
    format!("{key}: {problem} at line {}, column {}", at.line(), at.column())
}

fn once<T: Eq + Hash>(seen: &mut HashSet<T>, new: T) -> Result<(), ()> {
    if seen.insert(new) { Ok(()) } else { Err(()) }
}

fn pod(raw: RawPod) -> Result<Pod, &'static str> {
    let RawPod { namespace, workload, name, owner, uid, addresses, node, host_network } = raw;
    let owner = match (workload, owner) {
        (Some(_), Some(_)) => return Err("a pod has `workload` or `owner`, not both"),
        (Some(Word(name)), None) => Some(Owner { kind: WORKLOAD.into(), name, api_version: Box::default() }),
        (None, Some(raw)) => Some(Owner { kind: raw.kind.0, name: raw.name.0, api_version: Box::default() }),
        (None, None) => None,
    };
    let name = match (name, &owner) {
        (Some(Word(name)), _) => name,
        (None, Some(owner)) => owner.name.clone(),
        (None, None) => return Err("a pod needs `workload` or `name`"),
    };
    let uid = match (uid, addresses.first()) {
        (Some(Word(uid)), _) => uid,
        // Replicas may have one name and differ by address.
        (None, Some(address)) => format!("file:{}/{name}/{address}", namespace.0).into(),
        (None, None) => return Err("a pod needs `addresses` or `uid`"),
    };
    Ok(Pod {
        uid,
        namespace: namespace.0,
        name,
        owner,
        node: node.map(|Word(node)| node),
        is_host_network: host_network,
        addresses,
        ..Pod::default()
    })
}

fn service(raw: RawService) -> (Service, Vec<EndpointSlice>) {
    let RawService { namespace: Word(namespace), name: Word(name), addresses, ports, endpoints } = raw;
    let slices = endpoints
        .into_iter()
        .enumerate()
        .map(|(index, endpoints)| slice(&namespace, &name, index, endpoints))
        .collect();
    let ports = ports.into_iter().map(|raw| ServicePort {
        protocol: raw.protocol.number(),
        port: raw.port.get(),
        node_port: raw.node_port.map(Into::into),
    });
    (Service { namespace, name, addresses, ports: ports.collect() }, slices)
}

fn slice(namespace: &str, service: &str, index: usize, raw: RawEndpoints) -> EndpointSlice {
    let ports = raw.ports.iter().map(|raw| ServicePort {
        protocol: raw.protocol.number(),
        port: raw.port.get(),
        node_port: None,
    });
    EndpointSlice {
        namespace: namespace.into(),
        name: format!("{service}-{index}").into(),
        service: service.into(),
        ports: ports.collect(),
        // Addresses of one endpoint would be those of one pod.
        endpoints: raw
            .addresses
            .into_iter()
            .map(|address| Endpoint { addresses: vec![address], pod: None })
            .collect(),
    }
}

fn node(raw: RawNode) -> Node {
    Node { name: raw.name.0, addresses: raw.addresses, zone: raw.zone.map(|Word(zone)| zone) }
}

/// `name` may have its namespace before a slash.
fn network(raw: &RawNetwork) -> Result<(IpNet, Name), &'static str> {
    let (namespace, workload) = match (&raw.namespace, raw.name.0.split_once('/')) {
        (Some(Word(namespace)), _) => (&**namespace, &*raw.name.0),
        (None, Some((namespace, workload))) => (namespace, workload),
        (None, None) => ("", &*raw.name.0),
    };
    if workload.is_empty() || (namespace.is_empty() && raw.name.0.starts_with('/')) {
        return Err("`name` has nothing before or behind its slash");
    }
    Ok((raw.cidr.0, Name::new(namespace, workload)))
}

fn rule(raw: &RawCgroup) -> Result<Rule, RuleError> {
    let namespace = raw.namespace.as_ref().map(|Word(namespace)| &**namespace);
    Rule::new(&raw.path.0, namespace, &raw.workload.0)
}
