//! Services and their endpoint slices.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{LONG_AGO, Pod, uid_of};
use crate::time::rfc3339;

/// A service with these cluster addresses (none: headless) and ports `(port, node port)`, all TCP.
#[must_use]
pub fn service(namespace: &str, name: &str, addresses: &[IpAddr], ports: &[(u16, Option<u16>)]) -> Value {
    let ports = ports.iter().map(|(port, node_port)| {
        let mut json =
            json!({"name": format!("p{port}"), "protocol": "TCP", "port": port, "targetPort": 8080});
        if let Some(node_port) = node_port {
            json["nodePort"] = json!(node_port);
        }
        json
    });
    let ports: Vec<Value> = ports.collect();
    let is_node_port = ports.iter().any(|port| port.get("nodePort").is_some());
    let addresses: Vec<String> = match addresses {
        [] => vec!["None".to_owned()],
        addresses => addresses.iter().map(ToString::to_string).collect(),
    };
    json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid_of(&format!("service/{namespace}/{name}")),
            "creationTimestamp": rfc3339(LONG_AGO), "labels": {"app.kubernetes.io/name": name},
        },
        "spec": {
            "clusterIP": addresses[0], "clusterIPs": addresses, "ports": ports,
            "selector": {"app.kubernetes.io/name": name}, "sessionAffinity": "None",
            "type": if is_node_port { "NodePort" } else { "ClusterIP" },
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}

/// The endpoint slice of a service: these pods, by their first address, at one TCP port.
#[must_use]
pub fn endpoint_slice(namespace: &str, service: &str, port: u16, pods: &[(&Pod, IpAddr)]) -> Value {
    let is_v6 = pods.iter().any(|(_, address)| address.is_ipv6());
    let endpoints = pods.iter().map(|(pod, address)| {
        json!({
            "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "node-0", "zone": "zone-0",
            "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        })
    });
    let endpoints: Vec<Value> = endpoints.collect();
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": format!("{service}-b7k2x"), "generateName": format!("{service}-"), "namespace": namespace,
            "uid": uid_of(&format!("slice/{namespace}/{service}")), "creationTimestamp": rfc3339(LONG_AGO),
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service, "controller": true,
                "blockOwnerDeletion": true, "uid": uid_of(&format!("service/{namespace}/{service}")),
            }],
        },
        "addressType": if is_v6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints,
        "ports": [{"name": format!("p{port}"), "protocol": "TCP", "port": port}],
    })
}
