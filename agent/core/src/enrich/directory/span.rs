//! When something was observed, in the order of reports and observations beside the time: seconds are too coarse where an
//! address is used again at once.

use super::holdings::Moment;

/// Numbers reports and observations in the order in which they came: an observation of a number was made after all reports of
/// lower ones.
pub type Order = u32;
/// The order of what has not been reported.
pub const NEVER: Order = Order::MAX;

/// Something was sent between these two observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it was sent at the earliest: the last observation before.
    pub from: Mark,
    /// When it had been sent.
    pub until: Mark,
}

/// When something was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The place among the reports.
    pub order: Order,
    /// This node's clock.
    pub at: Moment,
}

/// Who held an address in a [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During<T> {
    /// This one, all the time or a part of it.
    One(T),
    /// No one, as far as is known.
    None,
    /// One of several.
    Several,
}
