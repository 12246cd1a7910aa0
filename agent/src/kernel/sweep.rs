//! When to look at all open sockets: often enough to be of use, seldom enough not to be felt.

use std::time::Duration;

/// How often sweeps may run, and how often they must.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At least this often, whoever asks.
    pub interval: Duration,
    /// What they may take of one processor, above 0 and at most 1.
    pub share: f64,
}

/// Who asks twice within this time gets the same answer.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// However slow a sweep was, the next one comes after this: long sweeps are rare, and a machine that was held up once is
/// not to be blind for hours.
const LARGEST_GAP: Duration = Duration::from_secs(300);

impl Pace {
    /// The time from the beginning of one sweep to that of the next that keeps to the share, after one that took this
    /// long.
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
