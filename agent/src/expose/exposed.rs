//! What has been exposed to whom: which series of a view a client gets as they are, and which as 0.

use std::sync::Arc;
use std::time::Duration;

use netcause_core::seen::Seen;

use super::births::{Births, Reader, ViewNumber};
use super::scrapers::{Client, Scrapers};
use super::snapshot::Snapshot;

/// So long after its start an agent shows every series as 0 to a scraper that it does not know: all that it has counted is
/// new. Later, what it has counted may be old news to whoever comes. Longer than a minute, a usual scrape interval.
const YOUNG_SECONDS: u64 = 70;
/// The view that says how old the agent is was read so long ago at most.
const MARGIN_SECONDS: u64 = 15;

/// Series and scrapers.
#[derive(Debug, Default)]
pub struct Exposed {
    births: Births,
    scrapers: Scrapers,
    /// How old the agent was when a view was taken last; `None` where that does not matter.
    age: Option<u64>,
}

/// How a view is shown to a client.
#[derive(Clone, Copy, Debug)]
pub struct Showing {
    /// The view's number.
    pub number: ViewNumber,
    /// When it was read, by the kernel's `CLOCK_MONOTONIC`.
    pub read: Duration,
    /// Series that began later are 0. The same for clients that get the same.
    pub seen: ViewNumber,
}

impl Exposed {
    /// Takes a view that nobody asked for.
    pub fn follow(&mut self, view: &Arc<Snapshot>) {
        self.take(view);
    }

    /// What scrapers have got when this client has got the view that it asks for. To be known before the view is read, so that
    /// nothing that it gets by value is shown elsewhere later.
    pub fn seen(&self, scraper: Option<&Client>, now: Duration) -> Seen {
        let by_any = scraper.and_then(|client| match self.scrapers.seen(client, now) {
            Some(seen) => self.births.read_at(seen),
            None if self.age.is_some_and(|age| age + MARGIN_SECONDS < YOUNG_SECONDS) => None,
            None => Some(Duration::MAX),
        });
        // One that comes while the agent is young is to get what came before it, too.
        let is_young = self.age.is_some_and(|age| age < YOUNG_SECONDS);
        Seen { by_any, by_all: self.scrapers.all_saw(now).filter(|_| !is_young) }
    }

    /// How this view, the newest one, is shown. Clients that are no scrapers get all as it is.
    pub fn show(&mut self, view: &Arc<Snapshot>, scraper: Option<&Client>, now: Duration) -> Showing {
        let number = self.take(view);
        let seen = match scraper {
            Some(client) => self.scrapers.seen(client, now).unwrap_or(first_seen(view, number)),
            None => number,
        };
        Showing { number, read: view.at, seen: self.births.rounded(seen) }
    }

    fn take(&mut self, view: &Arc<Snapshot>) -> ViewNumber {
        self.age = view.counts_since.map(|start| view.read_at.saturating_sub(start));
        self.births.follow(view)
    }

    /// For the writer of a body.
    pub fn reader(&self, seen: ViewNumber) -> Reader<'_> {
        self.births.reader(seen)
    }

    /// A scraper has got the whole body of a view.
    pub fn saw(&mut self, scraper: Client, showing: &Showing, now: Duration) {
        self.scrapers.saw(scraper, showing.number, showing.read, now);
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
