//! Emitted when a server sends its SYN-ACK again.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// One SYN-ACK sent again.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SynAckRetransmitted {
    /// Who, whom, when.
    pub header: EventHeader,
}

impl Event for SynAckRetransmitted {}

const _: () = assert!(size_of::<SynAckRetransmitted>() == 48);
