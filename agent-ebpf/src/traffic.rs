//! Adds the kernel's own totals of a connection to its flow.
//!
//! The kernel counts bytes, segments, round trips and waiting times of every connection anyway. They are read at the close
//! and in the sweep over all open sockets; each reading adds what is new since the last one.

use core::sync::atomic::AtomicU64;

use aya_ebpf::helpers::generated::bpf_jiffies64;
use netcause_common::flow::{Counted, ROLE_CLIENT};

use crate::flow::{Counters, counter};
use crate::kernel::tcp_state::{CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK};
use crate::kernel::{Limited, Memory, TcpSock};
use crate::maps::add;
use crate::socket::Tracked;

/// True when the FIN of the local end was acknowledged, in the given state or when leaving it: a FIN was sent, and nothing
/// written is unacknowledged.
#[inline(always)]
pub fn is_fin_acknowledged<M: Memory>(socket: TcpSock<M>, state: u8) -> bool {
    matches!(state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK) && socket.is_all_acknowledged()
}

/// True when a socket with so many segments sent and received has sent or received anything since its totals were last counted.
#[inline(always)]
pub fn has_moved([sent, received]: [u32; 2], counted: *const Counted) -> bool {
    // SAFETY: the pointer lies in a map value, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let counted = unsafe { [(*counted).sent_segments, (*counted).received_segments] };
    received != counted[1] || sent != counted[0]
}

/// Adds what is new of the socket's totals to its flow.
#[inline(always)]
pub fn settle<M: Memory>(
    socket: TcpSock<M>,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
    to: Counters,
) {
    let take = |counter, more| to.advance(counter, more);
    let mut growth = Counted::default();
    each_total(socket, socket.segments(), ticks(), role, fin_acknowledged, counted, &mut growth, take);
    to.round_trips(socket.smoothed_rtt_us(), socket.min_rtt_us());
}

/// Marks the socket's totals as counted without counting them.
#[inline(always)]
pub fn skip<M: Memory>(
    socket: TcpSock<M>,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
) {
    let mut growth = Counted::default();
    each_total(socket, socket.segments(), ticks(), role, fin_acknowledged, counted, &mut growth, |_, _| {});
}

/// Marks the totals of a socket with so many `segments` as counted, up to `now`, and writes down what is new of them; returns what
/// limits its sender.
#[inline(always)]
pub fn take_growth<M: Memory>(
    socket: TcpSock<M>,
    segments: [u32; 2],
    now: u32,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
    growth: &mut Counted,
) -> Limited {
    each_total(socket, segments, now, role, fin_acknowledged, counted, growth, |_, _| {})
}

/// Marks each total as counted, writes down what is new of it, and calls `take` with that, without SYN and FIN, which count in the
/// sequence space but are no payload; returns what limits the sender.
///
/// The sweep does not lock the socket. Bytes are read before SYN and FIN, so that a change in between is missed until the
/// next reading instead of counted twice. Each total is finished before the next is read: the verifier explores code after
/// a branch once for each path, with all values that are live there.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what its callers have")]
fn each_total<M: Memory>(
    socket: TcpSock<M>,
    [sent, received]: [u32; 2],
    now: u32,
    role: u8,
    fin_acknowledged: impl FnOnce() -> bool,
    counted: *mut Counted,
    growth: &mut Counted,
    mut take: impl FnMut(fn(Counters) -> *mut u64, u64),
) -> Limited {
    // SAFETY: the pointer lies in a map value, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let counted = unsafe { &mut *counted };
    // A total has the same name in `Counted` and `TcpCounters`.
    macro_rules! take {
        ($field:ident $([$index:literal])?, $more:ident($($argument:expr),+)) => {
            let more = $more(&mut counted.$field $([$index])?, $($argument),+);
            growth.$field $([$index])? = more;
            take(|to| counter!(to, $field $([$index])?), more.into());
        };
    }

    let acknowledged = socket.acknowledged_bytes();
    let not_payload = u64::from(role == ROLE_CLIENT) + u64::from(fin_acknowledged());
    take!(sent_bytes, more_bytes(acknowledged, not_payload));
    let bytes = socket.received_bytes();
    let not_payload = socket.is_fin_received().into();
    take!(received_bytes, more_bytes(bytes, not_payload));

    take!(sent_segments, more(sent));
    take!(received_segments, more(received));
    take!(spurious_retransmits, more(socket.spurious_retransmits()));
    take!(reordered_segments, more(socket.reordered_segments()));
    take!(reordering_events, more(socket.reordering_events()));

    let ([network, receive_window, send_buffer], limited) = socket.limited_ticks(now);
    // In the order of `LimitedBy`.
    take!(limited_ticks[0], more(network));
    take!(limited_ticks[1], more(receive_window));
    take!(limited_ticks[2], more(send_buffer));
    limited
}

