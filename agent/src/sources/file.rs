//! A static file that tells names: pods, services and nodes as the Kubernetes API would, networks outside, and what runs
//! outside Kubernetes. `docs/names.md` says what may stand in it.
//!
//! It is looked at every few seconds; a new version is read when two looks in a row saw the same one, so that none is
//! read while it is written. A version that is broken, and a file that is gone, leave what is known as it is.

mod content;
mod raw;
mod version;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Health, Updates};
use content::Content;
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::{Change, Kind, Source, Update};
use version::{Look, Watched};

/// Octets of a names file.
pub const MAX_BYTES: u64 = 16 << 20;
/// From one look at the file to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why there is nothing from the file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is not to be read.
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
    /// It is no YAML, or has a key that is not known, or a value that cannot be.
    #[error("in the names file {path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

impl FileError {
    /// Its short name among a source's failures.
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::TooLong { .. } => "too_long",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// The names file.
#[derive(Debug)]
pub struct File {
    watched: Watched,
    /// What it said when it was loaded, until that is told.
    content: Content,
    extra: watch::Sender<Arc<Extra>>,
    interval: Duration,
}

impl File {
    /// Reads it for the first time.
    ///
    /// # Errors
    ///
    /// When it is not there or broken: at the start this is an error of the configuration.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let (watched, mut content) = Watched::first(path)?;
        let extra = watch::Sender::new(Arc::new(std::mem::take(&mut content.extra)));
        Ok(Self { watched, content, extra, interval: LOOK_INTERVAL })
    }

    /// Networks and rules for cgroups, as they are now and as they will be.
    #[must_use]
    pub fn extra(&self) -> watch::Receiver<Arc<Extra>> {
        self.extra.subscribe()
    }
}

/// Tells what the file says, now and whenever it has changed; ends when nobody takes updates any more.
pub async fn run(file: File, updates: Updates, health: Health) {
    let File { mut watched, content, extra, interval } = file;
    if tell(content, &updates).await.is_none() {
        return;
    }
    complete(&health);
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
                    info!(path = %watched.path().display(), "the names file is read again");
                    extra.send_replace(Arc::new(std::mem::take(&mut content.extra)));
                    if tell(content, &updates).await.is_none() {
                        return;
                    }
                    complete(&health);
                }
                Some(Ok(None)) | None => {}
                Some(Err(error)) => failed(&error, &health),
            },
            Look::Away(error) => failed(&error, &health),
        }
    }
}

/// Reading millions of lines takes a second: it is done where nobody waits. `None` when the thread for it has ended.
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

fn complete(health: &Health) {
    health.contact(Source::File, None);
    health.set(Source::File, None, |state| state.is_complete = true);
}

fn failed(error: &FileError, health: &Health) {
    warn!(%error, "names stay as they were in the file");
    health.failed(Source::File, None, error.reason(), error.to_string());
}

/// Everything, kind by kind: nodes first, since pods may have their addresses. `None` when nobody takes it.
async fn tell(content: Content, updates: &Updates) -> Option<()> {
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
