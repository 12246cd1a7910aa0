//! What scrapers have got of rows that may end, so that what was counted is counted once.
//!
//! Prometheus adds up what it sees a series grow by. A past that moves from one row to another would be growth a second time. So it
//! moves only while no scraper has got it by value; otherwise it stays in the row that showed it, which is shown on without
//! counting ([`HELD`]) until its last growth has arrived.

use std::time::Duration;

/// How long a row that counts no more is shown, unless all scrapers have got its last value before.
pub const HELD: Duration = Duration::from_mins(2);

/// What scrapers have got. Times are those of readings, by the kernel's `CLOCK_MONOTONIC`.
///
/// A scraper gets a row that is new to it as 0 first, and by value from its next scrape on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A scraper has got the rows by value that began up to then, or gets them now; `None` while there is none.
    pub by_any: Option<Duration>,
    /// Every scraper has got by value what was shown then; `None` while that is not known of one.
    pub by_all: Option<Duration>,
}

impl Seen {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { by_any: self.by_any.max(other.by_any), by_all: self.by_all.max(other.by_all) }
    }
}

/// The time, and what scrapers have got by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The time of the reading, by the kernel's `CLOCK_MONOTONIC`.
    pub now: Duration,
    /// What scrapers have got.
    pub seen: Seen,
}

impl Moment {
    /// Whether there is a scraper.
    #[must_use]
    pub fn is_scraped(&self) -> bool {
        self.seen.by_any.is_some()
    }

    /// Whether a scraper has got a row by value that began then.
    #[must_use]
    pub fn has_seen(&self, began: Duration) -> bool {
        self.seen.by_any.is_some_and(|seen| began <= seen)
    }

    /// Whether a row need not be shown any longer that has counted nothing since then.
    #[must_use]
    pub fn is_over(&self, since: Duration) -> bool {
        self.now.saturating_sub(since) >= HELD || self.seen.by_all.is_some_and(|all| since <= all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_row_is_shown_until_all_have_seen_it_or_long_enough() {
        let moment = |now, any, all| Moment { now: at(now), seen: Seen { by_any: any, by_all: all } };
        let nobody = moment(100, None, None);
        assert!(!nobody.is_scraped() && !nobody.has_seen(at(0)) && !nobody.is_over(at(99)));
        assert!(nobody.now >= HELD || moment(220, None, None).is_over(at(100)));
        let one = moment(100, Some(at(50)), Some(at(40)));
        assert!(one.is_scraped() && one.has_seen(at(50)) && !one.has_seen(at(51)));
        assert!(one.is_over(at(40)) && !one.is_over(at(41)));
        let seen = Seen { by_any: Some(at(1)), by_all: None }.and(Seen { by_any: None, by_all: Some(at(2)) });
        assert_eq!(seen, Seen { by_any: Some(at(1)), by_all: Some(at(2)) });
    }
}
