//! Emitted when a connection attempt fails.

use bytemuck::{Pod, Zeroable};

use crate::wire::{Event, EventHeader};

/// A connection attempt that failed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ConnectFailed {
    /// Who, whom, when.
    pub header: EventHeader,
    /// SYN sent to given up, in nanoseconds; 0 when no SYN was sent.
    pub duration_ns: u64,
    /// The socket's error number (`sk_err`); 0 when the application closed it.
    pub error: i32,
    /// SYNs that were sent again.
    pub syn_retransmits: u32,
    /// A [`crate::flow::ConnectFailure`].
    pub reason: u8,
    /// Always zero.
    pub reserved: [u8; 7],
}

impl Event for ConnectFailed {}

const _: () = assert!(size_of::<ConnectFailed>() == 48 + 8 + 4 + 4 + 8);
