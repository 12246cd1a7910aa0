//! Details of answers: their head, and how many are let through.

use bytemuck::{Pod, Zeroable};

use crate::wire::EventHeader;

/// How often the number of details begins anew.
pub const DETAIL_WINDOW_NS: u64 = 100_000_000;

/// Details let through in the present window, by [`Outcome`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DetailWindow {
    /// The window's number since boot.
    pub number: u64,
    /// Let through.
    pub count: u64,
}

/// How an answer came out: each has its own share of details, so that a storm of one does not hide the other.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// NOERROR.
    Success = 0,
    /// Everything else.
    Failure = 1,
}

/// The head of a detail: an answer that reached a client here. The message's first [`AnswerDetail::captured`] octets follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AnswerDetail {
    /// The flow is the one that the answer counts in.
    pub header: EventHeader,
    /// First query to answer in nanoseconds.
    pub duration_ns: u64,
    /// Octets of the whole message.
    pub length: u16,
    /// Octets of it that follow.
    pub captured: u16,
    /// Always zero.
    pub reserved: u32,
}

impl AnswerDetail {
    /// Octets of a message that a short detail has room for.
    pub const SHORT: usize = 192;
    /// Octets of a message that a long detail has room for; what EDNS clients offer by default (DNS flag day 2020).
    pub const LONG: usize = 1232;
}

const _: () = {
    assert!(size_of::<DetailWindow>() == 16);
    assert!(size_of::<AnswerDetail>() == 64);
};
