//! What tells causes of retransmissions and resets apart.

use core::time::Duration;

use crate::labelled_enum;

labelled_enum! {
    /// How many retransmission timeouts a connection has had in a row: index into [`super::TcpCounters::timeouts`].
    pub enum Timeouts: u8 {
        /// The first since the peer last acknowledged something new: often the loss of the last segments of a burst.
        First = 0, "1";
        /// The second.
        Second = 1, "2";
        /// The third and each later one: the path or the peer is gone.
        Later = 2, "3_or_more";
    }
}

impl Timeouts {
    /// The class of this many timeouts in a row; `None` for 0, as in the retransmission into a window that has shut.
    #[inline(always)]
    #[must_use]
    pub const fn of(consecutive: u8) -> Option<Self> {
        match consecutive {
            0 => None,
            1 => Some(Self::First),
            2 => Some(Self::Second),
            _ => Some(Self::Later),
        }
    }
}

/// How long a connection has been idle when the first timeout after that counts as [`super::TcpCounters::timeouts_after_idle`]:
/// NATs and firewalls forget connections after one minute to an hour.
pub const LONG_IDLE: Duration = Duration::from_secs(30);

labelled_enum! {
    /// Why the local end has sent a reset: index into [`super::TcpCounters::resets_sent`].
    pub enum ResetReason: u8 {
        /// The application closed the socket and had not read all that had come.
        UnreadData = 0, "unread_data";
        /// The application asked for it: lingering of 0 (`SO_LINGER`), a disconnect, a listener closed with connections not
        /// accepted.
        Aborted = 1, "aborted";
        /// Data came after the application had closed the socket or shut down receiving.
        DataAfterClose = 2, "data_after_close";
        /// A segment came for which there is no socket: to a closed port, or of a connection that is forgotten.
        NoSocket = 3, "no_socket";
        /// Keep-alive probes were not answered.
        TimedOut = 4, "timed_out";
        /// Any other, such as a handshake's segment that is not acceptable.
        Other = 5, "other";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_told_apart_up_to_the_third() {
        let of: [_; 5] = [0, 1, 2, 3, u8::MAX].map(Timeouts::of);
        let later = Some(Timeouts::Later);
        assert_eq!(of, [None, Some(Timeouts::First), Some(Timeouts::Second), later, later]);
    }
}
