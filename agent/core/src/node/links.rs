//! Network devices of the node, and the queues before them.

use std::collections::HashMap;

use netcause_common::labelled_enum;

use super::growth::{Counts, Growth, Width};
use crate::seen::Moment;

/// Devices with rows of their own; those of more are added up with the cables of pods.
pub const MAX_DEVICES: usize = 64;

labelled_enum! {
    /// What a device counts: an index into [`Link::counters`], called as by node_exporter (`rtnl_link_stats64`,
    /// include/uapi/linux/if_link.h).
    pub enum Counter: u8 {
        /// Packets received.
        ReceivePackets = 0, "receive_packets";
        /// Packets transmitted.
        TransmitPackets = 1, "transmit_packets";
        /// Bad packets received.
        ReceiveErrors = 2, "receive_errs";
        /// Packets transmitted with an error.
        TransmitErrors = 3, "transmit_errs";
        /// Packets received and dropped.
        ReceiveDropped = 4, "receive_drop";
        /// Packets dropped on their way to the device.
        TransmitDropped = 5, "transmit_drop";
        /// Packets that the device had no buffer for.
        ReceiveMissed = 6, "receive_missed";
        /// Times that the device came to have a carrier.
        CarrierUp = 7, "carrier_up_changes";
        /// Times that the device lost its carrier.
        CarrierDown = 8, "carrier_down_changes";
    }
}

labelled_enum! {
    /// What a queueing discipline counts: an index into [`Qdisc::counters`] (`struct gnet_stats_queue`,
    /// include/uapi/linux/gen_stats.h).
    pub enum QdiscCounter: u8 {
        /// Packets dropped.
        Drops = 0, "drops";
        /// Packets held back because a rate was exceeded.
        Overlimits = 1, "overlimits";
        /// Packets that the device did not take at the first time.
        Requeues = 2, "requeues";
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name, which may be any bytes.
    pub name: Vec<u8>,
    /// It is the node's end of a cable into another network namespace.
    pub is_cable: bool,
    /// It can pass packets.
    pub is_up: bool,
    /// The largest packet that it takes, in bytes.
    pub mtu: u32,
    /// By [`Counter`].
    pub counters: [u64; Counter::COUNT],
}

/// The root of a device's queueing disciplines, which counts for all below it, or its ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Number of the device.
    pub index: u32,
    /// Number of the discipline.
    pub handle: u32,
    /// Its kind, as in tc(8).
    pub kind: Vec<u8>,
    /// By [`QdiscCounter`]; each counts to 2^32.
    pub counters: [u64; QdiscCounter::COUNT],
    /// Packets that wait.
    pub packets: u64,
    /// Bytes that wait.
    pub bytes: u64,
}

/// A device's name; empty for cables of pods and what is above the limit.
type Device = String;

/// What devices have counted, and how they are.
#[derive(Debug)]
pub(super) struct Links {
    rows: Growth<u32, Device, { Counter::COUNT }>,
    qdiscs: Growth<(u32, u32, Vec<u8>), (Device, String), { QdiscCounter::COUNT }>,
    /// Names of devices with rows of their own.
    names: HashMap<u32, Device>,
    pub(super) states: Vec<DeviceState>,
    pub(super) queues: Vec<Queue>,
    /// Cables of pods, and devices above the limit.
    pub(super) folded: u64,
}

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Its name.
    pub device: String,
    /// It can pass packets.
    pub is_up: bool,
    /// The largest packet that it takes, in bytes.
    pub mtu: u32,
}

/// What waits in a queueing discipline now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The device's name; empty for all cables of pods and devices above the limit.
    pub device: String,
    /// The kind of the discipline.
    pub kind: String,
    /// Packets that wait.
    pub packets: u64,
    /// Bytes that wait.
    pub bytes: u64,
}

/// Counters of queueing disciplines by device and kind.
pub type QdiscRows = Vec<((String, String), Counts<{ QdiscCounter::COUNT }>)>;

impl Links {
    pub(super) fn new() -> Self {
        Self {
            rows: Growth::new(Width::Bits64),
            qdiscs: Growth::new(Width::Bits32),
            names: HashMap::new(),
            states: Vec::new(),
            queues: Vec::new(),
            folded: 0,
        }
    }

    pub(super) fn at(&mut self, moment: Moment) {
        self.rows.at(moment);
        self.qdiscs.at(moment);
    }

