//! Neighbours: how full the kernel's tables are, those that do not answer, and addresses that changed their link address.

pub mod arp;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use netcause_common::labelled_enum;

/// Addresses whose link address is remembered; of more, changes are not seen.
pub const MAX_NEIGHBOURS: usize = 1 << 14;
/// Readings for which an address is remembered that is no neighbour any more: some ten minutes.
const REMEMBERED: u32 = 120;

labelled_enum! {
    /// What a table counts: an index into [`Table::counters`] (`struct ndt_stats`, include/uapi/linux/neighbour.h).
    pub enum Counter: u8 {
        /// Addresses that did not answer.
        ResolutionFailed = 0, "res_failed";
        /// Times that entries had to be removed to make room.
        ForcedGcRuns = 1, "forced_gc_runs";
        /// Times that there was no room.
        TableFulls = 2, "table_fulls";
    }
}

/// A table of the kernel, which all network namespaces share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name: `arp_cache` for IPv4, `ndisc_cache` for IPv6.
    pub name: String,
    /// Entries now, those that are never removed included.
    pub entries: u64,
    /// Where removal begins, where it hurts, and where there is no room: `gc_thresh1` to `gc_thresh3`.
    pub thresholds: [u64; 3],
    /// By [`Counter`].
    pub counters: [u64; Counter::COUNT],
}

/// A neighbour of the node's own network namespace with its link address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Number of the device.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its link address.
    pub link_address: Vec<u8>,
}

/// An address that has another link address than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Number of the device.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
}

/// The link addresses of neighbours as they were last seen, by where they are neighbours.
#[derive(Debug)]
pub(super) struct LinkAddresses<Place> {
    known: HashMap<(Place, IpAddr), (Vec<u8>, u32)>,
    readings: u32,
}

impl<Place> Default for LinkAddresses<Place> {
    fn default() -> Self {
        Self { known: HashMap::new(), readings: 0 }
    }
}

impl<Place: Copy + Eq + Hash> LinkAddresses<Place> {
    /// Takes all neighbours; returns those that have moved, and how many did not fit.
    pub(super) fn read(
        &mut self,
        neighbours: impl IntoIterator<Item = (Place, IpAddr, Vec<u8>)>,
    ) -> (Vec<(Place, IpAddr)>, u64) {
        self.readings = self.readings.wrapping_add(1);
        let (now, mut moved, mut left_out) = (self.readings, Vec::new(), 0);
        for (place, address, link_address) in neighbours {
            let is_full = self.known.len() >= MAX_NEIGHBOURS;
            match self.known.get_mut(&(place, address)) {
                Some((known, seen)) => {
                    *seen = now;
                    if *known != link_address {
                        *known = link_address;
                        moved.push((place, address));
                    }
                }
                None if is_full => left_out += 1,
                None => drop(self.known.insert((place, address), (link_address, now))),
            }
        }
        self.known.retain(|_, (_, seen)| now.wrapping_sub(*seen) < REMEMBERED);
        (moved, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(last: u8, link: u8) -> (u32, IpAddr, Vec<u8>) {
        (2, [10, 0, 0, last].into(), vec![2, 0, 0, 0, 0, link])
    }

    #[test]
    fn an_address_that_moves_is_seen_each_time() {
        let mut known = LinkAddresses::default();
        let moved = |known: &mut LinkAddresses<u32>, neighbours: Vec<_>| known.read(neighbours).0.len();
        assert_eq!(moved(&mut known, vec![neighbour(1, 1), neighbour(2, 2)]), 0);
        assert_eq!(moved(&mut known, vec![neighbour(1, 1), neighbour(2, 9)]), 1);
        // It is gone for a while, and comes back as it was first.
        assert_eq!(moved(&mut known, vec![neighbour(1, 1)]), 0);
        assert_eq!(moved(&mut known, vec![neighbour(1, 1), neighbour(2, 2)]), 1);
        for _ in 0..REMEMBERED {
            known.read(vec![neighbour(1, 1)]);
        }
        assert_eq!(moved(&mut known, vec![neighbour(2, 9)]), 0);
    }
}
