//! For how long connections have waited for answers, by their client's clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The sum over all connections of a client.
pub(super) struct Truth {
    began: Instant,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    open: Times,
    waiting: Times,
    answers: u64,
    took: Duration,
    /// Of the seconds that each took: a moment that finds a wait finds it half over on average, and long ones more often.
    squares: f64,
}

/// A sum of times, some of which are still going on.
#[derive(Default)]
struct Times {
    ended: Duration,
    going_on: u32,
    /// The sum of their beginnings.
    begun: Duration,
}

impl Times {
    fn begin(&mut self, now: Duration) {
        self.going_on += 1;
        self.begun += now;
    }

    fn end(&mut self, began: Duration, now: Duration) {
        self.going_on -= 1;
        self.begun -= began;
        self.ended += now - began;
    }

    fn sum(&self, now: Duration) -> f64 {
        (self.ended + (now * self.going_on).saturating_sub(self.begun)).as_secs_f64()
    }
}

impl Truth {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), sums: Mutex::default() }
    }

    fn lock(&self) -> (MutexGuard<'_, Sums>, Duration) {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock comes after the lock, so that no time is before one that is in the sums.
        (sums, self.began.elapsed())
    }

    /// A connection is open from now on; returns the time.
    pub(super) fn opened(&self) -> Duration {
        let (mut sums, now) = self.lock();
        sums.open.begin(now);
        now
    }

    /// It is about to be closed.
    pub(super) fn closes(&self, since: Duration) {
        let (mut sums, now) = self.lock();
        sums.open.end(since, now);
    }

    /// An answer is waited for from now on; returns the time.
    pub(super) fn asked(&self) -> Duration {
        let (mut sums, now) = self.lock();
        sums.waiting.begin(now);
        now
    }

    /// It has come.
    pub(super) fn answered(&self, since: Duration) {
        let (mut sums, now) = self.lock();
        sums.waiting.end(since, now);
        sums.answers += 1;
        sums.took += now - since;
        sums.squares += (now - since).as_secs_f64().powi(2);
    }

    /// All sums up to now, in seconds.
    pub(super) fn sums(&self) -> Value {
        let (sums, now) = self.lock();
        json!({
            "open": sums.open.sum(now),
            "waited": sums.waiting.sum(now),
            "answers": sums.answers,
            "took": sums.took.as_secs_f64(),
            "squares": sums.squares,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_counts_up_to_now() {
        let s = Duration::from_secs;
        let mut times = Times::default();
        times.begin(s(1));
        times.begin(s(2));
        times.end(s(1), s(5));
        assert_eq!(times.sum(s(10)), 4.0 + 8.0);
    }
}
