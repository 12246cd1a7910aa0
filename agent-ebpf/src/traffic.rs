//! What a connection's socket has counted itself, and adding what is new of it to the flow.
//!
//! The kernel counts octets, segments, round trips and waiting for every connection anyway. We look at the close, and in
//! a sweep over all open sockets; what is counted already is remembered, so that looks add up whichever comes first.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use netcause_common::flow::{LimitedBy, ROLE_CLIENT};
use netcause_common::socket::Counted;

use crate::flow::{Carried, Counters};
use crate::kernel::tcp_state::{CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK};
use crate::kernel::{Memory, TcpSock};
use crate::maps::{SWEEP, add};

/// True when the end of the stream that this end sent was acknowledged, in the given state or coming from it: a FIN was
/// sent, and nothing written is unacknowledged.
#[inline(always)]
pub fn is_fin_acknowledged<M: Memory>(socket: TcpSock<M>, state: u8) -> bool {
    matches!(state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK) && socket.is_all_acknowledged()
}

/// True when the socket has sent or received anything since its totals were last added.
#[inline(always)]
pub fn has_moved<M: Memory>(socket: TcpSock<M>, counted: *const Counted) -> bool {
    // SAFETY: the pointer lies in the table's value, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let (sent, received) = unsafe { ((*counted).sent_segments, (*counted).received_segments) };
    received != socket.received_segments() || sent != socket.sent_segments()
}

/// Adds what is new of the socket's totals to its flow. Octets of the sequence space that are no payload are taken off: SYN
/// and FIN.
///
/// In the sweep the socket is not locked; octets are read before what is taken off them, so that what changes between
/// is missed until the next look rather than counted twice. Each total is done with before the next one is read: what
/// is kept across a branch is walked by the verifier once for each way through it.
#[inline(always)]
pub fn settle<M: Memory>(
    socket: TcpSock<M>,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
    to: Counters,
) {
    each_total(socket, role, fin_acknowledged, counted, |what, more| to.carried(what, more));
    to.round_trips(socket.smoothed_rtt_us(), socket.min_rtt_us());
}

/// Takes the socket's totals as counted without counting them.
#[inline(always)]
pub fn pass_over<M: Memory>(
    socket: TcpSock<M>,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
) {
    each_total(socket, role, fin_acknowledged, counted, |_, _| {});
}

#[inline(always)]
fn each_total<M: Memory>(
    socket: TcpSock<M>,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
    mut take: impl FnMut(Carried, u64),
) {
    // SAFETY: the pointer lies in the table's value, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let counted = unsafe { &mut *counted };

    let acknowledged = socket.acknowledged_octets();
    let not_payload = u64::from(role == ROLE_CLIENT) + u64::from(fin_acknowledged());
    take(Carried::SentBytes, more_bytes(&mut counted.sent_bytes, acknowledged, not_payload));
    let received = socket.received_octets();
    let not_payload = socket.is_fin_received().into();
    take(Carried::ReceivedBytes, more_bytes(&mut counted.received_bytes, received, not_payload));

    take(Carried::SentSegments, more(&mut counted.sent_segments, socket.sent_segments()));
    take(Carried::ReceivedSegments, more(&mut counted.received_segments, socket.received_segments()));
    take(
        Carried::SpuriousRetransmits,
        more(&mut counted.spurious_retransmits, socket.spurious_retransmits()),
    );
    take(Carried::ReorderedSegments, more(&mut counted.reordered_segments, socket.reordered_segments()));

    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    let ticks = unsafe { bpf_jiffies64() };
    #[expect(clippy::cast_possible_truncation, reason = "the kernel's `tcp_jiffies32` is the low half")]
    let [network, receive_window, send_buffer] = socket.limited_ticks(ticks as u32);
    take(Carried::Limited(LimitedBy::Network), more(&mut counted.limited_ticks[0], network));
    take(Carried::Limited(LimitedBy::ReceiveWindow), more(&mut counted.limited_ticks[1], receive_window));
    take(Carried::Limited(LimitedBy::SendBuffer), more(&mut counted.limited_ticks[2], send_buffer));
}

/// How far a total moved on; the kernel's 32-bit counters wrap. What went back was read in the middle of a change.
#[inline(always)]
fn more(counted: &mut u32, now: u32) -> u64 {
    let more = now.wrapping_sub(*counted);
    if more >> 31 != 0 {
        return 0;
    }
    *counted = now;
    more.into()
}

/// As [`more`], of octets, which do not wrap; so many of them are no payload.
#[inline(always)]
fn more_bytes(counted: &mut u64, octets: u64, not_payload: u64) -> u64 {
    let now = octets.saturating_sub(not_payload);
    if now <= *counted {
        return 0;
    }
    now - core::mem::replace(counted, now)
}

/// Announces that a socket's totals are being added by the sweep; 0 ends it.
///
/// The close and the sweep may meet when a socket reaches its end while a file still holds it: the peer resets, or the
/// application has shut both directions down. Each says what it does before it looks at the other: the close marks the
/// socket as settled, then looks whether the sweep is at it; the sweep names the socket, then looks whether it is
/// settled. So never both go on; when neither does, the next sweep or the socket's destruction does.
#[inline(always)]
pub fn sweeping(socket: u64) {
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return };
    // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; one sweep at a time writes.
    #[expect(unsafe_code, reason = "map value")]
    let (number, current) = unsafe { (&raw mut (*sweep).number, &raw mut (*sweep).socket) };
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        current.write_volatile(socket);
    }
    fence(number);
}

/// True when the sweep is adding this socket's totals at this moment.
#[inline(always)]
pub fn is_being_swept(socket: u64) -> bool {
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return false };
    // SAFETY: as in `sweeping`.
    #[expect(unsafe_code, reason = "map value")]
    let (number, current) = unsafe { (&raw mut (*sweep).number, &raw const (*sweep).socket) };
    fence(number);
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "map value")]
    let current = unsafe { current.read_volatile() };
    current == socket
}

/// What was written before is seen by all processors before anything is read after: on x86 a locked instruction is a
/// full barrier, also when it adds nothing.
#[inline(always)]
fn fence(word: *mut u64) {
    add(word, 0);
}
