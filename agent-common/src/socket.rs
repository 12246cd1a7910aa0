//! What the kernel side remembers of one TCP socket while it lives.

use crate::flow::{FlowKey, LimitedBy};

/// How far a socket's own totals have been added to its flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Payload acknowledged by the peer.
    pub sent_bytes: u64,
    /// Payload received in order.
    pub received_bytes: u64,
    /// Segments sent.
    pub sent_segments: u32,
    /// Segments received.
    pub received_segments: u32,
    /// Segments that the peer had already.
    pub spurious_retransmits: u32,
    /// Segments that arrived out of order; of a listening socket its drops.
    pub reordered_segments: u32,
    /// Ticks by [`crate::flow::LimitedBy`].
    pub limited_ticks: [u32; LimitedBy::ALL.len()],
    /// Segments sent again.
    pub retransmits: u32,
}

/// Value of the socket table; the key is the address of the kernel's `struct sock`, which never leaves the maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// When the SYN was sent, in nanoseconds of CLOCK_MONOTONIC; 0 when that was before the agent, or for a server.
    pub started_ns: u64,
    /// What is counted already.
    pub counted: Counted,
    /// The flow it belongs to; nothing of a listening socket.
    pub flow: FlowKey,
    /// How far it has come, as counted: one of `PHASE_…`.
    pub phase: u8,
    /// 1 when its totals have been added for the last time.
    pub settled: u8,
    /// 1 when the last octet that the peer acknowledged is the end of the stream; known from the close on.
    pub fin_acknowledged: u8,
    /// Always zero.
    pub reserved: [u8; 5],
}

/// The SYN was sent.
pub const PHASE_CONNECTING: u8 = 1;
/// Counted as opened, or older than the agent.
pub const PHASE_OPEN: u8 = 2;
/// Counted as closed or failed; kept until the socket is destroyed, for the reset that may follow.
pub const PHASE_CLOSED: u8 = 3;
/// It listens.
pub const PHASE_LISTENING: u8 = 4;

const _: () = assert!(size_of::<SocketState>() == 96);
