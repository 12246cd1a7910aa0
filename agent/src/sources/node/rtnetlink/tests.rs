//! Real answers of this kernel against its files, and bytes that are none.

use std::fs;

use netcause_core::node::links::Counter;
use proptest::prelude::*;

use super::*;

#[test]
fn devices_are_those_of_sysfs() {
    let links = links().unwrap();
    let loopback = links.iter().find(|link| link.name == b"lo").unwrap();
    assert_eq!((loopback.index, loopback.is_cable), (1, false));
    for link in &links {
        let name = std::str::from_utf8(&link.name).unwrap();
        let read = |file: &str| {
            let text = fs::read_to_string(format!("/sys/class/net/{name}/{file}")).unwrap_or_default();
            text.trim().parse::<u64>().unwrap_or_default()
        };
        assert_eq!(u64::from(link.mtu), read("mtu"), "{name}");
        for (counter, file) in [
            (Counter::CarrierUp, "carrier_up_count"),
            (Counter::CarrierDown, "carrier_down_count"),
            (Counter::ReceiveErrors, "statistics/rx_errors"),
            (Counter::TransmitErrors, "statistics/tx_errors"),
            (Counter::ReceiveMissed, "statistics/rx_missed_errors"),
            (Counter::TransmitDropped, "statistics/tx_dropped"),
        ] {
            // Read after the answer, so that it may have grown.
            assert!(link.counters[counter as usize] <= read(file), "{name} {file}");
        }
        assert!(read("statistics/rx_packets") - link.counters[0] < 100_000, "{name}");
    }
}

#[test]
fn this_kernel_has_tables_of_neighbours() {
    let tables = tables().unwrap();
    let arp = tables.iter().find(|table| table.name == "arp_cache").unwrap();
    let limit = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").unwrap_or_default();
    // Only the first network namespace has the file.
    assert!(limit.is_empty() || limit.trim() == arp.thresholds[2].to_string(), "{arp:?}");
    assert!(neighbours().is_ok() && qdiscs().is_ok());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (link(&bytes), qdisc(&bytes), neighbour(&bytes), table(&bytes));
        prop_assert!(Messages(&bytes).count() <= bytes.len() / 16 + 1);
    }
}
