//! What was refused, and whether the files can be used.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use netcause_common::labelled_enum;

labelled_enum! {
    /// Why a connection or a request was refused.
    pub enum Refused: u8 {
        /// The TLS handshake failed, for lack of a client certificate for example.
        Tls = 0, "tls";
        /// There was no password or token, or a wrong one.
        Unauthorized = 1, "unauthorized";
        /// Too many passwords were being checked.
        Busy = 2, "busy";
    }
}

/// Counted by the HTTP side, read by the agent.
#[derive(Debug, Default)]
pub struct Counts {
    refused: [AtomicU64; Refused::COUNT],
    outdated: AtomicBool,
}

impl Counts {
    pub(super) fn refused(&self, what: Refused) {
        self.refused[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outdated(&self, is_outdated: bool) {
        self.outdated.store(is_outdated, Ordering::Relaxed);
    }

    /// Refusals, by [`Refused`].
    #[must_use]
    pub fn refusals(&self) -> [u64; Refused::COUNT] {
        std::array::from_fn(|index| self.refused[index].load(Ordering::Relaxed))
    }

    /// Whether the files say something that is not in force, because it cannot be used.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }
}
