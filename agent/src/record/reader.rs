//! From a recording to what the agent found at some time.

use std::fs;
use std::path::{Path, PathBuf};

use netcause_core::recording::{Error, Origin, Pseudonyms, Replay};

use super::At;
use super::directory::{RecordingError, segments};
use crate::expose::lately::{Findings, Lately};

/// A segment in memory, and when it begins.
#[derive(Debug)]
pub(super) struct Stored {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub begin: u64,
}

/// All segments that can be read, the oldest first.
#[derive(Debug)]
pub(super) struct Recording {
    pub segments: Vec<Stored>,
    /// What cannot be read: a segment that an agent has just begun when it ended, or of another version.
    pub unreadable: Vec<(PathBuf, Error)>,
}

impl Recording {
    /// Of a directory, or of one segment.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let files = match path.is_file() {
            true => vec![path.to_owned()],
            false => {
                let found = segments(path).map_err(RecordingError::io(path))?;
                found.into_iter().map(|(path, _)| path).collect()
            }
        };
        let (mut segments, mut unreadable) = (Vec::new(), Vec::new());
        for path in files {
            let bytes = fs::read(&path).map_err(RecordingError::io(&path))?;
            match Replay::begin(&bytes, None).map(|replay| replay.wall) {
                Ok(begin) => segments.push(Stored { path, bytes, begin }),
                Err(error) => unreadable.push((path, error)),
            }
        }
        if segments.is_empty() {
            return Err(match unreadable.pop() {
                Some((path, error)) => RecordingError::Segment { path, error },
                None => RecordingError::None(path.to_owned()),
            });
        }
        Ok(Self { segments, unreadable })
    }

    /// When it ends.
    pub fn end(&self) -> Result<u64, RecordingError> {
        self.segments.last().map_or(Ok(0), |stored| Ok(stored.read(|_, _| true)?.wall))
    }

    /// Begins and ends of what there is without a gap.
    pub fn spans(&self) -> Result<Vec<(u64, u64)>, RecordingError> {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for stored in &self.segments {
            let end = stored.read(|_, _| true)?.wall;
            match spans.last_mut() {
                Some((_, until)) if stored.begin <= *until => *until = end.max(*until),
                _ => spans.push((stored.begin, end)),
            }
        }
        Ok(spans)
    }

    /// That nothing was recorded then.
    pub fn outside(&self, time: u64) -> RecordingError {
        match self.spans() {
            Ok(spans_of) => RecordingError::Outside { time, spans_of },
            Err(error) => error,
        }
    }
}

impl Stored {
    /// Reads it, without judging, for as long as it is wanted: by what was read before, and the time of the window.
    pub fn read(&self, wanted: impl Fn(&Replay<'_>, u64) -> bool) -> Result<Replay<'_>, RecordingError> {
        let mut replay = self.begin(None)?;
        loop {
            match replay.next(None).map_err(|error| self.error(error))? {
                Some(judged) if wanted(&replay, judged.wall) => {}
                _ => return Ok(replay),
            }
        }
    }

    pub fn begin(&self, names: Option<&mut Pseudonyms>) -> Result<Replay<'_>, RecordingError> {
        Replay::begin(&self.bytes, names).map_err(|error| self.error(error))
    }

    pub fn error(&self, error: Error) -> RecordingError {
        RecordingError::Segment { path: self.path.clone(), error }
    }
}

/// What the agent had found at that time, and where the recording comes from. Without a time, at its end.
///
/// # Errors
///
/// When there is no recording, it cannot be read, or has nothing of that time.
pub fn findings_at(path: &Path, at: Option<At>) -> Result<(Lately, Origin), RecordingError> {
    let recording = Recording::open(path)?;
    let time = match at {
        None => u64::MAX,
        Some(At::Time(time)) => time,
        Some(at) => at.of_end(recording.end()?),
    };
    let Some(stored) = recording.segments.iter().rev().find(|stored| stored.begin <= time) else {
        return Err(recording.outside(time));
    };
    let mut replay = stored.begin(None)?;
    let mut is_within = at.is_none() || replay.wall == time;
    while let Some(judged) = replay.next(None).map_err(|error| stored.error(error))? {
        is_within |= judged.wall >= time;
        if judged.wall > time {
            break;
        }
        replay.judge(&judged);
    }
    if !is_within {
        return Err(recording.outside(time));
    }
    let findings = Findings::of(&replay.diagnosis, &replay.origin.node);
    Ok((Lately { findings, read_at: stored.begin, ..Lately::default() }, replay.origin))
}
