//! A node that has every metric.

use netcause_core::enrich::Workload;
use netcause_core::enrich::name::Name;
use netcause_core::node::growth::Counts;
use netcause_core::node::links::{DeviceState, Queue};
use netcause_core::node::neighbours::Table as Neighbours;
use netcause_core::node::{Failure, Reader, Reason, View};

pub(super) fn view() -> View {
    let missing = Failure::new(Reason::KernelFeatureMissing, "/proc/pressure/cpu: no such file");
    View {
        readers: vec![(Reader::Softnet, None), (Reader::Pressure, Some(missing))],
        softnet: Some(Counts { total: [9000, 3, 2, 1], ..Counts::default() }),
        softnet_backlog: Some(17),
        cpu_waiting_nanoseconds: Some(Counts { total: [1_500_000_000], ..Counts::default() }),
        netstat: vec![
            (None, counted(&[(0, 3), (1, 4)])),
            (Some(Workload::Named(Name::new("shop", "front"))), counted(&[(0, 8)])),
        ],
        conntrack: vec![(None, Counts { total: [5, 0, 7, 2, 0], ..Counts::default() })],
        conntrack_entries: vec![(None, 900), (Some(Workload::Named(Name::new("shop", "front"))), 12)],
        conntrack_limit: Some(1000),
        links: vec![("eth0".to_owned(), Counts { total: [9, 8, 7, 6, 5, 4, 3, 2, 1], ..Counts::default() })],
        devices: vec![DeviceState { device: "eth0".to_owned(), is_up: true, mtu: 1500 }],
        qdiscs: vec![(
            ("eth0".to_owned(), "tbf".to_owned()),
            Counts { total: [3, 2, 1], ..Counts::default() },
        )],
        queues: vec![Queue { device: "eth0".to_owned(), kind: "tbf".to_owned(), packets: 2, bytes: 3000 }],
        neighbour_tables: vec![("arp_cache".to_owned(), Counts { total: [3, 2, 1], ..Counts::default() })],
        neighbour_sizes: vec![Neighbours {
            name: "arp_cache".to_owned(),
            entries: 90,
            thresholds: [128, 512, 1024],
            counters: [3, 2, 1],
        }],
        neighbour_moves: Some(4),
        neighbour_flaps: 0,
        arp_entries: vec![(None, [5, 0]), (Some(Workload::Named(Name::new("shop", "front"))), [4, 1])],
        arp_changes: vec![(
            Some(Workload::Named(Name::new("shop", "front"))),
            Counts { total: [6], ..Counts::default() },
        )],
        changes: Some(Counts { total: [4, 3, 2, 1, 0], ..Counts::default() }),
        left_out: vec![("netstat_namespaces", 2)],
    }
}

fn counted<const N: usize>(counts: &[(usize, u64)]) -> Counts<N> {
    let mut counted = Counts::default();
    counts.iter().for_each(|(place, count)| counted.total[*place] = *count);
    counted
}
