//! Details of responses: the header of the event, and its rate limit.

use bytemuck::{Pod, Zeroable};

use crate::labelled_enum;
use crate::wire::EventHeader;

/// Length of a window of the rate limit.
pub const DETAIL_WINDOW_NS: u64 = 100_000_000;

/// Details emitted in the current window, by [`Outcome`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DetailWindow {
    /// Number of the window since boot.
    pub number: u64,
    /// Details emitted in it.
    pub count: u64,
}

labelled_enum! {
    /// Outcome of a query. Each has its own rate limit, so that a storm of one does not hide the other.
    pub enum Outcome: u32 {
        /// NOERROR.
        Success = 0, "success";
        /// Any other response code.
        Failure = 1, "failure";
    }
}

/// Header of a detail: a response that reached a local client. The first [`AnswerDetail::captured`] bytes of the message
/// follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AnswerDetail {
    /// Its flow is the one that the response counts for.
    pub header: EventHeader,
    /// Time from query to response, in nanoseconds.
    pub duration_ns: u64,
    /// Hash of the question that it answers, as [`super::Asked::question`]; 0 when that is not known.
    pub question: u64,
    /// Length of the whole message.
    pub length: u16,
    /// Number of bytes of it that follow.
    pub captured: u16,
    /// Always zero.
    pub reserved: u32,
}

impl AnswerDetail {
    /// Message bytes that fit into a short detail.
    pub const SHORT: usize = 192;
    /// Message bytes that fit into a long detail: the default buffer size of EDNS clients (DNS flag day 2020).
    pub const LONG: usize = 1232;
}

const _: () = {
    assert!(size_of::<DetailWindow>() == 16);
    assert!(size_of::<AnswerDetail>() == 72);
};
