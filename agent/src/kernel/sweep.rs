//! Limits how often all open sockets are swept, so that sweeps take a bounded share of a CPU.

use std::time::Duration;

/// The longest interval between sweeps, and their CPU limit.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The interval between sweeps when nothing requests one.
    pub interval: Duration,
    /// The share of one CPU that sweeps may use, above 0 and at most 1.
    pub share: f64,
}

/// Requests within this time of a sweep reuse its result.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// Upper limit on the time between sweeps, however long the last one took: one sweep slowed by a busy machine must not stop
/// sweeps for hours.
const LARGEST_GAP: Duration = Duration::from_secs(300);

impl Pace {
    /// The time from the start of a sweep that took `last` to the start of the next one, such that sweeps stay within their
    /// share.
    #[must_use]
    pub fn gap(&self, last: Duration) -> Duration {
        let gap = Duration::try_from_secs_f64(last.as_secs_f64() / self.share).unwrap_or(LARGEST_GAP);
        gap.clamp(LEAST_GAP, LARGEST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_keep_to_their_share_of_a_processor() {
        let pace = Pace { interval: Duration::from_secs(10), share: 0.005 };
        assert_eq!(pace.gap(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(pace.gap(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(pace.gap(Duration::from_millis(100)), Duration::from_secs(20));
        assert_eq!(pace.gap(Duration::from_secs(60)), LARGEST_GAP);
        assert_eq!(Pace { share: 1.0, ..pace }.gap(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
