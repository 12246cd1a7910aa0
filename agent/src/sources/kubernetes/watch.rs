//! Lists one kind of object, watches it, and lists again where the watch cannot resume. The protocol:
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
//!
//! # Why not kube's own watcher
//!
//! `kube::runtime::watcher` (kube-runtime and kube-client 5.0.0, with slim types and `DeserializeGuard`) was tried against the
//! fake API server. Memory decides nothing: it grows by 1.5 MiB while 5 000 pods are listed and by 0.2 MiB in 15 000
//! changes, peaks included (2.9 MiB in pages of 100). It adds 20 packages and 0.8 MB of code. It loses on faults; the first
//! four were seen to repeat until the fault went:
//!
//! - An event that is not UTF-8 ends the stream, which resumes before that event. A line has no length limit
//!   (client/mod.rs:375).
//! - One object that is not JSON fails its page, guarded or not, and the text of the page is logged at WARN, with the
//!   environment of its pods (client/mod.rs:291). The guard parses each object into a generic tree and clones it
//!   (error_boundary.rs:38 to 42).
//! - A server without streaming lists refuses them each time; one that ignores the parameter never ends the list
//!   (watcher.rs:571 to 583, 631 to 676). Nothing falls back to pages.
//! - A version that the server does not know is kept: 410 as a status, 504 after a restore (watcher.rs:687 to 696). A new
//!   streaming list accepts any version, also one older than what was published (watcher.rs:572).
//! - Bookmarks are swallowed (watcher.rs:725), so a quiet kind has no age. `Retry-After` as a header is lost, or honoured
//!   inside the client without being counted (client/mod.rs:579, client/retry.rs:153). A page has no timeout of its own.
//! - A stream keeps its client: a token that was replaced and refused costs a new list of everything.
//!
//! Of the 20 tests of lists and faults 8 cannot pass. It would save about 250 lines, not 1 000: `items.rs` and most of
//! `body.rs` serve the kubelet and the lookups too, and fallback, backoff and health would stay around it.

mod event;
mod list;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::Updates;
use super::super::backoff::{Backoff, Jitter};
use super::super::health::{Failure, FailureCode, Health};
use super::body::{Lines, Pieces};
use super::owners::Owners;
use super::publisher::{Closed, Publisher};
use super::server::{Server, encoded};
use super::slim::Watched;
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
    diffs_lists: bool,
}

impl Watch {
    /// Of the objects that `selector` selects.
    #[must_use]
    pub fn new(server: Arc<Server>, updates: Updates, health: Health, selector: String) -> Self {
        Self { server, updates, health, owners: None, selector, diffs_lists: false }
    }

    /// Looks up the owners of pods.
    #[must_use]
    pub fn with_owners(mut self, owners: Arc<Owners>) -> Self {
        self.owners = Some(owners);
        self
    }

    /// Publishes a deletion for each object that a new list no longer has, instead of lists.
    #[must_use]
    pub fn diffing_lists(mut self, diffs_lists: bool) -> Self {
        self.diffs_lists = diffs_lists;
        self
    }

