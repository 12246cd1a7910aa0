//! Measures what the directory costs: bytes a pod in a cluster of 5 000 nodes with 110 pods each, and the time of its lookups.
//!
//!     cargo bench -p netcause-core --bench directory
//!
//! Bytes are counted at the allocator, and may be compared between machines. Times are of one machine: compare them only with
//! one another.

use std::alloc::System;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use netcause_core::enrich::directory::{Directory, Dropped, Limits};
use netcause_core::enrich::objects::{
    Change, Endpoint, EndpointSlice, Kind, Node, Owner, Pod, Service, ServicePort, Source, Update,
};
use netcause_core::enrich::uid::PodUid;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: u32 = 5000;
const PODS_OF_NODE: u32 = 110;
const PODS: u32 = NODES * PODS_OF_NODE;
/// The most bytes that a pod may take.
const MAX_BYTES: usize = 200;
/// 2026-06-01.
const NOW: u64 = 1_780_272_000;
const PODS_OF_WORKLOAD: u32 = 18;
const WORKLOADS: u32 = PODS.div_ceil(PODS_OF_WORKLOAD);
const LOOKUPS: u32 = 500_000;
const TCP: u8 = 6;

fn main() {
    println!("{PODS} pods on {NODES} nodes");
    let clusters = [
        ("one address, of IPv4", Cluster { is_dual: false, has_jobs: false }),
        ("two addresses, of both families", Cluster { is_dual: true, has_jobs: false }),
        (
            "one address, and every fifth pod is a Job's that has no other",
            Cluster { is_dual: false, has_jobs: true },
        ),
    ];
    for (what, cluster) in clusters {
        let bytes = measure(what, &cluster);
        assert!(bytes <= MAX_BYTES, "more than {MAX_BYTES} bytes a pod");
    }
}

/// The cluster that is generated.
struct Cluster {
    is_dual: bool,
    has_jobs: bool,
}

/// Fills a directory, looks things up, empties it. Returns bytes a pod.
fn measure(what: &str, cluster: &Cluster) -> usize {
    let uids: Vec<PodUid> = (0..PODS).filter_map(|number| uid(number).parse().ok()).collect();
    let all = Region::new(ALLOCATOR);
    let (pods, nodes, endpoints) = (PODS as usize, NODES as usize, 2 * PODS as usize);
    let mut directory = Directory::new(Limits { pods, nodes, endpoints, ..Limits::default() });
    for number in 0..NODES {
        apply(&mut directory, Change::ApplyNode(Box::new(node(number))));
    }
    let (before, begin) = (held(&all), Instant::now());
    for number in 0..PODS {
        apply(&mut directory, Change::ApplyPod(Box::new(cluster.pod(number))));
    }
    let (bytes, seconds) = ((held(&all) - before) / pods, begin.elapsed().as_secs_f64());
    let statistics = directory.statistics();
    assert_eq!((statistics.pods, statistics.dropped), (pods, Dropped::default()));
    println!("\n{what}: {bytes} bytes a pod, {} workloads", statistics.workloads);
    println!("  a pod is built and applied: {:.0} ns", seconds * 1e9 / f64::from(PODS));

    let before = held(&all);
    for workload in 0..WORKLOADS {
        apply(&mut directory, Change::ApplyService(Box::new(service(workload))));
        apply(&mut directory, Change::ApplyEndpointSlice(Box::new(slice(workload))));
    }
    println!(
        "  a service and a slice of its {PODS_OF_WORKLOAD} pods: {} bytes",
        (held(&all) - before) / WORKLOADS as usize
    );
    assert_eq!(directory.statistics().dropped, Dropped::default());
    look_up(&directory, &uids);

    for kind in [Kind::Pod, Kind::Node, Kind::Service, Kind::EndpointSlice] {
        apply(&mut directory, Change::Init(kind));
        apply(&mut directory, Change::InitDone(kind));
    }
    directory.expire(NOW + 1000);
    println!("  all is deleted: {} KiB are left", held(&all) / 1024);
    bytes
}

/// Times the lookups that flows need and, for comparison, the hash of an address alone.
fn look_up(directory: &Directory, uids: &[PodUid]) {
    let hasher = RandomState::new();
    time("the hash of an address", |number| hasher.hash_one(address(number)) != 0);
    time("the holder of an address", |number| directory.holder(address(number), NOW).is_some());
    time("a pod by its uid", |number| directory.pod(&uids[number as usize]).is_some());
    time("a service by address and port", |number| {
        directory.service(service_address(number / PODS_OF_WORKLOAD), 80, TCP).is_some()
    });
    time("the service of an endpoint", |number| {
        directory.endpoint(address(number), 8080, TCP).is_some_and(|found| found.pod.is_some())
    });
    time("an address without a holder", |number| directory.holder(service_address(number), NOW).is_none());
    time("the holder of one of 1000 addresses", |number| {
        directory.holder(address(number % 1000), NOW).is_some()
    });
}

