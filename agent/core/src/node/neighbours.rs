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
/// Readings within which an address has to come back twice to flap: two and a half minutes, as entries that nobody confirms last for 15
/// to 45 s (base_reachable_time_ms).
const FLAPPING: u32 = 30;

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

/// A neighbour that has another link address than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved<Place> {
    /// Where it is a neighbour.
    pub place: Place,
    /// It has gone back to the link address before the last one, as it did the time before: it flaps between two.
    pub flaps: bool,
}

/// A link address as it was last seen.
#[derive(Debug)]
struct Known {
    link_address: Vec<u8>,
    /// The one before; empty at first.
    before: Vec<u8>,
    /// The reading that last found it back at the one before.
    returned: Option<u32>,
    /// The reading that found it last.
    seen: u32,
}

impl Known {
    /// Whether it has moved, and then whether it flaps.
    fn update(&mut self, link_address: Vec<u8>, now: u32) -> Option<bool> {
        self.seen = now;
        if self.link_address == link_address {
            return None;
        }
        let is_back = self.before == link_address;
        let flaps = is_back && self.returned.is_some_and(|last| now.wrapping_sub(last) < FLAPPING);
        self.returned = is_back.then_some(now);
        self.before = std::mem::replace(&mut self.link_address, link_address);
        Some(flaps)
    }
}

/// The link addresses of neighbours as they were last seen, by where they are neighbours.
#[derive(Debug)]
pub(super) struct LinkAddresses<Place> {
    known: HashMap<(Place, IpAddr), Known>,
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
    ) -> (Vec<Moved<Place>>, u64) {
        self.readings = self.readings.wrapping_add(1);
        let (now, mut moved, mut left_out) = (self.readings, Vec::new(), 0);
        for (place, address, link_address) in neighbours {
            let is_full = self.known.len() >= MAX_NEIGHBOURS;
            match self.known.get_mut(&(place, address)) {
                Some(known) => {
                    moved.extend(known.update(link_address, now).map(|flaps| Moved { place, flaps }));
                }
                None if is_full => left_out += 1,
                None => {
                    let known = Known { link_address, before: Vec::new(), returned: None, seen: now };
                    self.known.insert((place, address), known);
                }
            }
        }
        self.known.retain(|_, known| now.wrapping_sub(known.seen) < REMEMBERED);
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

    #[test]
    fn what_goes_back_and_forth_flaps_and_what_moves_or_comes_back_does_not() {
        let flaps = |links: &[u8]| {
            let mut known = LinkAddresses::default();
            let mut read = |link: &u8| known.read([neighbour(1, *link)]).0.iter().any(|moved| moved.flaps);
            links.iter().map(&mut read).collect::<Vec<_>>()
        };
        // A failover and its end, and an address that others take after each other.
        assert_eq!(flaps(&[1, 2, 1]), [false; 3]);
        assert_eq!(flaps(&[1, 2, 3, 4, 5]), [false; 5]);
        assert_eq!(flaps(&[1, 2, 1, 2, 2, 1]), [false, false, false, true, false, true]);
        // A failover in one hour and in another.
        let long = [2, 1, 2].map(|link| [link; FLAPPING as usize]);
        assert!(!flaps(&[&[1][..], &long.concat()].concat()).contains(&true));
    }
}
