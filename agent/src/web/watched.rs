//! Detects new versions of the files, which are several: a certificate is renewed without a change of the file that names it.
//!
//! A version is read when two polls in a row saw the same one, so that none is read while it is written.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::WebError;
use super::file::{Reader, Rules, Source};

/// What tells one version of a file from another without reading it: device, inode, size, and when it or its permissions were
/// changed, in seconds and nanoseconds; `None` when it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files, as they were seen last.
pub(super) struct Watched {
    source: Source,
    paths: Vec<PathBuf>,
    /// What the last look saw.
    seen: Option<Vec<Stamp>>,
    /// The version that was read last and could be.
    read: Option<Vec<Stamp>>,
    /// Of what is in force.
    hash: u64,
    /// The error that was said last, until something can be read.
    said: Option<String>,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing that was not read.
    Same,
    /// A version that was not read yet, or could not be.
    Fresh,
}

/// What reading finds.
pub(super) enum Outcome {
    /// What is in force already.
    Same,
    /// Other rules.
    New(Box<Rules>),
    /// They cannot be used, for a reason that is new or was said before.
    Failed(Option<WebError>),
}

impl Watched {
    /// Reads the files for the first time. Stamps are not trusted: another version of the same moment and size would have the
    /// same. So they are read once more after the next looks.
    pub fn first(source: Source) -> Result<(Self, Rules), WebError> {
        let mut reader = Reader::default();
        let rules = source.rules(&mut reader)?;
        let hash = reader.hash();
        Ok((Self { source, paths: reader.paths, seen: None, read: None, hash, said: None }, rules))
    }

    /// Looks whether there is another version.
    pub fn look(&mut self) -> Look {
        let stamps = Some(self.paths.iter().map(stamp).collect());
        let is_steady = self.seen == stamps;
        let is_fresh = is_steady && self.read != stamps;
        self.seen = stamps;
        if is_fresh { Look::Fresh } else { Look::Same }
    }

    /// Reads the version that the last look saw.
    pub fn read(&mut self, before: &Rules) -> Outcome {
        let mut reader = Reader::default();
        let result = self.source.rules(&mut reader).and_then(|rules| {
            let difference = rules.difference_that_needs_a_restart(before);
            difference.map_or(Ok(rules), |text| Err(WebError(text.to_owned())))
        });
        let hash = reader.hash();
        // Stamps are those of the paths that were looked at.
        let is_same = reader.paths == self.paths;
        self.read = self.seen.take_if(|_| is_same && result.is_ok());
        self.paths = reader.paths;
        match result {
            Ok(rules) => {
                self.said = None;
                if self.hash == hash {
                    return Outcome::Same;
                }
                self.hash = hash;
                Outcome::New(Box::new(rules))
            }
            Err(error) => {
                let text = error.to_string();
                let is_new = self.said.as_ref() != Some(&text);
                self.said = Some(text);
                Outcome::Failed(is_new.then_some(error))
            }
        }
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
}
