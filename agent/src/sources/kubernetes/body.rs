//! The octets of an answer, as they come, and its lines.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::timeout;

use super::items::MAX_OBJECT;
use super::server::{Failure, Reason};

/// What a buffer keeps when a long line was read.
const KEPT: usize = 64 << 10;

/// An answer that is read piece by piece.
pub struct Pieces {
    body: Body,
    silence: Duration,
}

impl Pieces {
    /// Of this answer; when nothing comes for so long, it has failed.
    #[must_use]
    pub fn new(body: Body, silence: Duration) -> Self {
        Self { body, silence }
    }

    /// From now on it may be silent for so long.
    pub fn may_be_silent(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// The next octets; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer does, or is silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = match timeout(self.silence, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    return Err(Failure::new(Reason::Broken, "the connection ended within an answer"));
                }
                Err(_) => {
                    let why = format!("nothing came for {} s", self.silence.as_secs_f32());
                    return Err(Failure::new(Reason::Silent, why));
                }
            };
            if let Ok(octets) = frame.into_data()
                && !octets.is_empty()
            {
                return Ok(Some(octets));
            }
        }
    }
}

/// A short answer as a whole.
///
/// # Errors
///
/// Like [`Pieces::next`]; or when it is longer than an object is.
pub async fn whole(body: Body, silence: Duration) -> Result<Vec<u8>, Failure> {
    let mut pieces = Pieces::new(body, silence);
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await? {
        if all.len() + piece.len() > MAX_OBJECT {
            return Err(Failure::new(Reason::Malformed, "an object that is too long"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// The lines of a watch.
pub struct Lines {
    pieces: Pieces,
    /// What was read of a piece and is of no line yet.
    rest: Bytes,
    line: Vec<u8>,
    is_too_long: bool,
}

/// A line of a watch.
#[derive(Debug)]
pub enum Line<'a> {
    /// Its text.
    Text(&'a [u8]),
    /// Longer than an object is.
    TooLong,
}

impl Lines {
    /// Of this answer.
    #[must_use]
    pub fn new(pieces: Pieces) -> Self {
        Self { pieces, rest: Bytes::new(), line: Vec::new(), is_too_long: false }
    }

    /// From now on it may be silent for so long.
    pub fn may_be_silent(&mut self, silence: Duration) {
        self.pieces.may_be_silent(silence);
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the connection ends within a line or before the answer does, or is silent.
    pub async fn next(&mut self) -> Result<Option<Line<'_>>, Failure> {
        self.line.clear();
        self.line.shrink_to(KEPT);
        self.is_too_long = false;
        loop {
            let end = self.rest.iter().position(|octet| *octet == b'\n');
            let part = self.rest.split_to(end.unwrap_or(self.rest.len()));
            if self.line.len() + part.len() > MAX_OBJECT {
                self.is_too_long = true;
                self.line.clear();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(&part);
            }
            if end.is_some() {
                let _ = self.rest.split_to(1);
                if self.is_too_long {
                    return Ok(Some(Line::TooLong));
                }
                if !self.line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some(Line::Text(&self.line)));
                }
                self.line.clear();
                continue;
            }
            match self.pieces.next().await? {
                Some(piece) => self.rest = piece,
                None if self.line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Err(Failure::new(Reason::Broken, "the connection ended within a line")),
            }
        }
    }
}