/// Prints the time of a lookup, which must always return true and allocate nothing.
fn time(what: &str, lookup: impl Fn(u32) -> bool) {
    let (region, begin) = (Region::new(ALLOCATOR), Instant::now());
    // Knuth's multiplier: a pod here, a pod there.
    let found =
        (0..LOOKUPS).filter(|number| lookup(black_box(number.wrapping_mul(2_654_435_761) % PODS))).count();
    let (nanoseconds, allocated) = (begin.elapsed().as_secs_f64() * 1e9, region.change());
    assert_eq!(found, LOOKUPS as usize, "{what}");
    assert_eq!((allocated.allocations, allocated.reallocations), (0, 0), "{what} allocates");
    println!("  {what}: {:.0} ns", nanoseconds / f64::from(LOOKUPS));
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    // A reallocation counts in one of the two, by how much it grows or shrinks.
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

fn apply(directory: &mut Directory, change: Change) {
    black_box(directory.apply(&Update { source: Source::Api, change }, NOW));
}

fn namespace(workload: u32) -> Box<str> {
    format!("team-{:03}-production", workload % 500).into()
}

fn name(workload: u32) -> String {
    let what = ["checkout-payment", "inventory-reader", "session-cache", "search-indexer", "api-gateway"];
    format!("{}-{workload:05}", what[workload as usize % what.len()])
}

fn uid(number: u32) -> String {
    let random = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-8000-{number:012x}", random >> 32, random >> 16 & 0xffff, random & 0xfff)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(10 << 24 | (number % NODES) << 8 | (number / NODES + 1)).into()
}

fn service_address(workload: u32) -> IpAddr {
    Ipv4Addr::from(172 << 24 | 16 << 16 | workload).into()
}

fn node(number: u32) -> Node {
    let zone = Some(format!("europe-west4-{}", number % 3).into());
    Node {
        name: node_name(number),
        addresses: vec![Ipv4Addr::from(192 << 24 | 168 << 16 | number).into()],
        zone,
    }
}

fn node_name(number: u32) -> Box<str> {
    format!("gke-production-pool-{number:04}.europe-west4.internal").into()
}

fn service(workload: u32) -> Service {
    let ports = vec![ServicePort { protocol: TCP, port: 80, node_port: None }];
    let (namespace, addresses) = (namespace(workload), vec![service_address(workload)]);
    Service { namespace, name: name(workload).into(), addresses, ports }
}

impl Cluster {
    fn pod(&self, number: u32) -> Pod {
        let workload = number / PODS_OF_WORKLOAD;
        let hash = format!("{:010x}", u64::from(workload) * 7_919_999 % 0xff_ffff_ffff);
        let (kind, owner, version) = if self.has_jobs && number.is_multiple_of(5) {
            ("Job", format!("{}-{number:06}", name(workload)), "batch/v1")
        } else {
            ("ReplicaSet", format!("{}-{hash}", name(workload)), "apps/v1")
        };
        Pod {
            uid: uid(number).into(),
            namespace: namespace(workload),
            name: format!("{owner}-{:05x}", number & 0xf_ffff).into(),
            owner: Some(Owner { kind: kind.into(), name: owner.into(), api_version: version.into() }),
            template_hash: Some(hash.into()),
            node: Some(node_name(number % NODES)),
            addresses: self.addresses(number),
            since: Some(NOW - 1000),
            ..Pod::default()
        }
    }

    fn addresses(&self, number: u32) -> Vec<IpAddr> {
        let second = Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number)).into();
        if self.is_dual { vec![address(number), second] } else { vec![address(number)] }
    }
}

fn slice(workload: u32) -> EndpointSlice {
    let endpoint = |number| Endpoint { addresses: vec![address(number)], pod: Some(uid(number).into()) };
    let pods = workload * PODS_OF_WORKLOAD..((workload + 1) * PODS_OF_WORKLOAD).min(PODS);
    EndpointSlice {
        namespace: namespace(workload),
        name: format!("{}-x7k2p", name(workload)).into(),
        service: name(workload).into(),
        ports: vec![ServicePort { protocol: TCP, port: 8080, node_port: None }],
        endpoints: pods.map(endpoint).collect(),
    }
}
