//! What has been exposed to whom: which series of a view a client gets as they are, and which as 0.

use std::sync::Arc;
use std::time::Duration;

use super::births::{Births, Reader, ViewNumber};
use super::scrapers::{Client, Scrapers};
use super::snapshot::Snapshot;

/// So long after its start an agent shows every series as 0 to a scraper that it does not know: all that it has counted is
/// new. Later, what it has counted may be old news to whoever comes. Longer than a minute, a usual scrape interval.
const YOUNG_SECONDS: u64 = 70;

/// Series and scrapers.
#[derive(Debug, Default)]
pub struct Exposed {
    births: Births,
    scrapers: Scrapers,
}

/// How a view is shown to a client.
#[derive(Clone, Copy, Debug)]
pub struct Showing {
    /// The view's number.
    pub number: ViewNumber,
    /// Series that began later are 0. The same for clients that get the same.
    pub seen: ViewNumber,
}

impl Exposed {
    /// Takes a view that nobody asked for.
    pub fn follow(&mut self, view: &Arc<Snapshot>) {
        self.births.follow(view);
    }

    /// How this view, the newest one, is shown. Clients that are no scrapers get all as it is.
    pub fn show(&mut self, view: &Arc<Snapshot>, scraper: Option<&Client>, now: Duration) -> Showing {
        let number = self.births.follow(view);
        let seen = match scraper {
            Some(client) => self.scrapers.seen(client, now).unwrap_or(first_seen(view, number)),
            None => number,
        };
        Showing { number, seen: self.births.rounded(seen) }
    }

    /// For the writer of a body.
    pub fn reader(&self, seen: ViewNumber) -> Reader<'_> {
        self.births.reader(seen)
    }

    /// A scraper has got the whole body of a view.
    pub fn saw(&mut self, scraper: Client, number: ViewNumber, now: Duration) {
        self.scrapers.saw(scraper, number, now);
    }
}

/// What a scraper counts as having seen that was not here before.
fn first_seen(view: &Snapshot, number: ViewNumber) -> ViewNumber {
    match view.counts_since {
        Some(start) if view.read_at.saturating_sub(start) < YOUNG_SECONDS => ViewNumber::default(),
        _ => number,
    }
}

#[cfg(test)]
mod tests;
