//! Jitter and exponential backoff: thousands of agents must not ask one server at the same moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Non-cryptographic randomness: std's hasher, which is seeded at random
/// (<https://doc.rust-lang.org/std/collections/hash_map/struct.RandomState.html>), over a counter.
#[derive(Debug, Default)]
pub struct Jitter {
    state: RandomState,
    count: u64,
}

impl Jitter {
    /// A random duration from zero to `whole`.
    pub fn up_to(&mut self, whole: Duration) -> Duration {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.count);
        let of_2_32 = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
        whole.mul_f64(f64::from(of_2_32) / f64::from(u32::MAX))
    }
}

/// Exponential backoff: each wait is twice as long as the one before, up to a limit; half of it is random.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Starts at `first` and never waits longer than `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first, jitter: Jitter::default() }
    }

    /// How long to wait before the next attempt.
    pub fn next(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2).min(self.max);
        whole / 2 + self.jitter.up_to(whole / 2)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// As [`Self::next`], but at least `asked` (a server's `Retry-After`), and up to a fifth more at random.
    pub fn at_least(&mut self, asked: Duration) -> Duration {
        self.next().max(asked + self.jitter.up_to(asked / 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_half_of_each_is_fixed() {
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
    fn retry_after_is_honoured() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));
        for _ in 0..50 {
            let wait = backoff.at_least(Duration::from_secs(10));
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(12));
        }
    }

    #[test]
    fn agents_wait_differently() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..100).map(|_| Jitter::default().up_to(Duration::from_secs(60))).collect();
        assert!(waits.len() > 90, "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(15)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(45)));
    }
}
