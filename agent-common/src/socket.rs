//! State of a TCP socket, kept by the kernel side from connect or accept to destruction.

use crate::flow::{Counted, FlowKey};

/// Value of the socket map; the key is the address of the kernel's `struct sock`, which never leaves the maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// When the SYN was sent; CLOCK_MONOTONIC, nanoseconds. 0 for a server, and when it was before the agent started.
    pub started_ns: u64,
    /// Totals that have been added to the flow.
    pub counted: Counted,
    /// Its flow; zeros for a listening socket.
    pub flow: FlowKey,
    /// Phase up to which it has been counted: one of `PHASE_…`.
    pub phase: u8,
    /// 1 when its final totals have been added.
    pub settled: u8,
    /// 1 when the peer has acknowledged the FIN; valid from the close on.
    pub fin_acknowledged: u8,
    /// Length of its queue of ICMP errors when the SYN was sent, modulo 256.
    pub errors_queued: u8,
    /// When the sweep last reported it and who had spoken last then ([`crate::probe::open_sockets::Visit`]); 0 before that.
    pub visit: u32,
    /// One more than the lowest round-trip time in microseconds that a sweep has found; 0 before that.
    pub lowest_round_trip_us: u32,
    /// 1 when something was retransmitted since the sweep last reported it, but for a tail loss probe.
    pub retransmitted: u8,
    /// 1 when it failed within the call of connect(2), which has not returned yet.
    pub failed_in_call: u8,
    /// Always zero.
    pub reserved: [u8; 2],
}

/// The SYN was sent.
pub const PHASE_CONNECTING: u8 = 1;
/// Counted as opened, or established before the agent started.
pub const PHASE_OPEN: u8 = 2;
/// Counted as closed or failed; kept until the socket is destroyed, because a reset may follow.
pub const PHASE_CLOSED: u8 = 3;
/// Listening.
pub const PHASE_LISTENING: u8 = 4;

const _: () = assert!(size_of::<SocketState>() == 112);
