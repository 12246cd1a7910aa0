//! The body of an answer: read piece by piece, as lines, or whole; each with a timeout.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::timeout;

use super::super::health::{Failure, FailureCode};
use super::items::MAX_OBJECT;

/// Capacity that a buffer keeps after a long line.
const KEPT: usize = 64 << 10;

/// A body that is read piece by piece.
pub struct Pieces {
    body: Body,
    idle_timeout: Duration,
}

impl Pieces {
    /// Fails when no data arrives for `idle_timeout`.
    #[must_use]
    pub fn new(body: Body, idle_timeout: Duration) -> Self {
        Self { body, idle_timeout }
    }

    /// Changes the timeout.
    pub fn set_idle_timeout(&mut self, idle_timeout: Duration) {
        self.idle_timeout = idle_timeout;
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer does, or no data arrives in time.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = match timeout(self.idle_timeout, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    return Err(Failure::new(
                        FailureCode::ConnectionLost,
                        "connection closed in the middle of an answer",
                    ));
                }
                Err(_) => {
                    let reason = format!("no data for {} s", self.idle_timeout.as_secs_f32());
                    return Err(Failure::new(FailureCode::Timeout, reason));
                }
            };
            if let Ok(bytes) = frame.into_data()
                && !bytes.is_empty()
            {
                return Ok(Some(bytes));
            }
        }
    }
}

/// A whole body, of one object.
///
/// # Errors
///
/// As [`Pieces::next`]; or when it is longer than [`MAX_OBJECT`].
pub async fn whole(body: Body, idle_timeout: Duration) -> Result<Vec<u8>, Failure> {
    let mut pieces = Pieces::new(body, idle_timeout);
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await? {
        if all.len() + piece.len() > MAX_OBJECT {
            return Err(Failure::new(FailureCode::Malformed, "object too long"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// The lines of a watch.
pub struct Lines {
    pieces: Pieces,
    /// The unread rest of the last piece.
    rest: Bytes,
    line: Vec<u8>,
    is_too_long: bool,
}

/// A line of a watch.
#[derive(Debug)]
pub enum Line<'a> {
    /// Its text.
    Text(&'a [u8]),
    /// Longer than [`MAX_OBJECT`].
    TooLong,
}

impl Lines {
    /// Reads lines from these pieces.
    #[must_use]
    pub fn new(pieces: Pieces) -> Self {
        Self { pieces, rest: Bytes::new(), line: Vec::new(), is_too_long: false }
    }

    /// Changes the timeout.
    pub fn set_idle_timeout(&mut self, idle_timeout: Duration) {
        self.pieces.set_idle_timeout(idle_timeout);
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Pieces::next`], or when the connection ends in the middle of a line.
    pub async fn next(&mut self) -> Result<Option<Line<'_>>, Failure> {
        self.line.clear();
        self.line.shrink_to(KEPT);
        self.is_too_long = false;
        loop {
            let end = self.rest.iter().position(|byte| *byte == b'\n');
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
                None => {
                    return Err(Failure::new(
                        FailureCode::ConnectionLost,
                        "connection closed in the middle of a line",
                    ));
                }
            }
        }
    }
}