    /// Lists and watches until the receiver of updates is gone.
    pub async fn run<K: Watched>(self) {
        let timing = self.server.timing();
        let mut running = Running {
            backoff: Backoff::new(timing.first_wait, timing.max_wait),
            refusals: Backoff::new(timing.first_wait, timing.refused),
            listed: None,
            publisher: Publisher::new(K::KIND, self.updates, self.health, self.diffs_lists),
            server: self.server,
            owners: self.owners,
            selector: self.selector,
            jitter: Jitter::default(),
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
    publisher: Publisher,
    owners: Option<Arc<Owners>>,
    selector: String,
    backoff: Backoff,
    /// After what is forbidden or not found: a server that starts refuses everything until it has read its roles, but a role
    /// that does not grant a kind may stay as it is for good.
    refusals: Backoff,
    /// When a list was complete last.
    listed: Option<Instant>,
    jitter: Jitter,
    /// The `resourceVersion` to watch from; `None`: to be listed.
    position: Option<Box<str>>,
    /// The server's cache may be older than what was published: list the newest state.
    is_expired: bool,
    /// Whether the server has streaming lists, until it says otherwise.
    knows_streaming: bool,
    /// Not after a streaming list that timed out.
    is_streaming_next: bool,
}

/// Why a list or watch ended early.
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
            // Listed in pages: watch at once.
            Ok(()) if !had_position && !is_streaming => Ok(()),
            // The server ends every watch after some minutes, but a broken one may do so at once.
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
                    !(is_streaming && self.position.is_none() && failure.code == FailureCode::Timeout);
                self.failed(&failure).await;
                Ok(())
            }
        }
    }

    async fn failed(&mut self, failure: &Failure) {
        let timing = self.server.timing();
        let max_retry_after = timing.max_retry_after;
        match failure.code {
            FailureCode::Expired => {
                (self.position, self.is_expired) = (None, true);
                self.publisher.count(failure.code);
                // The server answers, so it is listed soon. But not without end, where what was listed just now has expired.
                if self.listed.is_none_or(|listed| listed.elapsed() >= timing.steady) {
                    self.backoff.reset();
                }
            }
            // The server does not know the version.
            FailureCode::BadRequest if self.position.is_some() => {
                (self.position, self.is_expired) = (None, true);
                self.publisher.failed(failure);
            }
            // A quiet watch without bookmarks, or a lost connection: the watch resumes from its position.
            FailureCode::Timeout | FailureCode::ConnectionLost if self.position.is_some() => {
                self.publisher.count(failure.code);
            }
            _ => self.publisher.failed(failure),
        }
        let wait = match (failure.code, failure.retry_after) {
            (FailureCode::Forbidden | FailureCode::NotFound, _) => self.refusals.next(),
            (_, Some(asked)) => self.backoff.at_least(asked.min(max_retry_after)),
            (_, None) => self.backoff.next(),
        };
        sleep(wait).await;
    }

    /// Watches from the current position.
    async fn watch<K: Watched>(&mut self) -> Result<(), End> {
        let position = encoded(self.position.as_deref().unwrap_or_default());
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={position}&timeoutSeconds={}{}",
            K::PATH,
            self.watch_seconds(),
            self.selector,
        );
        let body = self.server.get(&path, JSON).await?;
        let timing = self.server.timing();
        let mut lines = Lines::new(Pieces::new(body, timing.watch_idle_timeout));
        // A watch from a version that the server has no more begins with 200 as well, and ends at once: it is one when an event
        // comes, or for a while nothing.
        let (contact, accepted) = (self.publisher.contacted(), timing.accepted);
        let is_quiet = async {
            sleep(accepted).await;
            contact();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = self.follow::<K>(&mut lines) => result,
            () = is_quiet => Ok(()),
        }
    }

    fn watch_seconds(&mut self) -> u64 {
        let watch = self.server.timing().watch;
        (watch + self.jitter.up_to(watch)).max(Duration::from_secs(1)).as_secs()
    }

    /// Publishes an object, and its owner where that is known.
    async fn apply<K: Watched>(&mut self, object: K) -> Result<(), Closed> {
        let key = object.metadata().key(K::KIND);
        let change = match object.change() {
            Ok(Some(change)) => change,
            Ok(None) => return Ok(()),
            Err(malformed) => {
                self.publisher.malformed(&malformed.0);
                return Ok(());
            }
        };
        let owner = match (&self.owners, &change) {
            (Some(owners), Change::ApplyPod(pod)) => owners.of_pod(pod),
            _ => None,
        };
        self.publisher.apply(key, change).await?;
        match owner {
            Some(owner) => self.publisher.send(owner).await,
            None => Ok(()),
        }
    }
}
