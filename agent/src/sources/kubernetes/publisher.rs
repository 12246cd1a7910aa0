//! Publishes the objects of one kind as updates, and records how its list and watch are doing.

use std::collections::HashSet;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::super::Updates;
use super::super::health::{Failure, FailureCode, Health};
use netcause_core::enrich::objects::{Change, Kind, Source, Update};

/// Keys of objects, as in [`Change::Delete`].
type Keys = HashSet<Box<str>>;

/// The receiver of updates is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Publishes one kind.
pub struct Publisher {
    kind: Kind,
    updates: Updates,
    health: Health,
    diff: Option<Diff>,
    /// Objects of the list that is being read, and when it began.
    listing: Option<(u64, Instant)>,
    has_logged_malformed: bool,
}

/// What finds the objects that a new list no longer has.
#[derive(Default)]
struct Diff {
    published: Keys,
    listed: Keys,
}

impl Publisher {
    /// With `diffs_lists` no list is published as such, but a deletion for each object that a new list no longer has.
    #[must_use]
    pub fn new(kind: Kind, updates: Updates, health: Health, diffs_lists: bool) -> Self {
        Self {
            kind,
            updates,
            health,
            diff: diffs_lists.then(Diff::default),
            listing: None,
            has_logged_malformed: false,
        }
    }

    /// A list begins; an unfinished one is void.
    pub async fn init(&mut self) -> Result<(), Closed> {
        let since = self.listing.map_or_else(Instant::now, |(_, since)| since);
        self.listing = Some((0, since));
        match &mut self.diff {
            Some(diff) => {
                diff.listed.clear();
                Ok(())
            }
            None => self.send(Change::Init(self.kind)).await,
        }
    }

    /// An object was listed, added or modified.
    pub async fn apply(&mut self, key: Option<Box<str>>, change: Change) -> Result<(), Closed> {
        if let (Some(diff), Some(key)) = (&mut self.diff, key) {
            let keys = if self.listing.is_some() { &mut diff.listed } else { &mut diff.published };
            keys.insert(key);
        }
        if let Some((count, _)) = &mut self.listing {
            *count += 1;
        }
        self.send(change).await
    }

    /// An object was deleted.
    pub async fn delete(&mut self, key: Box<str>) -> Result<(), Closed> {
        if let Some(diff) = &mut self.diff {
            diff.published.remove(&key);
            diff.listed.remove(&key);
        }
        self.send(Change::Delete(self.kind, key)).await
    }

    /// The list is complete.
    pub async fn init_done(&mut self) -> Result<(), Closed> {
        if let Some(diff) = &mut self.diff {
            let deleted: Vec<_> = diff.published.difference(&diff.listed).cloned().collect();
            diff.published = std::mem::take(&mut diff.listed);
            for key in deleted {
                self.send(Change::Delete(self.kind, key)).await?;
            }
        } else {
            self.send(Change::InitDone(self.kind)).await?;
        }
        if let Some((objects, since)) = self.listing.take() {
            let seconds = since.elapsed().as_secs_f32();
            info!(kind = ?self.kind, objects, seconds, "listed from the Kubernetes API server");
        }
        self.health.complete(Source::Api, Some(self.kind));
        Ok(())
    }

    /// The server sent something.
    pub fn contact(&mut self) {
        self.health.contact(Source::Api, Some(self.kind));
    }

    /// As [`Self::contact`], to be called while this is in use.
    pub fn contacted(&self) -> impl Fn() + use<> {
        let (health, kind) = (self.health.clone(), self.kind);
        move || health.contact(Source::Api, Some(kind))
    }

    /// An object was skipped.
    pub fn malformed(&mut self, reason: &str) {
        self.count(FailureCode::Malformed);
        if self.has_logged_malformed {
            debug!(kind = ?self.kind, reason, "skipped a malformed object");
        } else {
            self.has_logged_malformed = true;
            warn!(kind = ?self.kind, reason, "skipped a malformed object; more are counted and logged at debug");
        }
    }

    /// The list or watch failed.
    pub fn failed(&mut self, failure: &Failure) {
        self.health.failed(Source::Api, Some(self.kind), failure);
    }

    /// Counts what is part of normal operation: an expired version, a lost connection.
    pub fn count(&mut self, code: FailureCode) {
        self.health.count(Source::Api, Some(self.kind), code);
    }

    /// Sends an update that is no object of this kind.
    pub async fn send(&self, change: Change) -> Result<(), Closed> {
        self.updates.send(Update { source: Source::Api, change }).await.map_err(|_| Closed)
    }
}
