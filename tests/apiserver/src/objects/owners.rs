//! Nodes, and what owns pods.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{LONG_AGO, uid_of};
use crate::time::rfc3339;

/// A node, with the images that a kubelet reports: fifty at most, which are most of its bytes.
#[must_use]
pub fn node(name: &str, address: IpAddr, zone: &str) -> Value {
    let images: Vec<Value> = (0..45)
        .map(|number| {
            let image = format!("registry.example/team-{}/service-{number}", number % 9);
            json!({"names": [format!("{image}@sha256:{:064x}", number * 7919), format!("{image}:v1.{number}.0")],
                "sizeBytes": 40_000_000 + number})
        })
        .collect();
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {
            "name": name, "uid": uid_of(&format!("node/{name}")), "creationTimestamp": rfc3339(LONG_AGO),
            "labels": {
                "beta.kubernetes.io/arch": "amd64", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": name, "node.kubernetes.io/instance-type": "m5.2xlarge",
                "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone,
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"podCIDR": "10.77.0.0/24", "podCIDRs": ["10.77.0.0/24"], "providerID": format!("lab:///{name}")},
        "status": {
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "7910m", "memory": "29Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": rfc3339(LONG_AGO), "lastTransitionTime": rfc3339(LONG_AGO)}],
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "images": images,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"machineID": "a", "systemUUID": "b", "bootID": "c", "kernelVersion": "6.12.0",
                "osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.34.1", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": "amd64"},
        },
    })
}

/// What owns pods or owners of pods; `by` is the kind and name of what owns it, in the same API group.
#[must_use]
pub fn owner(
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    by: Option<(&str, &str, &str)>,
) -> Value {
    let mut object = json!({
        "kind": kind, "apiVersion": api_version,
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid_of(&format!("{kind}/{namespace}/{name}")),
            "creationTimestamp": rfc3339(LONG_AGO), "generation": 1,
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1},
    });
    if let Some((api_version, kind, name)) = by {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": api_version, "kind": kind, "name": name, "controller": true, "blockOwnerDeletion": true,
            "uid": uid_of(&format!("{kind}/{namespace}/{name}")),
        }]);
    }
    object
}
