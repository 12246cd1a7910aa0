//! A static file of names: pods, services and nodes as the Kubernetes API would, networks outside, and what runs
//! outside Kubernetes. Its format is in `docs/names.md`.
//!
//! It is polled every few seconds; a new version is read when two polls in a row saw the same one, so that none is read while
//! it is written. When a version is malformed or the file is gone, what was read before stays cached.

mod content;
mod raw;
mod version;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tracing::info;

use super::health::{Failure, FailureCode};
use super::{Health, Updates};
use content::Content;
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::{Change, Kind, Source, Update};
use version::{Look, Watched};

/// Bytes of a names file.
pub const MAX_BYTES: u64 = 16 << 20;
/// Time between two polls of the file.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the names file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is longer than [`MAX_BYTES`].
    #[error("the names file {path} is longer than {MAX_BYTES} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not YAML, or has an unknown key or an invalid value.
    #[error("in the names file {path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

impl FileError {
    fn failure(&self) -> Failure {
        let code = match self {
            Self::Unreadable { .. } => FailureCode::Unreadable,
            Self::TooLong { .. } => FailureCode::TooLong,
            Self::Malformed { .. } => FailureCode::Malformed,
        };
        Failure::new(code, self.to_string())
    }
}

/// The names file.
#[derive(Debug)]
pub struct File {
    watched: Watched,
    /// Its content when it was loaded, until that is published.
    content: Content,
    extra: watch::Sender<Arc<Extra>>,
    interval: Duration,
}

impl File {
    /// Reads it for the first time.
    ///
    /// # Errors
    ///
    /// When it is missing or malformed: at the start this is an error of the configuration.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let (watched, mut content) = Watched::first(path)?;
        let extra = watch::Sender::new(Arc::new(std::mem::take(&mut content.extra)));
        Ok(Self { watched, content, extra, interval: POLL_INTERVAL })
    }

    /// Networks and rules for cgroups, now and after each reload.
    #[must_use]
    pub fn extra(&self) -> watch::Receiver<Arc<Extra>> {
        self.extra.subscribe()
    }
}

/// Publishes the file's content, now and whenever it has changed, until the receiver of updates is gone.
pub async fn run(file: File, updates: Updates, health: Health) {
    let File { mut watched, content, extra, interval } = file;
    if publish(content, &updates).await.is_none() {
        return;
    }
    health.complete(Source::File, None);
    loop {
        tokio::select! {
            () = updates.closed() => return,
            () = tokio::time::sleep(interval) => {}
        }
        match watched.look() {
            Look::Same => {
                if watched.is_good() {
                    health.contact(Source::File, None);
                }
            }
            Look::Fresh => match read(&mut watched).await {
                Some(Ok(Some(mut content))) => {
                    info!(path = %watched.path().display(), "names file reloaded");
                    extra.send_replace(Arc::new(std::mem::take(&mut content.extra)));
                    if publish(content, &updates).await.is_none() {
                        return;
                    }
                    health.complete(Source::File, None);
                }
                Some(Ok(None)) | None => {}
                Some(Err(error)) => health.failed(Source::File, None, &error.failure()),
            },
            Look::Away(error) => health.failed(Source::File, None, &error.failure()),
        }
    }
}

/// Parsing millions of lines takes a second, on a thread for blocking work. `None` when that thread has ended.
async fn read(watched: &mut Watched) -> Option<Result<Option<Content>, FileError>> {
    let mut moved = watched.clone();
    let (moved, result) = tokio::task::spawn_blocking(move || {
        let result = moved.read();
        (moved, result)
    })
    .await
    .ok()?;
    *watched = moved;
    Some(result)
}

/// Publishes kind by kind: nodes first, since pods may have their addresses. `None` when the receiver is gone.
async fn publish(content: Content, updates: &Updates) -> Option<()> {
    let Content { nodes, services, slices, pods, extra: _ } = content;
    list(Kind::Node, nodes.into_iter().map(|node| Change::ApplyNode(Box::new(node))), updates).await?;
    list(Kind::Service, services.into_iter().map(|service| Change::ApplyService(Box::new(service))), updates)
        .await?;
    list(
        Kind::EndpointSlice,
        slices.into_iter().map(|slice| Change::ApplyEndpointSlice(Box::new(slice))),
        updates,
    )
    .await?;
    list(Kind::Pod, pods.into_iter().map(|pod| Change::ApplyPod(Box::new(pod))), updates).await
}

async fn list(kind: Kind, objects: impl Iterator<Item = Change>, updates: &Updates) -> Option<()> {
    let all = std::iter::once(Change::Init(kind)).chain(objects).chain([Change::InitDone(kind)]);
    for change in all {
        updates.send(Update { source: Source::File, change }).await.ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
