//! A limit on how often something is done.

use std::time::Duration;

/// A bucket of tokens that fills at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    /// When it was filled last.
    at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(per_second: f64, capacity: f64) -> Self {
        Self { per_second, capacity, tokens: capacity, at: Duration::ZERO }
    }

    /// Takes one token if there is one, at this time since a fixed moment.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = passed.mul_add(self.per_second, self.tokens).min(self.capacity);
        let is_there = self.tokens >= 1.0;
        if is_there {
            self.tokens -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_it_holds_and_then_what_flows_in() {
        let mut bucket = Bucket::new(2.0, 3.0);
        let mut taken = |at: u64| (0..10).filter(|_| bucket.take(Duration::from_millis(at))).count();
        assert_eq!([taken(0), taken(400), taken(500), taken(1500)], [3, 0, 1, 2]);
        // Never more than it holds, and no more when time goes back.
        assert_eq!([taken(60_000), taken(1000), taken(60_000)], [3, 0, 0]);
    }
}
