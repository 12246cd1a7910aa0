//! The header of every event in the ring buffer.

use bytemuck::{Pod, Zeroable};

use crate::flow::FlowKey;

/// First part of every event; the rest depends on the probe that emits it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EventHeader {
    /// When it happened; CLOCK_MONOTONIC, nanoseconds.
    pub timestamp_ns: u64,
    /// Its flow.
    pub flow: FlowKey,
    /// The client's port, in host order; 0 when unknown.
    pub client_port: u16,
    /// A [`crate::probe::ProbeId`], or [`NEW_FLOW`].
    pub probe: u8,
    /// Always zero.
    pub reserved: [u8; 5],
}

/// In place of a probe: the flow is new in its table. The event consists of the header only; it lets the daemon look up the
/// name of a workload that may be gone by the next scrape.
pub const NEW_FLOW: u8 = u8::MAX;

/// An event: an [`EventHeader`], then the fields of the probe. [`Pod`] proves that every bit pattern is a valid value and
/// that there is no padding, which would leak bytes of the kernel's stack.
pub trait Event: Pod {}

impl Event for EventHeader {}

const _: () = assert!(size_of::<EventHeader>() == 48);
