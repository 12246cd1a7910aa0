//! Objects as a cluster has them, whole: with environment, volumes, conditions and `managedFields`, of which a client
//! that reads names needs next to nothing.

mod owners;
mod pod;
mod services;

pub use owners::{node, owner};
pub use pod::Pod;
pub use services::{endpoint_slice, service};

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

/// When the objects of a scenario were made, where it does not say: 2026-01-05T08:00:00Z.
pub const LONG_AGO: u64 = 1_767_600_000;

/// A uid for a name: the same for the same, another for another.
pub fn uid_of(text: &str) -> String {
    // FNV-1a, twice: all that is wanted of it is that names of a test differ.
    let hash = |seed: u64| {
        text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// A cluster of so many pods on so many nodes: ten pods to a Deployment, ten Deployments to a namespace.
pub(crate) fn generated(pods: u32, nodes: u32, first: u32) -> impl Iterator<Item = Value> {
    let nodes = nodes.max(1);
    let address_of = |net: u8, number: u32| {
        let [_, b, c, d] = number.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(net, b, c, d))
    };
    let all_nodes = (0..nodes).map(move |number| {
        node(&format!("node-{number}"), address_of(172, 0x10_0000 + number), &format!("zone-{}", number % 3))
    });
    let all_pods = (first..first + pods).map(move |number| {
        let (namespace, deployment) = (number / 100, number / 10 % 10);
        Pod::of_deployment(&format!("team-{namespace}"), &format!("service-{deployment}"), number % 10)
            .on_node(&format!("node-{}", number % nodes))
            .at(address_of(10, 0x80_0000 + number))
            .json()
    });
    all_nodes.chain(all_pods)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_generated_cluster_has_objects_of_the_size_of_real_ones() {
        let all: Vec<Value> = generated(200, 3, 0).collect();
        assert_eq!(all.len(), 203);
        let pods = || all.iter().filter(|object| object["kind"] == "Pod");
        for node in all.iter().filter(|object| object["kind"] == "Node") {
            let size = node.to_string().len();
            assert!((8_000..12_000).contains(&size), "{size} bytes");
        }
        for pod in pods() {
            let size = pod.to_string().len();
            assert!((4_000..8_000).contains(&size), "{size} bytes");
        }
        let distinct = |pointer: &str| {
            pods().map(|pod| pod.pointer(pointer).unwrap().to_string()).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(distinct("/metadata/uid"), 200);
        assert_eq!(distinct("/status/podIP"), 200);
        assert_eq!(distinct("/metadata/namespace"), 2);
    }
}
