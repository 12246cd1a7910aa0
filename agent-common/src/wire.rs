//! The header of every event in the ring buffer.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::Address;
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

/// In place of a probe: the flow is new in its table. The event is a [`NewFlow`].
pub const NEW_FLOW: u8 = u8::MAX;

/// A flow is new in its table: it lets the daemon look up the name of a workload that may be gone by the next scrape, and find
/// the other end when that is on this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct NewFlow {
    /// The flow, and when it was added.
    pub header: EventHeader,
    /// The address of the local end in its first connection; all zero when unknown.
    pub own: Address,
    /// Inode number of the local end's network namespace; 0 when unknown.
    pub namespace: u32,
    /// Always zero.
    pub reserved: u32,
}

/// An event: an [`EventHeader`], then the fields of the probe. [`Pod`] proves that every bit pattern is a valid value and
/// that there is no padding, which would leak bytes of the kernel's stack.
pub trait Event: Pod {}

impl Event for NewFlow {}

const _: () = assert!(size_of::<EventHeader>() == 48 && size_of::<NewFlow>() == 72);
