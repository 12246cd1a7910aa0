//! Emitted when data (or a client's SYN) is retransmitted.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// A retransmitted buffer of one or more segments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Retransmitted {
    /// Time, flow and client port.
    pub header: EventHeader,
    /// Segments in the buffer that were not counted before.
    pub segments: u32,
    /// A [`crate::flow::RetransmitKind`].
    pub kind: u8,
    /// `sk_state` of the socket.
    pub tcp_state: u8,
    /// `icsk_ca_state`: state of congestion control.
    pub congestion_state: u8,
    /// `icsk_retransmits`: consecutive retransmission timeouts.
    pub consecutive_timeouts: u8,
    /// Those of the segments that repeat what this node dropped.
    pub dropped_segments: u32,
    /// A [`crate::drops::DropReason`] plus one; 0 when none was dropped here.
    pub dropped_reason: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

impl Event for Retransmitted {}

const _: () = assert!(size_of::<Retransmitted>() == 48 + 16);
