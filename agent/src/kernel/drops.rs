//! Packets that the kernel dropped: which of its reasons count, and the map of counters.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{HashMap as Table, MapData, MapError};
use netcause_common::drops::{DropDirection, DropKey, DropReason, DropReasons};
use netcause_common::limits;

use super::btf::Btf;
use super::maps::{Fullness, take};

/// A counter that has not grown for so long is removed.
const IDLE: Duration = Duration::from_mins(10);
/// Above so many counters all are removed once they are read: a scan, or a flood from forged addresses, makes new ones without end, and
/// those of others need room.
const CROWDED: usize = limits::DROPS as usize / 2;

/// Which of the running kernel's reasons count, by their names; none where it has no reasons.
pub(super) fn reasons(btf: &Btf) -> DropReasons {
    let mut reasons = DropReasons::NONE;
    for (name, number) in btf.enumerators("skb_drop_reason") {
        if let Some(reason) = name.strip_prefix("SKB_DROP_REASON_").and_then(DropReason::of_kernel)
            && let Some(slot) = reasons.by_number.get_mut(number as usize)
        {
            *slot = reason as u8 + 1;
        }
    }
    for (name, number) in btf.enumerators("skb_drop_reason_subsys") {
        if let Some(reason) = DropReason::of_subsystem(name)
            && let Some(slot) = reasons.subsystems.get_mut(number as usize)
        {
            *slot = reason as u8 + 1;
        }
    }
    reasons
}

/// The entries that count for all that the full map cannot hold, of reasons that the kernel has.
pub(super) fn others(reasons: &DropReasons) -> impl Iterator<Item = DropKey> {
    let slots = reasons.by_number.iter().chain(&reasons.subsystems);
    let known: BTreeSet<u8> = slots.filter_map(|slot| slot.checked_sub(1)).collect();
    known
        .into_iter()
        .flat_map(|reason| DropDirection::ALL.map(|direction| DropKey::other(reason, direction as u8)))
}

/// The map of dropped packets.
pub(super) struct Drops {
    map: Table<MapData, DropKey, u64>,
    /// What each counter was at the last reading, and when it last grew.
    seen: HashMap<DropKey, (u64, Instant)>,
    /// How many counters the last reading met.
    entries: usize,
}

impl Drops {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self { map: take(ebpf, "DROPS")?.try_into()?, seen: HashMap::new(), entries: 0 })
    }

    /// Calls `to` with what each counter has grown by since the last reading, and removes idle ones, or all where there are too many.
    pub(super) fn read(&mut self, now: Instant, mut to: impl FnMut(DropKey, u64)) -> Result<()> {
        let mut idle = Vec::new();
        for entry in self.map.iter() {
            let (key, count) = match entry {
                Ok(entry) => entry,
                // Removed meanwhile.
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(error).context("cannot read the map DROPS"),
            };
            let (last, grew) = self.seen.entry(key).or_insert((0, now));
            if count != *last {
                to(key, count.wrapping_sub(*last));
                (*last, *grew) = (count, now);
            } else if now.duration_since(*grew) >= IDLE && key.local != 0 {
                idle.push(key);
            }
        }
        self.entries = self.seen.len();
        if self.entries > CROWDED {
            idle = self.seen.keys().filter(|key| key.local != 0).copied().collect();
        }
        // Looking again and removal are two steps: a packet that is dropped between them is not counted.
        for key in idle {
            let last = self.seen.get(&key).map(|(last, _)| *last);
            if self.map.get(&key, 0).ok() == last {
                let _ = self.map.remove(&key);
                self.seen.remove(&key);
            }
        }
        Ok(())
    }

    pub(super) fn fullness(&self) -> Fullness {
        Fullness { map: "packet_drops", entries: self.entries as u64, limit: limits::DROPS.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::btf::testing::fixtures;
    use super::*;

    #[test]
    fn reasons_have_their_numbers_in_each_kernel() {
        for fixture in fixtures() {
            let btf = Btf::parse(fixture.data.clone()).unwrap();
            let reasons = reasons(&btf);
            let has = |wanted: DropReason| {
                let mut all = reasons.by_number.iter().filter(|slot| **slot == wanted as u8 + 1);
                all.next().is_some() && all.next().is_none()
            };
            let of = |name: &str| btf.enumerator("skb_drop_reason", &format!("SKB_DROP_REASON_{name}"));
            if fixture.version < (5, 17) {
                assert_eq!(reasons, DropReasons::NONE);
                continue;
            }
            for reason in [
                DropReason::NetfilterDrop,
                DropReason::QdiscDrop,
                DropReason::TcIngress,
                DropReason::Xdp,
                DropReason::TcpCsum,
                DropReason::NeighFailed,
                DropReason::IpOutnoroutes,
                DropReason::SocketRcvbuff,
                DropReason::CpuBacklog,
            ] {
                assert!(has(reason), "{reason:?} on {:?}", fixture.version);
            }
            assert!(!has(DropReason::Other), "{:?} has reasons that are not in the list", fixture.version);
            for none in ["NOT_SPECIFIED", "NO_SOCKET", "OTHERHOST", "TCP_OLD_DATA", "UNHANDLED_PROTO"] {
                assert_eq!(reasons.by_number[of(none).unwrap() as usize], 0, "{none}");
            }
            let has_subsystems = reasons.subsystems != DropReasons::NONE.subsystems;
            assert_eq!(has_subsystems, fixture.version >= (6, 4), "{:?}", fixture.version);
        }
    }

    #[test]
    fn there_is_one_entry_for_what_a_full_map_cannot_hold() {
        let mut reasons = DropReasons::NONE;
        assert_eq!(others(&reasons).count(), 0);
        reasons.by_number[64] = DropReason::QdiscDrop as u8 + 1;
        let found: Vec<_> = others(&reasons).collect();
        assert_eq!(found[2], DropKey::other(DropReason::QdiscDrop as u8, DropDirection::InTransit as u8));
        reasons.subsystems[2] = DropReason::Subsystem as u8 + 1;
        assert_eq!(others(&reasons).count(), 6);
    }
}
