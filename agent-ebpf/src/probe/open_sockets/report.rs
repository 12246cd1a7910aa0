//! Records of open connections, in memory that the daemon has mapped.
//!
//! When it is full, the program asks for the same object again. Then read(2) fails with EAGAIN, the daemon takes what is there, and the
//! next read(2) goes on with that object (`bpf_seq_read`, kernel/bpf/bpf_iter.c). Written to the iterator's reader (`bpf_seq_write`), a
//! record would be put together on the stack, copied to the kernel's buffer and from there to the reader.

use netcause_common::probe::open_sockets::{OpenConnection, Sweep, Visit};

use super::{AGAIN, NEXT};
use crate::kernel::{Memory, TcpSock};
use crate::maps::SWEEP;
use crate::socket::Tracked;
use crate::traffic::{is_fin_acknowledged, take_growth, ticks};
use crate::verifier::{forget8, is_nonzero};

/// Writes the connection's record, once in each sweep, and in it what is new of its totals, if anything is. `has` are bits of
/// [`OpenConnection::has`].
#[inline(always)]
pub fn report<M: Memory>(
    socket: TcpSock<M>,
    state: u8,
    tracked: Tracked,
    has: u8,
    moved: Option<[u32; 2]>,
) -> i32 {
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return NEXT };
    // SAFETY: the pointer comes from a map lookup, checked for NULL; plain integers, and no other program uses these members.
    #[expect(unsafe_code, reason = "map value")]
    let (began, quiet) = unsafe { (&mut (*sweep).began, (*sweep).quiet) };
    let now = ticks();
    if *began == 0 {
        *began = now.max(1);
    }
    let last = tracked.visit();
    // Several processes hold it, and it was reported through another one. What it has done since waits for the next sweep.
    if last.is_since(now.wrapping_sub(*began), now) {
        return NEXT;
    }
    let Some(record) = next_record(sweep) else { return AGAIN };
    let counted = tracked.counted();
    let mut has = u32::from(has);
    let limited = if let Some(segments) = moved {
        has |= u32::from(OpenConnection::USED);
        if tracked.take_retransmitted() {
            has |= u32::from(OpenConnection::RETRANSMITTED);
        }
        let fin_acknowledged = || is_fin_acknowledged(socket, state);
        let limited =
            take_growth(socket, segments, now, tracked.role(), fin_acknowledged, counted, &mut record.growth);
        let minimum = socket.min_rtt_us();
        record.minimum_round_trip_us = minimum;
        record.lowest_round_trip_us = tracked.lowest_round_trip_us(minimum);
        limited
    } else {
        socket.limited(now)
    };
    (record.limited_by, record.since_limited) = (limited.by, limited.since);
    record.before = last.past(now);
    record.round_trip_eighths = socket.smoothed_rtt_eighths();
    record.state = state;
    record.unread = socket.unread();
    let [since_sent, since_received, since_acknowledged] =
        socket.idle_ticks(now.wrapping_add(OpenConnection::AHEAD));
    record.since_sent = since_sent;
    record.since_received = since_received;
    record.since_acknowledged = since_acknowledged;
    let is_quiet = since_sent.min(since_received) >= quiet;
    // SAFETY: the pointers lie in values of two maps, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let (sent, received) = unsafe {
        // The compiler does not know that the two do not overlap, and would call a function.
        (&raw mut record.flow).copy_from_nonoverlapping(tracked.flow(), 1);
        ((*counted).sent_bytes, (*counted).received_bytes)
    };
    let [unacknowledged, unsent] = socket.outstanding();
    // Multiplied, and not chosen by branches, which a verifier follows twice each.
    has |= (is_nonzero(sent) | unacknowledged) * u32::from(OpenConnection::SENT);
    has |= is_nonzero(received) * u32::from(OpenConnection::RECEIVED);
    has |= unacknowledged * u32::from(OpenConnection::UNACKNOWLEDGED);
    has |= unsent * u32::from(OpenConnection::UNSENT);
    #[expect(clippy::cast_possible_truncation, reason = "bits of a byte")]
    let has = has as u8;
    record.has = has;
    let speaker = forget8(record.last_speaker(|| socket.is_peer_silent_since_acknowledgement()), now);
    record.speaker = speaker;
    tracked.set_visit(Visit::new(now, speaker, is_quiet));
    NEXT
}

/// Room for another record; `None` when there is no more.
#[inline(always)]
fn next_record(sweep: *mut Sweep) -> Option<&'static mut OpenConnection> {
    // SAFETY: the pointer comes from a map lookup, checked for NULL; the daemon waits while the sweep runs, and the verifier checks
    // that the record lies in the value.
    #[expect(unsafe_code, reason = "map value")]
    #[expect(clippy::cast_possible_truncation, reason = "64 bits both, and below the bound")]
    unsafe {
        let length = (*sweep).length;
        if length >= Sweep::ROOM as u64 {
            return None;
        }
        (*sweep).length = length + 1;
        Some(&mut *(&raw mut (*sweep).records).cast::<OpenConnection>().add(length as usize))
    }
}
