//! The thread that writes: segments, within the limits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use netcause_core::diagnose::{Diagnosis, Judged};
use netcause_core::engine::Time;
use netcause_core::recording::{Origin, Writer};
use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

use super::directory::{begin, name, segments};
use super::keeper::Counts;

/// A recording has about so many segments: what is removed is one of them.
const SEGMENTS: u32 = 5;
/// A segment has at most this part of the bytes.
const LARGEST: u64 = 4;
/// After a failure it is tried again when so much has passed.
const RETRY: Duration = Duration::from_mins(1);
/// Segments of one second.
const MAX_NUMBER: u32 = 1000;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For so long, and up to a fifth more.
    pub kept: Duration,
    /// Bytes of all segments.
    pub max_bytes: u64,
}

impl Limits {
    /// How long a segment is.
    #[must_use]
    pub fn segment(&self) -> Duration {
        self.kept / SEGMENTS
    }
}

/// Something to write.
#[derive(Debug)]
pub(super) struct Message {
    /// What was judged; `None` before the first judgement.
    pub judged: Option<Box<Judged>>,
    /// A segment begins behind it, with what is known by then.
    pub begins_with: Option<Box<Diagnosis>>,
    /// When that was.
    pub time: Time,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writing {
    directory: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
    limits: Limits,
    origin: Origin,
    counts: Arc<Counts>,
    current: Option<Segment>,
    /// When writing failed, by the windows.
    failed: Option<Duration>,
}

#[derive(Debug)]
struct Segment {
    writer: Writer,
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Writing {
    pub fn new(directory: &Path, limits: Limits, origin: Origin, counts: Arc<Counts>) -> io::Result<Self> {
        // Names of workloads are not for everybody.
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock = File::open(directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("another agent records into it"),
            error => error.into(),
        })?;
        let probe = directory.join(".writable");
        File::create(&probe).and_then(|_| fs::remove_file(&probe))?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            limits,
            origin,
            counts,
            current: None,
            failed: None,
        })
    }

    /// Writes until there is nobody any more who sends.
    pub fn serve(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            self.take(&message);
        }
        self.end_segment();
    }

    pub fn take(&mut self, message: &Message) {
        let Message { judged, begins_with, time } = message;
        let appended = match (&mut self.current, judged) {
            (Some(segment), Some(judged)) => {
                let bytes = segment.writer.window(judged);
                self.append(&bytes)
            }
            // What a segment begins with stands for the window before it.
            _ if begins_with.is_some() => Ok(()),
            _ => Err(io::Error::other("no segment has begun")),
        };
        let result = match (appended, begins_with) {
            (Ok(()), Some(diagnosis)) => self.begin(diagnosis, time.wall),
            (appended, _) => appended,
        };
        match result {
            Ok(()) => {
                self.counts.windows.fetch_add(judged.is_some().into(), Ordering::Relaxed);
                if self.failed.take().is_some() {
                    info!(directory = %self.directory.display(), "recording again");
                }
            }
            Err(error) => self.fail(&error, time.monotonic),
        }
    }

    fn fail(&mut self, error: &io::Error, now: Duration) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
        self.current = None;
        match self.failed {
            None => {
                warn!(
                    directory = %self.directory.display(),
                    %error,
                    "cannot record: windows are lost (netcause_record_windows_lost_total) until it can be written; tried again \
                     every minute"
                );
                self.failed = Some(now);
            }
            Some(at) if now.saturating_sub(at) >= RETRY || now < at => {
                self.counts.wants_begin.store(true, Ordering::Relaxed);
                self.failed = Some(now);
            }
            Some(_) => {}
        }
    }

    /// Begins a segment after a judgement, and removes those that are too old.
    fn begin(&mut self, diagnosis: &Diagnosis, wall: u64) -> io::Result<()> {
        self.end_segment();
        let (writer, bytes) = Writer::begin(&self.origin, diagnosis, wall);
        let kept = segments(&self.directory)?;
        for ((path, _), (next, _)) in kept.iter().zip(kept.iter().skip(1)) {
            let is_old = |until: u64| until.saturating_add(self.limits.kept.as_secs()) <= wall;
            if begin(next).is_some_and(is_old) {
                fs::remove_file(path)?;
            }
        }
        let (path, file) = self.create(wall)?;
        self.current = Some(Segment { writer, file, path, bytes: 0 });
        self.append(&bytes)
    }

    fn create(&self, wall: u64) -> io::Result<(PathBuf, File)> {
        for number in 0..MAX_NUMBER {
            let path = self.directory.join(name(wall, number));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many segments of one second"))
    }

    /// Appends to the segment, when there is room for it or can be made.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.make_room(length)?;
        let Some(segment) = &mut self.current else { return Ok(()) };
        if let Err(error) = segment.file.write_all(bytes) {
            // What was written of it is no frame.
            let _ = segment.file.set_len(segment.bytes);
            return Err(error);
        }
        segment.bytes += length;
        self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        if segment.bytes >= self.limits.max_bytes / LARGEST {
            self.counts.wants_begin.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes the oldest segments until so many bytes are within the limit.
    fn make_room(&self, length: u64) -> io::Result<()> {
        let kept = segments(&self.directory)?;
        let mut total: u64 = kept.iter().map(|(_, bytes)| bytes).sum();
        let current = self.current.as_ref().map(|segment| &segment.path);
        for (path, bytes) in kept.iter().filter(|(path, _)| Some(path) != current) {
            if total + length <= self.limits.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        if total + length > self.limits.max_bytes {
            return Err(io::Error::other("record_max_mib is too small for one segment"));
        }
        Ok(())
    }

    fn end_segment(&mut self) {
        if let Some(segment) = self.current.take() {
            // What the disk loses with the power is the last segment, otherwise it would be several.
            let _ = segment.file.sync_data();
        }
    }
}