/// The kernel's `tcp_jiffies32`: the low half of its ticks.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
pub fn ticks() -> u32 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    let ticks = unsafe { bpf_jiffies64() };
    ticks as u32
}

/// What a total has grown by; the kernel's 32-bit counters wrap. A smaller value was read in the middle of a change.
#[inline(always)]
fn more(counted: &mut u32, now: u32) -> u32 {
    let more = now.wrapping_sub(*counted);
    if more >> 31 != 0 {
        return 0;
    }
    *counted = now;
    more
}

/// What the payload has grown by; 64-bit counters do not wrap. `not_payload` is subtracted from the total, which may lack it.
#[inline(always)]
fn more_bytes(counted: &mut u64, total: u64, not_payload: u64) -> u64 {
    let now = total.wrapping_sub(not_payload);
    let more = now.wrapping_sub(*counted);
    if more.wrapping_sub(1) >> 63 != 0 {
        return 0;
    }
    *counted = now;
    more
}

/// The socket whose totals the sweep is adding; 0 for none.
static SWEPT: AtomicU64 = AtomicU64::new(0);

/// Publishes the socket whose totals the sweep is adding; 0 for none. `state` is its entry.
///
/// The close and the sweep may race when a connection ends while a file still holds its socket (the peer resets, or the
/// application has shut down both directions), and always where no file does. Each publishes what it does before it checks
/// the other: the close marks the socket as settled, then checks whether the sweep is at it; the sweep publishes the socket, then
/// checks whether it is settled. So at most one proceeds; if neither does, the next sweep or the socket's destruction adds the
/// totals.
#[inline(always)]
pub fn sweeping(socket: u64, state: Tracked) {
    // SAFETY: a static is valid and aligned, and only the sweep writes it. Volatile, because targets of eBPF have no atomic stores.
    #[expect(unsafe_code, reason = "a value that other programs read")]
    unsafe {
        SWEPT.as_ptr().write_volatile(socket);
    }
    fence(state);
}

/// True while the sweep is adding this socket's totals.
#[inline(always)]
pub fn is_being_swept(socket: u64, state: Tracked) -> bool {
    fence(state);
    swept() == socket
}

/// Waits until the sweep has left this socket, which takes about a microsecond; false when it does not, because this program
/// has interrupted it.
#[inline(always)]
pub fn is_left_by_sweep(socket: u64, state: Tracked) -> bool {
    fence(state);
    let mut turns = 0;
    while turns < 1024 {
        if swept() != socket {
            return true;
        }
        turns += 1;
    }
    false
}

#[inline(always)]
fn swept() -> u64 {
    // SAFETY: as in `sweeping`.
    #[expect(unsafe_code, reason = "a value that another program writes")]
    unsafe {
        SWEPT.as_ptr().read_volatile()
    }
}

/// A full memory barrier: on x86 a locked instruction is one, even when it adds 0.
#[inline(always)]
fn fence(state: Tracked) {
    add(state.counted().cast(), 0);
}
