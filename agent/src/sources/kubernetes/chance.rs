//! Chance and waiting: five thousand agents must not do the same at the same moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Chance that nobody's safety depends on.
#[derive(Debug, Default)]
pub struct Chance {
    state: RandomState,
    count: u64,
}

impl Chance {
    /// A part of a duration: anything from nothing to the whole.
    pub fn part(&mut self, whole: Duration) -> Duration {
        // std's hasher has random keys: <https://doc.rust-lang.org/std/collections/hash_map/struct.RandomState.html>
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.count);
        let of_2_32 = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
        whole.mul_f64(f64::from(of_2_32) / f64::from(u32::MAX))
    }
}

/// How long to wait after failures in a row: twice as long each time, half of it by chance.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    chance: Chance,
}

impl Backoff {
    /// From the first wait to the longest.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first, chance: Chance::default() }
    }

    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2).min(self.max);
        whole / 2 + self.chance.part(whole / 2)
    }

    /// What failed works again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// At least this time that somebody asked for, and by chance a fifth more.
    pub fn at_least(&mut self, asked: Duration) -> Duration {
        self.next().max(asked + self.chance.part(asked / 5))
    }
}

/// So many at once, and so many in a second.
#[derive(Debug)]
pub struct Bucket {
    burst: u32,
    interval: Duration,
    /// When the bucket would be full, since a fixed moment.
    full_at: Duration,
}

impl Bucket {
    /// `burst` at once; one more every `interval`.
    #[must_use]
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { burst: burst.max(1), interval, full_at: Duration::ZERO }
    }

    /// Takes one, and says how long it must wait from `now` (since a fixed moment).
    pub fn take(&mut self, now: Duration) -> Duration {
        let full_at = self.full_at.max(now) + self.interval;
        self.full_at = full_at;
        full_at.saturating_sub(now).saturating_sub(self.interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_at_least_half_is_waited() {
        let (first, max) = (Duration::from_millis(800), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, max);
        let mut whole = first;
        for _ in 0..20 {
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }

    #[test]
    fn what_the_server_asks_for_is_honoured() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));
        for _ in 0..50 {
            let wait = backoff.at_least(Duration::from_secs(10));
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(12));
        }
    }

    #[test]
    fn agents_wait_differently() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..100).map(|_| Chance::default().part(Duration::from_secs(60))).collect();
        assert!(waits.len() > 90, "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(15)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(45)));
    }

    #[test]
    fn a_bucket_lets_its_burst_through_and_then_its_rate() {
        let interval = Duration::from_millis(200);
        let mut bucket = Bucket::new(20, interval);
        let now = Duration::from_secs(100);
        assert!((0..20).all(|_| bucket.take(now).is_zero()));
        assert_eq!(bucket.take(now), interval);
        assert_eq!(bucket.take(now), interval * 2);
        assert!(bucket.take(now + interval * 3).is_zero());
        assert_eq!(bucket.take(now + interval * 3), interval);
    }
}
