//! The head that every event in the ring buffer begins with.

use bytemuck::{Pod, Zeroable};

use crate::flow::FlowKey;

/// Common to all events. What follows is the type that the probe named by `probe` emits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EventHeader {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub timestamp_ns: u64,
    /// The flow it concerns.
    pub flow: FlowKey,
    /// The client's port, in host order; 0 when unknown.
    pub client_port: u16,
    /// A [`crate::probe::ProbeId`], or [`NEW_FLOW`].
    pub probe: u8,
    /// Always zero.
    pub reserved: [u8; 5],
}

/// In place of a probe: the flow is new in the table. The event is the header alone; it lets the daemon look up the name
/// of a workload that may be gone before anybody asks for metrics.
pub const NEW_FLOW: u8 = u8::MAX;

/// An event: an [`EventHeader`], then what the probe adds. [`Pod`] proves that every bit pattern is a valid value and
/// that no octet is padding, which would carry the kernel's stack out.
pub trait Event: Pod {}

impl Event for EventHeader {}

const _: () = assert!(size_of::<EventHeader>() == 48);
