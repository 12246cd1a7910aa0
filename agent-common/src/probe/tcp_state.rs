//! Emitted when a connection attempt fails.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// A connection attempt that failed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ConnectFailed {
    /// Time, flow and client port.
    pub header: EventHeader,
    /// Time from SYN to failure in nanoseconds; 0 when no SYN was sent.
    pub duration_ns: u64,
    /// Error number of the socket; 0 when the application closed it, and when connect(2) failed before it sent a SYN.
    pub error: i32,
    /// SYN retransmissions.
    pub syn_retransmits: u32,
    /// A [`crate::flow::ConnectFailure`].
    pub reason: u8,
    /// Always zero.
    pub reserved: [u8; 7],
}

impl Event for ConnectFailed {}

const _: () = assert!(size_of::<ConnectFailed>() == 48 + 8 + 4 + 4 + 8);
