//! Emitted when data (or a client's SYN) is sent again.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// One buffer sent again: one or many segments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Retransmitted {
    /// Who, whom, when.
    pub header: EventHeader,
    /// Segments in the buffer.
    pub segments: u32,
    /// A [`crate::flow::RetransmitKind`].
    pub kind: u8,
    /// `sk_state` of the socket.
    pub tcp_state: u8,
    /// `icsk_ca_state`: the congestion control's state.
    pub congestion_state: u8,
    /// `icsk_retransmits`: consecutive time-outs without an answer.
    pub consecutive_timeouts: u8,
}

impl Event for Retransmitted {}

const _: () = assert!(size_of::<Retransmitted>() == 48 + 8);
