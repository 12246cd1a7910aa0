//! One kind of object: listed, watched, and listed anew where the watch cannot go on. The protocol:
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
//!
//! kube's own `watcher` is not used: it fails whole streams at one object it cannot read, knows no way back from streaming
//! lists, and hides bookmarks and `Retry-After`. Its client is.

mod event;
mod list;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::{Health, Updates};
use super::body::{Lines, Pieces};
use super::chance::{Backoff, Chance};
use super::owners::Owners;
use super::server::{Failure, Reason, Server, encoded};
use super::slim::Watched;
use super::teller::{Closed, Teller};
use netcause_core::enrich::objects::Change;

const JSON: &str = "application/json";

/// The watch of one kind, before it runs.
pub struct Watch {
    server: Arc<Server>,
    updates: Updates,
    health: Health,
    owners: Option<Arc<Owners>>,
    /// `&fieldSelector=…`, or nothing.
    selector: String,
    tells_each: bool,
}

impl Watch {
    /// Of the objects that `selector` lets through.
    #[must_use]
    pub fn new(server: Arc<Server>, updates: Updates, health: Health, selector: String) -> Self {
        Self { server, updates, health, owners: None, selector, tells_each: false }
    }

    /// Owners of pods are asked for.
    #[must_use]
    pub fn with_owners(mut self, owners: Arc<Owners>) -> Self {
        self.owners = Some(owners);
        self
    }

    /// No lists are told, but each object that is gone.
    #[must_use]
    pub fn telling_each(mut self, tells_each: bool) -> Self {
        self.tells_each = tells_each;
        self
    }

    /// Until nobody takes updates any more.
    pub async fn run<K: Watched>(self) {
        let timing = self.server.timing();
        let mut running = Running {
            backoff: Backoff::new(timing.first_wait, timing.max_wait),
            teller: Teller::new(K::KIND, self.updates, self.health, self.tells_each),
            server: self.server,
            owners: self.owners,
            selector: self.selector,
            chance: Chance::default(),
            position: None,
            is_expired: false,
            knows_streaming: true,
            is_streaming_next: true,
        };
        while let Ok(()) = running.round::<K>().await {}
    }
}

struct Running {
    server: Arc<Server>,
    teller: Teller,
    owners: Option<Arc<Owners>>,
    selector: String,
    backoff: Backoff,
    chance: Chance,
    /// The version that was last told of; `None`: to be listed.
    position: Option<Box<str>>,
    /// The server's cache may be behind what was told already: only its newest state will do.
    is_expired: bool,
    /// As long as the server did not say otherwise.
    knows_streaming: bool,
    /// Not after a streaming list that was silent.
    is_streaming_next: bool,
}

/// How a request ended that did not end well.
enum End {
    Closed,
    Failed(Failure),
    /// The server has no streaming lists.
    NoStreaming,
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Running {
    /// One list or one watch, and the wait after it.
    async fn round<K: Watched>(&mut self) -> Result<(), Closed> {
        let begun = Instant::now();
        let had_position = self.position.is_some();
        let is_streaming = !had_position && self.knows_streaming && self.is_streaming_next;
        let result = if had_position {
            self.watch::<K>().await
        } else if is_streaming {
            self.streaming_list::<K>().await
        } else {
            self.paged_list::<K>().await
        };
        let is_steady = begun.elapsed() >= self.server.timing().steady;
        if is_steady && self.position.is_some() {
            self.backoff.reset();
        }
        match result {
            // Listed page by page: the watch begins at once.
            Ok(()) if !had_position && !is_streaming => Ok(()),
            // The server ends every watch after some minutes, and may do so at once.
            Ok(()) => {
                sleep(self.backoff.next()).await;
                Ok(())
            }
            Err(End::Closed) => Err(Closed),
            Err(End::NoStreaming) => {
                self.knows_streaming = false;
                Ok(())
            }
            Err(End::Failed(failure)) => {
                self.is_streaming_next =
                    !(is_streaming && self.position.is_none() && failure.reason == Reason::Silent);
                self.failed(&failure).await;
                Ok(())
            }
        }
    }

    async fn failed(&mut self, failure: &Failure) {
        let timing = self.server.timing();
        let (refused, max_retry_after) = (timing.refused, timing.max_retry_after);
        match failure.reason {
            Reason::Expired => {
                (self.position, self.is_expired) = (None, true);
                self.teller.count(failure.reason.name());
            }
            // The version is none that the server knows.
            Reason::Unknown if self.position.is_some() => {
                (self.position, self.is_expired) = (None, true);
                self.teller.failed(failure);
            }
            // Nothing happened, and the server does not say so; or the connection was cut: the watch goes on where it was.
            Reason::Silent | Reason::Broken if self.position.is_some() => {
                self.teller.count(failure.reason.name());
            }
            _ => self.teller.failed(failure),
        }
        let wait = match (failure.reason, failure.retry_after) {
            (Reason::Forbidden | Reason::Absent, _) => self.backoff.at_least(refused),
            (_, Some(asked)) => self.backoff.at_least(asked.min(max_retry_after)),
            (_, None) => self.backoff.next(),
        };
        sleep(wait).await;
    }

    /// Goes on where the last one ended.
    async fn watch<K: Watched>(&mut self) -> Result<(), End> {
        let position = encoded(self.position.as_deref().unwrap_or_default());
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={position}&timeoutSeconds={}{}",
            K::PATH,
            self.watch_seconds(),
            self.selector,
        );
        let body = self.server.get(&path, JSON).await?;
        self.teller.contact();
        let mut lines = Lines::new(Pieces::new(body, self.server.timing().watch_silence));
        self.follow::<K>(&mut lines).await
    }

    fn watch_seconds(&mut self) -> u64 {
        let watch = self.server.timing().watch;
        (watch + self.chance.part(watch)).max(Duration::from_secs(1)).as_secs()
    }

    /// Tells of an object.
    async fn tell<K: Watched>(&mut self, object: K) -> Result<(), Closed> {
        let key = object.metadata().key(K::KIND);
        let change = match object.change() {
            Ok(Some(change)) => change,
            Ok(None) => return Ok(()),
            Err(malformed) => {
                self.teller.malformed(&malformed.0);
                return Ok(());
            }
        };
        let owner = match (&self.owners, &change) {
            (Some(owners), Change::ApplyPod(pod)) => owners.of_pod(pod),
            _ => None,
        };
        self.teller.tell(key, change).await?;
        match owner {
            Some(owner) => self.teller.send(owner).await,
            None => Ok(()),
        }
    }
}
