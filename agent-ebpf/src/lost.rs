//! Which retransmissions repeat what this node dropped.
//!
//! A drop is remembered by the range of sequence numbers; a retransmission uses up what there is of its own range. So each drop
//! explains one retransmission of each byte. A retransmission may be dropped itself before its tracepoint is hit: what counts is
//! dropped before the clock that TCP read for it (`tcp_mstamp_refresh`, net/ipv4/tcp_output.c).

use aya_ebpf::helpers::bpf_ktime_get_ns;
use netcause_common::drops::{
    DropReason, GROUPS, LostRange, RANGES, REASON_FACTS, REASON_SLOTS, ReasonFacts, tuple,
};
use netcause_common::statistics::Statistic;

use crate::kernel::{Headers, SkBuff, TcpRange, TcpSock, Typed};
use crate::maps::{LOST, add, count};
use crate::verifier::{forget8, forget32};

/// What programs know of a reason.
static FACTS: [ReasonFacts; REASON_SLOTS] = REASON_FACTS;

/// How much of a retransmission was dropped here.
#[derive(Clone, Copy, Default)]
pub struct DroppedHere {
    /// Segments.
    pub segments: u32,
    /// A [`DropReason`] plus one; 0 for none.
    pub reason: u8,
}

impl DroppedHere {
    /// A [`netcause_common::drops::DropCause`].
    #[inline(always)]
    pub fn cause(self) -> u8 {
        facts(self.reason.wrapping_sub(1)).cause
    }
}

/// What is known of a reason.
#[inline(always)]
pub fn facts(reason: u8) -> &'static ReasonFacts {
    &FACTS[usize::from(reason) & (REASON_SLOTS - 1)]
}

/// The ranges of a group.
#[derive(Clone, Copy)]
struct Group {
    next: *mut u64,
    ranges: *mut LostRange,
}

impl Group {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn of(tuple: u64) -> Option<Self> {
        let group = LOST.get_ptr_mut(tuple as u32 & (GROUPS - 1))?;
        // SAFETY: the pointer comes from a map lookup, checked for NULL; only addresses are taken.
        #[expect(unsafe_code, reason = "map value")]
        let (next, ranges) = unsafe { (&raw mut (*group).next, &raw mut (*group).ranges) };
        Some(Self { next, ranges: ranges.cast() })
    }

    /// How many ranges were ever put here.
    #[inline(always)]
    fn used(self) -> u64 {
        // SAFETY: an aligned number in a map value; another CPU may add to it.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            self.next.read_volatile()
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "modulo the number of ranges")]
    fn at(self, place: u64) -> *mut LostRange {
        self.ranges.wrapping_add(place as usize & (RANGES - 1))
    }
}

/// Remembers a dropped packet, if it is a TCP segment with something to retransmit. `was_sent` says whether TCP takes a segment that
/// begins at this sequence number for sent.
#[inline(always)]
pub fn dropped(packet: SkBuff, headers: &Headers, reason: u8, was_sent: impl FnOnce(u32) -> bool) {
    let Some(TcpRange { start, end, is_syn }) = packet.tcp_range(headers) else { return };
    if !is_syn && !was_sent(start) {
        return;
    }
    let tuple = tuple(headers.source, headers.destination, headers.source_port, headers.destination_port);
    let Some(group) = Group::of(tuple) else { return };
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "helper call")]
    let now = unsafe { bpf_ktime_get_ns() };
    let range = LostRange::new(tuple, now, start, end, reason);
    let next = group.used();
    let last = group.at(next.wrapping_sub(1));
    if let Some(both) = read(last).and(&range) {
        write(last, both);
        return;
    }
    add(group.next, 1);
    let place = group.at(next);
    if read(place).is_kept(now) {
        count(Statistic::DropsForgotten);
    }
    write(place, range);
}

/// How much of what is retransmitted was dropped here, and uses it up.
#[inline(always)]
pub fn retransmitted(socket: TcpSock<Typed>, buffer: SkBuff, segments: u32) -> DroppedHere {
    let common = socket.common();
    let tuple =
        tuple(common.local_address(), common.remote_address(), socket.local_port(), common.remote_port());
    let Some(group) = Group::of(tuple) else { return DroppedHere::default() };
    if group.used() == 0 {
        return DroppedHere::default();
    }
    let sent_at = socket.clock();
    let (start, end) = buffer.tcp_sequence();
    // The verifier need not tell iterations that have found something from those that have not.
    let (mut found, mut reason) = (forget32(0, start), forget8(0, start));
    let mut place = 0;
    while place < RANGES as u64 {
        let entry = group.at(place);
        let range = read(entry);
        if range.tuple == tuple
            && range.is_kept(sent_at)
            && let Some(explained) = range.explains(start, end)
        {
            found = forget32(found + explained.length, start);
            #[expect(clippy::cast_possible_truncation, reason = "reasons are bytes")]
            let number = range.reason as u8;
            reason = forget8(number.wrapping_add(1), start);
            let (first, last) = explained.rest.unwrap_or_default();
            let rest = LostRange::new(tuple, range.at_ns, first, last, number);
            write(entry, if first == last { LostRange::default() } else { rest });
        }
        place += 1;
    }
    let length = end.wrapping_sub(start);
    // Several small segments may have been merged into one, of which some arrived.
    let segments = if found >= length {
        segments
    } else if length != 0 {
        #[expect(clippy::cast_possible_truncation, reason = "at most the segments")]
        let part = (u64::from(found) * u64::from(segments) / u64::from(length)) as u32;
        part
    } else {
        0
    };
    if segments == 0 { DroppedHere::default() } else { DroppedHere { segments, reason } }
}

#[inline(always)]
fn read(entry: *mut LostRange) -> LostRange {
    // SAFETY: an aligned entry of a map value, plain numbers; the verifier checks the bounds.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        entry.read_volatile()
    }
}

#[inline(always)]
fn write(entry: *mut LostRange, range: LostRange) {
    // SAFETY: as in `read`.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        entry.write_volatile(range);
    }
}

const _: () = assert!(DropReason::COUNT <= REASON_SLOTS);
