//! Detects new versions of the file.
//!
//! Polled, not watched by inotify: a ConfigMap's file is behind two symbolic links of which the first is renamed over,
//! and network file systems send no events.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::{FileError, MAX_BYTES};

/// What tells one version from another without reading it: device, inode, size, and when it or its permissions
/// were changed, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// The file, as it was seen last.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// What the last look saw; `None` when it was not there.
    seen: Option<Stamp>,
    /// The version that was read last, or could not be.
    read: Option<Stamp>,
    /// Of what was read last.
    hash: Option<u64>,
    /// Whether what was read last was good.
    is_good: bool,
}

/// What a look finds.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing that was not said already.
    Same,
    /// A version that was not read yet.
    Fresh,
    /// For the second time in a row it is not there; once said, it is [`Look::Same`].
    Away(FileError),
}

impl Watched {
    /// Reads it for the first time. The stamp is not trusted: another version of the same moment and size would have the
    /// same. So it is read once more after the next looks.
    pub(super) fn first(path: &Path) -> Result<(Self, Content), FileError> {
        let (hash, text) = text(path)?;
        let content = Content::parse(&text).map_err(|message| malformed(path, message))?;
        Ok((Self { path: path.to_owned(), seen: None, read: None, hash: Some(hash), is_good: true }, content))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the content of the current file is what was published.
    pub(super) fn is_good(&self) -> bool {
        self.is_good
    }

    /// Looks whether there is another version.
    pub(super) fn look(&mut self) -> Look {
        let found = metadata(&self.path);
        let stamp = found.as_ref().ok().map(stamp);
        let is_steady = std::mem::replace(&mut self.seen, stamp) == stamp;
        match found {
            Ok(_) if is_steady && self.read != stamp => Look::Fresh,
            Err(source) if is_steady && (self.is_good || self.read.is_some()) => {
                (self.is_good, self.read, self.hash) = (false, None, None);
                Look::Away(FileError::Unreadable { path: self.path.clone(), source })
            }
            _ => Look::Same,
        }
    }

    /// Reads the version that the last look saw; `None` when there is nothing that was not said before.
    pub(super) fn read(&mut self) -> Result<Option<Content>, FileError> {
        self.read = self.seen;
        let (hash, text) = match text(&self.path) {
            Ok(read) => read,
            // That may pass with no change of the file: it is tried again, and said once.
            Err(error @ FileError::Unreadable { .. }) => {
                let is_new = self.is_good || self.hash.is_some();
                (self.is_good, self.read, self.hash) = (false, None, None);
                return if is_new { Err(error) } else { Ok(None) };
            }
            Err(error) => {
                (self.is_good, self.hash) = (false, None);
                return Err(error);
            }
        };
        if self.hash.replace(hash) == Some(hash) {
            return Ok(None);
        }
        self.is_good = false;
        let content = Content::parse(&text).map_err(|message| malformed(&self.path, message))?;
        self.is_good = true;
        Ok(Some(content))
    }
}

fn malformed(path: &Path, message: String) -> FileError {
    FileError::Malformed { path: path.to_owned(), message }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
}

/// Of what the path leads to, if it is a file: reading a pipe would wait for ever.
fn metadata(path: &Path) -> io::Result<Metadata> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() { Ok(metadata) } else { Err(io::Error::other("it is no regular file")) }
}

fn text(path: &Path) -> Result<(u64, String), FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    metadata(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        malformed(path, format!("no UTF-8 at line {}", 1 + good.filter(|byte| **byte == b'\n').count()))
    })?;
    Ok((hasher.finish(), text))
}
