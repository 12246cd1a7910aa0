//! Services, endpoint slices and nodes: <https://kubernetes.io/docs/reference/kubernetes-api/>

use serde::Deserialize;

use super::fields::{self, Address, Protocol};
use super::{Malformed, Metadata, Watched, required};
use netcause_core::enrich::objects::{Change, Endpoint, EndpointSlice, Kind, Node, Service, ServicePort};

/// A service as the server sends it.
#[derive(Debug, Deserialize)]
pub struct ServiceObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "fields::or_default")]
    spec: ServiceSpec,
    #[serde(default, deserialize_with = "fields::or_default")]
    status: ServiceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Address,
    #[serde(default, rename = "clusterIPs", deserialize_with = "fields::or_default")]
    cluster_ips: Vec<Address>,
    #[serde(default, rename = "externalIPs", deserialize_with = "fields::or_default")]
    external_ips: Vec<Address>,
    #[serde(default, deserialize_with = "fields::or_default")]
    ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStatus {
    #[serde(default, deserialize_with = "fields::or_default")]
    load_balancer: LoadBalancer,
}

#[derive(Debug, Default, Deserialize)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "fields::or_default")]
    ingress: Vec<Ingress>,
}

#[derive(Debug, Deserialize)]
struct Ingress {
    #[serde(default)]
    ip: Address,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default, deserialize_with = "fields::or_default")]
    protocol: Protocol,
    port: Option<u16>,
    node_port: Option<u16>,
}

impl Watched for ServiceObject {
    const KIND: Kind = Kind::Service;
    const PATH: &'static str = "/api/v1/services";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn change(self) -> Result<Option<Change>, Malformed> {
        let Self { metadata, spec, status } = self;
        required(&metadata, true)?;
        let balancers = status.load_balancer.ingress.into_iter().map(|Ingress { ip }| ip);
        let all = spec.cluster_ips.into_iter().chain([spec.cluster_ip]).chain(spec.external_ips);
        Ok(Some(Change::ApplyService(Box::new(Service {
            namespace: metadata.namespace,
            name: metadata.name,
            addresses: fields::addresses(all.chain(balancers)),
            ports: ports(&spec.ports),
        }))))
    }
}

/// An endpoint slice as the server sends it.
#[derive(Debug, Deserialize)]
pub struct SliceObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "fields::or_default")]
    endpoints: Vec<SliceEndpoint>,
    #[serde(default, deserialize_with = "fields::or_default")]
    ports: Vec<Port>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint {
    #[serde(default, deserialize_with = "fields::or_default")]
    addresses: Vec<Address>,
    #[serde(default, deserialize_with = "fields::or_default")]
    target_ref: Target,
}

#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default, deserialize_with = "fields::or_default")]
    kind: TargetKind,
    uid: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
enum TargetKind {
    Pod,
    #[default]
    #[serde(other)]
    Other,
}

impl Watched for SliceObject {
    const KIND: Kind = Kind::EndpointSlice;
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn change(self) -> Result<Option<Change>, Malformed> {
        let Self { metadata, endpoints, ports: all } = self;
        required(&metadata, true)?;
        // A slice without a service names nothing.
        let Some(service) = metadata.labels.service_name else { return Ok(None) };
        let endpoints = endpoints.into_iter().map(|SliceEndpoint { addresses, target_ref }| Endpoint {
            addresses: fields::addresses(addresses),
            pod: target_ref.uid.filter(|_| matches!(target_ref.kind, TargetKind::Pod)),
        });
        Ok(Some(Change::ApplyEndpointSlice(Box::new(EndpointSlice {
            namespace: metadata.namespace,
            name: metadata.name,
            service,
            ports: ports(&all),
            endpoints: endpoints.collect(),
        }))))
    }
}

/// A node as the server sends it.
#[derive(Debug, Deserialize)]
pub struct NodeObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "fields::or_default")]
    status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default, deserialize_with = "fields::or_default")]
    addresses: Vec<NodeAddress>,
}

#[derive(Debug, Deserialize)]
struct NodeAddress {
    #[serde(default)]
    address: Address,
}

impl Watched for NodeObject {
    const KIND: Kind = Kind::Node;
    const PATH: &'static str = "/api/v1/nodes";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn change(self) -> Result<Option<Change>, Malformed> {
        let Self { metadata, status } = self;
        required(&metadata, false)?;
        let all = status.addresses.into_iter().map(|NodeAddress { address }| address);
        Ok(Some(Change::ApplyNode(Box::new(Node {
            name: metadata.name,
            addresses: fields::addresses(all),
            zone: metadata.labels.zone.or(metadata.labels.old_zone),
        }))))
    }
}

fn ports(all: &[Port]) -> Vec<ServicePort> {
    let known = |port: &Port| {
        Some(ServicePort {
            protocol: port.protocol.0?,
            port: port.port?,
            node_port: port.node_port.filter(|number| *number != 0),
        })
    };
    all.iter().filter_map(known).collect()
}
