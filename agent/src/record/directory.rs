//! The directory: which segments there are, in the order of time, and what is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use netcause_core::recording;

use super::at::date;

/// Names of segments: this, the time of their begin, a number, and the ending.
const PREFIX: &str = "segment-";
const ENDING: &str = ".rec";

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is none.
    #[error(
        "there is no recording in {directory}: it has no file {PREFIX}*{ENDING}. An agent records into it with \
         `netcause agent --record {directory}`",
        directory = .0.display()
    )]
    None(PathBuf),
    /// A file or the directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A segment cannot be read, and there is no other that could.
    #[error("cannot read {}: {error}", path.display())]
    Segment {
        /// Which.
        path: PathBuf,
        /// Why.
        error: recording::Error,
    },
    /// Nothing was recorded then.
    #[error("nothing was recorded at {}: the recording has {}", date(*time), spans(spans_of))]
    Outside {
        /// When.
        time: u64,
        /// Begins and ends of what there is.
        spans_of: Vec<(u64, u64)>,
    },
    /// The output would be mixed with another recording.
    #[error("{} has a recording already: name a new directory", .0.display())]
    Exists(PathBuf),
    /// The times are in the wrong order.
    #[error("--from {} is later than --to {}", date(*from), date(*to))]
    Backwards {
        /// `--from`.
        from: u64,
        /// `--to`.
        to: u64,
    },
}

impl RecordingError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io { path: path.to_owned(), error }
    }
}

fn spans(spans: &[(u64, u64)]) -> String {
    let spans: Vec<String> =
        spans.iter().map(|(from, to)| format!("{} to {}", date(*from), date(*to))).collect();
    spans.join(", and ")
}

/// The segments of a directory, the oldest first, with their sizes.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(ENDING));
        // One that goes meanwhile is none.
        if let Some(metadata) = entry.metadata().ok().filter(|metadata| is_one && metadata.is_file()) {
            found.push((entry.path(), metadata.len()));
        }
    }
    // Names have the time in front, and then the number.
    found.sort_unstable();
    Ok(found)
}

/// The name of a segment that begins then; the number tells those of one second apart.
pub(super) fn name(wall: u64, number: u32) -> String {
    let time = i64::try_from(wall).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    format!("{PREFIX}{}-{number:03}{ENDING}", time.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ"))
}

/// When a segment begins, by its name.
pub(super) fn begin(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    let (time, _) = name.split_once('-')?;
    let part = |from: usize, to: usize| time.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(9, 11)?,
        part(11, 13)?,
        part(13, 15)?
    );
    u64::try_from(text.parse::<Timestamp>().ok()?.as_second()).ok()
}
