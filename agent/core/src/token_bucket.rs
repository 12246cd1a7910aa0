//! A limit on how often something is done.

use std::time::Duration;

/// A token bucket: a burst of tokens at once, then one more every interval. The time is passed in, since any fixed moment.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    interval: Duration,
    /// The interval times the burst.
    depth: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens (at least one) that gains one every `interval`.
    #[must_use]
    pub const fn new(burst: u32, interval: Duration) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        Self { interval, depth: interval.saturating_mul(burst), full_at: Duration::ZERO }
    }

    /// Takes a token if there is one.
    pub fn try_take(&mut self, now: Duration) -> bool {
        let full_at = self.full_at.max(now).saturating_add(self.interval);
        let has_token = full_at.saturating_sub(now) <= self.depth;
        if has_token {
            self.full_at = full_at;
        }
        has_token
    }

    /// Takes a token that may be still to come, and returns how long to wait for it.
    pub fn reserve(&mut self, now: Duration) -> Duration {
        self.full_at = self.full_at.max(now).saturating_add(self.interval);
        self.full_at.saturating_sub(now).saturating_sub(self.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(3, Duration::from_millis(500));
        let mut taken = |at: u64| (0..10).filter(|_| bucket.try_take(Duration::from_millis(at))).count();
        assert_eq!([taken(0), taken(400), taken(500), taken(1500)], [3, 0, 1, 2]);
        // Never more than the burst, and none when time goes back.
        assert_eq!([taken(60_000), taken(1000), taken(60_000)], [3, 0, 0]);
    }

    #[test]
    fn reserved_tokens_come_at_the_rate() {
        let interval = Duration::from_millis(200);
        let mut bucket = TokenBucket::new(20, interval);
        let now = Duration::from_secs(100);
        assert!((0..20).all(|_| bucket.reserve(now).is_zero()));
        assert_eq!(bucket.reserve(now), interval);
        assert_eq!(bucket.reserve(now), interval * 2);
        assert!(bucket.reserve(now + interval * 3).is_zero());
        assert_eq!(bucket.reserve(now + interval * 3), interval);
    }
}
