//! What is told of one kind, and how this source of it is.

use std::collections::HashSet;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::super::{Health, Updates};
use super::server::Failure;
use netcause_core::enrich::objects::{Change, Kind, Source, Update};

/// Keys of objects, as in [`Change::Delete`].
type Keys = HashSet<Box<str>>;

/// Nobody takes updates any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Tells of one kind.
pub struct Teller {
    kind: Kind,
    updates: Updates,
    health: Health,
    /// Where each that is gone is told, and no lists: what was told, and what is listed again.
    told: Option<(Keys, Keys)>,
    /// Objects of the list that is being told, and since when.
    listing: Option<(u64, Instant)>,
    /// Since when it fails.
    lost: Option<Instant>,
    has_said_malformed: bool,
}

impl Teller {
    /// Of this kind.
    #[must_use]
    pub fn new(kind: Kind, updates: Updates, health: Health, tells_each: bool) -> Self {
        Self {
            kind,
            updates,
            health,
            told: tells_each.then(Default::default),
            listing: None,
            lost: None,
            has_said_malformed: false,
        }
    }

    /// A list begins.
    pub async fn begin(&mut self) -> Result<(), Closed> {
        let since = self.listing.map_or_else(Instant::now, |(_, since)| since);
        self.listing = Some((0, since));
        match &mut self.told {
            Some((_, listed)) => {
                listed.clear();
                Ok(())
            }
            None => self.send(Change::Init(self.kind)).await,
        }
    }

    /// An object.
    pub async fn tell(&mut self, key: Option<Box<str>>, change: Change) -> Result<(), Closed> {
        if let (Some((told, listed)), Some(key)) = (&mut self.told, key) {
            if self.listing.is_some() {
                listed.insert(key);
            } else {
                told.insert(key);
            }
        }
        if let Some((count, _)) = &mut self.listing {
            *count += 1;
        }
        self.send(change).await
    }

    /// An object is no more.
    pub async fn gone(&mut self, key: Box<str>) -> Result<(), Closed> {
        if let Some((told, listed)) = &mut self.told {
            told.remove(&key);
            listed.remove(&key);
        }
        self.send(Change::Delete(self.kind, key)).await
    }

    /// The list is whole.
    pub async fn end(&mut self) -> Result<(), Closed> {
        if let Some((told, listed)) = &mut self.told {
            let gone: Vec<_> = told.difference(listed).cloned().collect();
            *told = std::mem::take(listed);
            for key in gone {
                self.send(Change::Delete(self.kind, key)).await?;
            }
        } else {
            self.send(Change::InitDone(self.kind)).await?;
        }
        if let Some((objects, since)) = self.listing.take() {
            let seconds = since.elapsed().as_secs_f32();
            info!(kind = ?self.kind, objects, seconds, "listed from the Kubernetes API server");
        }
        self.health.set(Source::Api, Some(self.kind), |state| state.is_complete = true);
        self.contact();
        Ok(())
    }

    /// The server said something.
    pub fn contact(&mut self) {
        self.health.contact(Source::Api, Some(self.kind));
        if let Some(lost) = self.lost.take() {
            let seconds = lost.elapsed().as_secs();
            info!(kind = ?self.kind, seconds, "the Kubernetes API server is back");
        }
    }

    /// An object was skipped.
    pub fn malformed(&mut self, why: &str) {
        self.health
            .set(Source::Api, Some(self.kind), |state| *state.failures.entry("malformed").or_default() += 1);
        if self.has_said_malformed {
            debug!(kind = ?self.kind, why, "an object of the Kubernetes API is skipped");
        } else {
            self.has_said_malformed = true;
            warn!(kind = ?self.kind, why, "an object of the Kubernetes API is skipped; more of them are counted, not logged");
        }
    }

    /// It fails; what is known stays.
    pub fn failed(&mut self, failure: &Failure) {
        let Failure { reason, why, .. } = failure;
        self.health.failed(Source::Api, Some(self.kind), reason.name(), why.clone());
        let reason = reason.name();
        if self.lost.is_some() {
            debug!(kind = ?self.kind, reason, why, "still not to be had from the Kubernetes API server");
        } else {
            self.lost = Some(Instant::now());
            warn!(kind = ?self.kind, reason, why, "not to be had from the Kubernetes API server: what is known stays, and it is tried again");
        }
    }

    /// Something that is no trouble, but counted.
    pub fn count(&mut self, reason: &'static str) {
        self.health
            .set(Source::Api, Some(self.kind), |state| *state.failures.entry(reason).or_default() += 1);
    }

    /// Something else than an object of this kind.
    pub async fn send(&self, change: Change) -> Result<(), Closed> {
        self.updates.send(Update { source: Source::Api, change }).await.map_err(|_| Closed)
    }
}
