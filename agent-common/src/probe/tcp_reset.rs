//! Emitted when a reset is sent or received.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// A reset.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Reset {
    /// Time, flow and client port.
    pub header: EventHeader,
    /// A [`crate::flow::ResetDirection`].
    pub direction: u8,
    /// `sk_state` of the socket; 0 when there is none (closed port).
    pub tcp_state: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

impl Event for Reset {}

const _: () = assert!(size_of::<Reset>() == 48 + 8);
