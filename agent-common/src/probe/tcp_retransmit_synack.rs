//! Emitted when a server retransmits its SYN-ACK.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// A retransmitted SYN-ACK.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SynAckRetransmitted {
    /// Time, flow and client port.
    pub header: EventHeader,
}

impl Event for SynAckRetransmitted {}

const _: () = assert!(size_of::<SynAckRetransmitted>() == 48);