    /// Takes all devices.
    pub(super) fn read(&mut self, mut links: Vec<Link>) {
        links.sort_by_key(|link| link.index);
        let own = links.iter().filter(|link| !link.is_cable).take(MAX_DEVICES);
        self.names = own.map(|link| (link.index, String::from_utf8_lossy(&link.name).into_owned())).collect();
        self.folded = (links.len() - self.names.len()) as u64;
        let state = |link: &Link| {
            let device = self.names.get(&link.index)?.clone();
            Some(DeviceState { device, is_up: link.is_up, mtu: link.mtu })
        };
        self.states = links.iter().filter_map(state).collect();
        let rows: Vec<_> =
            links.iter().map(|link| (link.index, self.device(link.index), link.counters)).collect();
        self.rows.read(rows, true);
    }

    /// Takes all queueing disciplines, after the devices.
    pub(super) fn read_qdiscs(&mut self, qdiscs: Vec<Qdisc>) {
        let mut rows = Vec::with_capacity(qdiscs.len());
        self.queues.clear();
        for Qdisc { index, handle, kind, counters, packets, bytes } in qdiscs {
            let (device, name) = (self.device(index), String::from_utf8_lossy(&kind).into_owned());
            self.queues.push(Queue { device: device.clone(), kind: name.clone(), packets, bytes });
            rows.push(((index, handle, kind), (device, name), counters));
        }
        self.qdiscs.read(rows, true);
    }

    fn device(&self, index: u32) -> Device {
        self.names.get(&index).cloned().unwrap_or_default()
    }

    /// What devices have counted.
    pub(super) fn rows(&self) -> Vec<(String, Counts<{ Counter::COUNT }>)> {
        self.rows.rows().map(|(device, counts)| (device.clone(), *counts)).collect()
    }

    /// What queueing disciplines have counted.
    pub(super) fn qdisc_rows(&self) -> QdiscRows {
        self.qdiscs.rows().map(|(row, counts)| (row.clone(), *counts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, is_cable: bool, dropped: u64) -> Link {
        let mut counters = [0; Counter::COUNT];
        counters[Counter::ReceiveDropped as usize] = dropped;
        Link { index, name: name.into(), is_cable, is_up: true, mtu: 1500, counters }
    }

    fn qdisc(index: u32, handle: u32, drops: u64) -> Qdisc {
        Qdisc { index, handle, kind: b"tbf".into(), counters: [drops, 0, 0], packets: 1, bytes: 90 }
    }

    #[test]
    fn cables_are_added_up_and_lose_no_count_when_a_pod_ends() {
        let mut links = Links::new();
        links.read(vec![link(2, "eth0", false, 5), link(7, "cali1", true, 1), link(8, "cali2", true, 1)]);
        links.read_qdiscs(vec![qdisc(2, 1, 5), qdisc(7, 1, 0), qdisc(8, 1, 0)]);
        links.read(vec![link(2, "eth0", false, 6), link(7, "cali1", true, 3), link(8, "cali2", true, 5)]);
        links.read_qdiscs(vec![qdisc(2, 1, 9), qdisc(7, 1, 2), qdisc(8, 1, 3)]);
        links.read(vec![link(2, "eth0", false, 6), link(8, "cali2", true, 5)]);
        links.read_qdiscs(vec![qdisc(2, 2, 1), qdisc(8, 1, 3)]);
        let dropped: Vec<_> = links
            .rows()
            .into_iter()
            .map(|(device, counts)| (device, counts.total[Counter::ReceiveDropped as usize]))
            .collect();
        assert_eq!(dropped, [(String::new(), 6), ("eth0".to_owned(), 1)]);
        let drops: Vec<_> =
            links.qdisc_rows().into_iter().map(|((device, _), counts)| (device, counts.total[0])).collect();
        // Another discipline in place of the first one counts from zero.
        assert_eq!(drops, [(String::new(), 5), ("eth0".to_owned(), 5)]);
        assert_eq!((links.folded, links.states.len(), links.states[0].mtu), (1, 1, 1500));
    }

    #[test]
    fn devices_above_the_limit_are_added_up() {
        let mut links = Links::new();
        let many = u32::try_from(MAX_DEVICES).unwrap() + 3;
        links.read((1..=many).map(|index| link(index, &format!("d{index}"), false, 0)).collect());
        assert_eq!((links.rows().len(), links.folded), (MAX_DEVICES + 1, 3));
    }
}
