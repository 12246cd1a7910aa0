//! The agent's side: hands over what was judged, and never waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use netcause_core::diagnose::{Diagnosis, Judged};
use netcause_core::engine::Time;
use netcause_core::recording::Origin;

use super::writer::{Limits, Message, Writing};
use crate::expose::snapshot::Recorded;

/// Windows that wait to be written. With windows of five seconds, the disk may stand still for 20 s.
const WAITING: usize = 4;
/// At the end, what waits has so long to be written.
const FAREWELL: Duration = Duration::from_millis(300);

/// What has been recorded, counted by the thread that writes and by who hands over.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Windows written.
    pub windows: AtomicU64,
    /// Windows that could not be.
    pub lost: AtomicU64,
    /// A segment is to begin with the next window: what was lost is missing in the one before.
    pub wants_begin: AtomicBool,
}

impl Counts {
    /// As it is now.
    #[must_use]
    pub fn read(&self) -> Recorded {
        let [bytes, windows, lost] =
            [&self.bytes, &self.windows, &self.lost].map(|count| count.load(Ordering::Relaxed));
        Recorded { bytes, windows, lost }
    }
}

/// Keeps the last minutes.
#[derive(Debug)]
pub struct Keeper {
    to: Option<SyncSender<Message>>,
    /// Closed when everything is written.
    written: Receiver<()>,
    counts: Arc<Counts>,
    /// When the last segment began.
    began: Option<Duration>,
    segment: Duration,
}

impl Keeper {
    /// Begins to record into the directory, which is made if there is none. What is there already stays, within the limits.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another agent records into it.
    pub fn start(directory: &Path, limits: Limits, origin: Origin) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let writing = Writing::new(directory, limits, origin, Arc::clone(&counts))
            .with_context(|| format!("record: cannot record into {}", directory.display()))?;
        let (to, messages) = sync_channel(WAITING);
        let (done, written) = sync_channel(1);
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || {
                writing.serve(&messages);
                drop(done);
            })
            .context("record: cannot start a thread")?;
        Ok(Self { to: Some(to), written, counts, began: None, segment: limits.segment() })
    }

    /// What has been recorded.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Begins a segment with what is known before anything is judged.
    pub fn begin(&mut self, time: Time, diagnosis: &Diagnosis) {
        self.counts.wants_begin.store(true, Ordering::Relaxed);
        self.send(None, time, diagnosis);
    }

    /// Takes what was judged, and what is known after it.
    pub fn take(&mut self, judged: Box<Judged>, diagnosis: &Diagnosis) {
        let time = Time { wall: judged.wall, monotonic: judged.now };
        self.send(Some(judged), time, diagnosis);
    }

    fn send(&mut self, judged: Option<Box<Judged>>, time: Time, diagnosis: &Diagnosis) {
        let now = time.monotonic;
        let is_over = |began: Duration| now.saturating_sub(began) >= self.segment || now < began;
        let begins =
            self.counts.wants_begin.swap(false, Ordering::Relaxed) || self.began.is_some_and(is_over);
        let begins_with = begins.then(|| Box::new(diagnosis.clone()));
        let message = Message { judged, begins_with, time };
        let is_sent = self.to.as_ref().is_some_and(|to| to.try_send(message).is_ok());
        if is_sent && begins {
            self.began = Some(now);
        } else if !is_sent {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            self.counts.wants_begin.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.to = None;
        // Either way there is no more to do.
        let _ = self.written.recv_timeout(FAREWELL);
    }
}
