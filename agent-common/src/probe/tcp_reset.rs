//! Emitted when a reset is sent or received.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// One reset.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Reset {
    /// Who, whom, when.
    pub header: EventHeader,
    /// A [`crate::flow::ResetDirection`].
    pub direction: u8,
    /// `sk_state` of the socket; 0 when no socket is concerned (closed port).
    pub tcp_state: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

impl Event for Reset {}

const _: () = assert!(size_of::<Reset>() == 48 + 8);
