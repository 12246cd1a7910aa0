//! A response body that many readers share.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::connections::Serving;

/// Bytes handed to a connection at once: a reader that does not read holds up no more than this beside its socket buffer.
const CHUNK: usize = 64 * 1024;

/// Called when the connection has taken all bytes.
pub(super) type Taken = Box<dyn FnOnce() + Send>;

/// Shared bytes, and what is held until they are written.
pub(super) struct Shared {
    bytes: Bytes,
    taken: Option<Taken>,
    _scrape: Option<OwnedSemaphorePermit>,
    _serving: Serving,
}

impl Shared {
    pub fn new(bytes: Bytes, scrape: Option<OwnedSemaphorePermit>, serving: Serving) -> Self {
        Self { bytes, taken: None, _scrape: scrape, _serving: serving }
    }

    pub fn when_taken(self, taken: Option<Taken>) -> Self {
        Self { taken, ..self }
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.bytes.len().min(CHUNK);
        let chunk = self.bytes.split_to(length);
        if self.bytes.is_empty()
            && let Some(taken) = self.taken.take()
        {
            taken();
        }
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
