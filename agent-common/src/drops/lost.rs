//! Ranges of TCP data that were dropped here, to be found when they are retransmitted.
//!
//! Ranges are kept in an array of groups. The tuple of a connection chooses the group; ranges in it replace each other in turn.
//! Programs of several CPUs may write one entry at a time without a lock: an entry has a checksum, and one that was mixed up is
//! none.

use crate::endpoint::Address;

/// Groups of ranges; a power of two.
pub const GROUPS: u32 = 1024;
/// Ranges in a group; a power of two.
pub const RANGES: usize = 8;
/// A range that was dropped longer ago is not looked for any more: longer than the longest retransmission timeout, 120 s
/// (`TCP_RTO_MAX`, include/net/tcp.h).
pub const KEPT_NS: u64 = 150_000_000_000;
/// Longer ranges are not made: more than any window has (RFC 7323 §2.3).
const LONGEST: u32 = 1 << 30;

/// Dropped ranges of the connections of a group.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LostGroup {
    /// How many ranges were ever put here; the next one goes to this place, modulo [`RANGES`].
    pub next: u64,
    /// The ranges.
    pub ranges: [LostRange; RANGES],
}

/// A range of the sequence space of one direction of a connection, which was dropped and not retransmitted yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostRange {
    /// The connection and the direction: [`tuple`].
    pub tuple: u64,
    /// When it was dropped, by the monotonic clock; of several drops in a row, the last one.
    pub at_ns: u64,
    /// First sequence number.
    pub start: u32,
    /// Sequence number after the last one. A SYN and a FIN count as one each.
    pub end: u32,
    /// A [`super::DropReason`].
    pub reason: u32,
    /// Of all the above.
    check: u32,
}

/// How much of a retransmission a range explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// How many sequence numbers both have.
    pub length: u32,
    /// What is left of the range: no retransmission is explained twice by the same drop. `None` for nothing.
    pub rest: Option<(u32, u32)>,
}

/// One direction of a connection as one number: addresses, then ports in host order.
#[inline(always)]
#[must_use]
pub fn tuple(source: Address, destination: Address, source_port: u16, destination_port: u16) -> u64 {
    let ports = u64::from(source_port) << 16 | u64::from(destination_port);
    let [a, b] = source.words;
    let [c, d] = destination.words;
    mix(mix(mix(mix(mix(1, a), b), c), d), ports)
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    // The fractional part of the golden ratio: an odd number without a pattern.
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

impl LostRange {
    /// A dropped range.
    #[inline(always)]
    #[must_use]
    pub fn new(tuple: u64, at_ns: u64, start: u32, end: u32, reason: u8) -> Self {
        let range = Self { tuple, at_ns, start, end, reason: reason.into(), check: 0 };
        Self { check: range.sum(), ..range }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half was mixed into it")]
    fn sum(&self) -> u32 {
        let ends = u64::from(self.start) << 32 | u64::from(self.end);
        mix(mix(mix(mix(1, self.tuple), self.at_ns), ends), self.reason.into()) as u32
    }

    /// True for a range that was dropped before `now` and not too long ago.
    #[inline(always)]
    #[must_use]
    pub fn is_kept(&self, now_ns: u64) -> bool {
        self.at_ns < now_ns && now_ns - self.at_ns < KEPT_NS && self.check == self.sum()
    }

    /// One range of this one and of another drop of the connection; `None` unless that goes on where this one ends.
    #[inline(always)]
    #[must_use]
    pub fn and(&self, next: &Self) -> Option<Self> {
        let goes_on = self.tuple == next.tuple
            && self.end == next.start
            && self.reason == next.reason
            && next.end.wrapping_sub(self.start) < LONGEST
            && self.is_kept(next.at_ns);
        #[expect(clippy::cast_possible_truncation, reason = "reasons are bytes")]
        goes_on.then(|| Self::new(self.tuple, next.at_ns, self.start, next.end, self.reason as u8))
    }

    /// What the range says of a retransmission of `start` to `end`; `None` when it has nothing of it.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_wrap, reason = "distances in a circle of sequence numbers")]
    pub fn explains(&self, start: u32, end: u32) -> Option<Explained> {
        let length = end.wrapping_sub(start) as i32;
        let from = self.start.wrapping_sub(start) as i32;
        let to = self.end.wrapping_sub(start) as i32;
        let (first, last) = (if from > 0 { from } else { 0 }, if to < length { to } else { length });
        if first >= last {
            return None;
        }
        // Retransmissions go on from the beginning; a piece before one is given up.
        let rest = if to > length {
            Some((end, self.end))
        } else if from < 0 {
            Some((self.start, start))
        } else {
            None
        };
        Some(Explained { length: last.abs_diff(first), rest })
    }
}

const _: () = assert!(size_of::<LostRange>() == 32 && size_of::<LostGroup>() == 8 + 32 * RANGES);

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR_THE_END: u32 = u32::MAX - 500;

    fn range(start: u32, length: u32) -> LostRange {
        LostRange::new(7, 1000, start, start.wrapping_add(length), 3)
    }

    #[test]
    fn retransmissions_use_a_range_up() {
        let end = NEAR_THE_END.wrapping_add(1000);
        let first = range(NEAR_THE_END, 3000).explains(NEAR_THE_END, end);
        assert_eq!(first, Some(Explained { length: 1000, rest: Some((end, end.wrapping_add(2000))) }));
        let tail = range(NEAR_THE_END, 3000).explains(end.wrapping_add(1500), end.wrapping_add(2000));
        assert_eq!(tail, Some(Explained { length: 500, rest: Some((NEAR_THE_END, end.wrapping_add(1500))) }));
        let more = range(NEAR_THE_END, 1000).explains(NEAR_THE_END.wrapping_sub(50), end.wrapping_add(50));
        assert_eq!(more, Some(Explained { length: 1000, rest: None }));
    }

    #[test]
    fn neighbours_are_not_explained() {
        assert_eq!(range(1000, 500).explains(1500, 1600), None);
        assert_eq!(range(1000, 500).explains(900, 1000), None);
        assert_eq!(range(1000, 0).explains(900, 1100), None);
    }

    #[test]
    fn ranges_in_a_row_become_one() {
        let next = LostRange::new(7, 2000, 1500, 1700, 3);
        assert_eq!(range(1000, 500).and(&next), Some(LostRange::new(7, 2000, 1000, 1700, 3)));
        for other in [
            LostRange::new(8, 2000, 1500, 1700, 3),
            LostRange::new(7, 2000, 1501, 1700, 3),
            LostRange::new(7, 2000, 1500, 1700, 4),
            LostRange::new(7, 1000 + KEPT_NS, 1500, 1700, 3),
        ] {
            assert_eq!(range(1000, 500).and(&other), None, "{other:?}");
        }
    }

    #[test]
    fn mixed_up_ranges_are_none() {
        let whole = range(1000, 500);
        assert!(whole.is_kept(1001) && !whole.is_kept(1000) && !whole.is_kept(1000 + KEPT_NS));
        assert!(!LostRange::default().is_kept(1) && !LostRange { end: 1501, ..whole }.is_kept(1001));
        assert!(!LostRange { at_ns: 999, ..whole }.is_kept(1001));
    }

    #[test]
    fn each_direction_is_another_tuple() {
        let [here, there] =
            [1, 2].map(|last| Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, last])));
        let tuples = [
            tuple(here, there, 40_000, 80),
            tuple(there, here, 80, 40_000),
            tuple(here, there, 40_001, 80),
            tuple(there, here, 40_000, 80),
        ];
        assert!((0..4).all(|one| (0..one).all(|other| tuples[one] != tuples[other])));
    }
}
