//! When the next lookup may be made.

use tokio::time::Instant;
use tracing::debug;

use super::super::super::backoff::Backoff;
use super::super::super::health::{Failure, FailureCode};
use super::super::Timing;
use netcause_core::token_bucket::TokenBucket;

/// The pace of one kind of lookups: [`Timing::burst`] at once, then one in [`Timing::lookup`]; slower after failures.
pub struct Pace {
    begun: Instant,
    ready: Instant,
    bucket: TokenBucket,
    backoff: Backoff,
    /// After what is forbidden.
    refusals: Backoff,
    max_retry_after: std::time::Duration,
}

impl Pace {
    /// The first lookup may be made at once.
    #[must_use]
    pub fn new(timing: &Timing) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            ready: begun,
            bucket: TokenBucket::new(timing.burst, timing.lookup),
            backoff: Backoff::new(timing.first_wait, timing.max_wait),
            refusals: Backoff::new(timing.first_wait, timing.refused),
            max_retry_after: timing.max_retry_after,
        }
    }

    /// When the next may be made.
    #[must_use]
    pub fn ready(&self) -> Instant {
        self.ready
    }

    /// The server has answered one.
    pub fn went_well(&mut self) {
        self.backoff.reset();
        self.refusals.reset();
        self.ready = Instant::now() + self.bucket.reserve(self.begun.elapsed());
    }

    /// One has failed.
    pub fn failed(&mut self, failure: &Failure) {
        debug!(code = failure.code.label(), reason = failure.reason, "lookup failed");
        let asked = failure.retry_after.unwrap_or_default().min(self.max_retry_after);
        self.ready = Instant::now()
            + match failure.code {
                FailureCode::Forbidden => self.refusals.next(),
                _ => self.backoff.at_least(asked),
            };
    }
}
