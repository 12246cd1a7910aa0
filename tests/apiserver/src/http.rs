//! HTTP/1.1 by hyper. Each request is handled on a thread of its own, which writes the reply piece by piece: so a reply
//! can be slow, end the connection in its middle, or never end.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt as _, Collected, Limited, StreamBody};
use hyper::{
    HeaderMap, Response,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use super::{
    query::{Parameters, split},
    status::Status,
};

/// Replies longer than this are chunked, as with Go's `net/http`.
const MAX_UNCHUNKED: usize = 2048;
/// Bytes of a chunk.
const CHUNK: usize = 32 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// What was written before a connection is cut arrives within this time.
const FLUSH: Duration = Duration::from_millis(50);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// The query, decoded.
    pub parameters: Parameters,
    headers: HeaderMap,
    /// What a client writes; of longer ones nothing.
    pub(crate) body: Bytes,
}

impl Request {
    async fn of(request: hyper::Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let (path, parameters) = split(target);
        let body = Limited::new(body, MAX_BODY).collect().await.map(Collected::to_bytes).unwrap_or_default();
        Self { method: head.method.to_string(), path, parameters, headers: head.headers, body }
    }

    /// The value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bearer token.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.header(&AUTHORIZATION)?.strip_prefix("Bearer ")
    }

    /// Whether the query has this parameter.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// A parameter of the query; empty when it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// Whether this is a watch that continues after a version.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.has("watch") && !self.is_streaming()
    }

    /// Whether this is a streaming list.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.has("sendInitialEvents")
    }
}

type Part = io::Result<Frame<Bytes>>;
type Head = Response<StreamBody<Pin<Box<dyn Stream<Item = Part> + Send>>>>;

/// How the body of a reply is spoilt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spoil {
    /// Bytes per second, at most.
    pub(crate) bytes_per_second: Option<u64>,
    /// Bytes after which the connection ends.
    pub(crate) cut_after: Option<u64>,
}

/// Writes the reply to one request. Dropping it ends the reply; before the head, it ends the connection.
pub(crate) struct Reply {
    head: Option<oneshot::Sender<Head>>,
    body: Option<mpsc::Sender<Part>>,
    spoil: Spoil,
    sent: Arc<AtomicU64>,
    /// Called with the status before that is sent: whoever has the reply finds it recorded.
    on_status: Option<Box<dyn FnOnce(u16) + Send>>,
}

impl Reply {
    /// Has the status recorded.
    pub(crate) fn on_status(&mut self, record: impl FnOnce(u16) + Send + 'static) {
        self.on_status = Some(Box::new(record));
    }

    /// Bytes of the body so far, also those that come.
    pub(crate) fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Spoils the body that follows.
    pub(crate) fn spoil(&mut self, spoil: Spoil) {
        self.spoil = spoil;
    }

    /// A whole reply.
    pub(crate) fn whole(
        &mut self,
        status: u16,
        content_type: &str,
        retry_after: Option<u64>,
        body: &[u8],
    ) -> io::Result<()> {
        let length = (body.len() <= MAX_UNCHUNKED).then_some(body.len());
        self.head(status, content_type, retry_after, length)?;
        body.chunks(CHUNK).try_for_each(|part| self.chunk(part))
    }

    /// A whole reply of JSON.
    pub(crate) fn json(&mut self, body: &[u8]) -> io::Result<()> {
        self.whole(200, "application/json", None, body)
    }

    /// A refusal.
    pub(crate) fn failure(&mut self, status: &Status) -> io::Result<()> {
        let body = format!("{}\n", status.body);
        self.whole(status.code, "application/json", status.retry_after_seconds(), body.as_bytes())
    }

    /// The head of a reply that is written chunk by chunk.
    pub(crate) fn begin(&mut self, status: u16, retry_after: Option<u64>) -> io::Result<()> {
        self.head(status, "application/json", retry_after, None)
    }

    fn head(
        &mut self,
        status: u16,
        content_type: &str,
        retry_after: Option<u64>,
        length: Option<usize>,
    ) -> io::Result<()> {
        if let Some(record) = self.on_status.take() {
            record(status);
        }
        let (sender, receiver) = mpsc::channel(1);
        let parts = stream::unfold(receiver, |mut parts: mpsc::Receiver<Part>| async move {
            parts.recv().await.map(|part| (part, parts))
        });
        let mut head = Response::builder().status(status).header(CONTENT_TYPE, content_type);
        if let Some(seconds) = retry_after {
            head = head.header(RETRY_AFTER, seconds);
        }
        if let Some(length) = length {
            head = head.header(CONTENT_LENGTH, length);
        }
        let head = head.body(StreamBody::new(Box::pin(parts) as Pin<Box<_>>)).map_err(io::Error::other)?;
        self.body = Some(sender);
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.head.take().map_or(Ok(()), |to| to.send(head).map_err(gone))
    }

    /// One chunk.
    pub(crate) fn chunk(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut part = bytes.len();
            if let Some(rate) = self.spoil.bytes_per_second {
                // Ten parts a second.
                part = part.min(usize::try_from(rate.div_ceil(10)).unwrap_or(part).max(1));
            }
            if let Some(cut) = self.spoil.cut_after {
                let left = cut.saturating_sub(self.sent.load(Ordering::Relaxed));
                if left == 0 {
                    return Err(self.cut());
                }
                part = part.min(usize::try_from(left).unwrap_or(part));
            }
            self.send(Ok(Frame::data(Bytes::copy_from_slice(&bytes[..part]))))?;
            self.sent.fetch_add(part as u64, Ordering::Relaxed);
            bytes = &bytes[part..];
            if self.spoil.bytes_per_second.is_some() {
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Ends the connection where it is.
    pub(crate) fn cut(&mut self) -> io::Error {
        let error = || io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a test");
        if self.body.is_some() {
            thread::sleep(FLUSH);
            // The client may be gone already.
            let _ = self.send(Err(error()));
        }
        error()
    }

    fn send(&mut self, part: Part) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.body.as_ref().ok_or_else(gone)?.blocking_send(part).map_err(|_| gone())
    }

    /// Whether the client still waits for more.
    pub(crate) fn has_client(&self) -> bool {
        match (&self.head, &self.body) {
            (Some(head), _) => !head.is_closed(),
            (None, Some(body)) => !body.is_closed(),
            (None, None) => false,
        }
    }

    /// Waits until the client is gone.
    pub(crate) fn hang(&self) {
        while self.has_client() {
            thread::sleep(FLUSH);
        }
    }
}

/// A connection, after TLS where there is any.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// A connection once it is set up; `None` when the client went away meanwhile.
pub type Accepted = Pin<Box<dyn Future<Output = Option<Box<dyn Connection>>> + Send>>;

/// Makes a connection of what a listener accepts: as it is, or with TLS.
pub type Accept = dyn Fn(TcpStream) -> Accepted + Send + Sync;

/// Serves a connection as it is.
#[must_use]
pub fn plain(stream: TcpStream) -> Accepted {
    Box::pin(async {
        // Else a watch's events wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        Some(Box::new(stream) as Box<dyn Connection>)
    })
}

/// What replies to requests.
pub(crate) type Handler = dyn Fn(Request, Reply) -> io::Result<()> + Send + Sync;

/// A listener that is served, on a thread of its own; it and its connections end when this is dropped.
pub(crate) struct Serving {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn start(listener: TcpListener, accept: Arc<Accept>, handler: Arc<Handler>) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, &*accept, &handler) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, accept: &Accept, handler: &Arc<Handler>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (accepted, handler) = (accept(stream), Arc::clone(handler));
        // The task ends with the runtime, if not before.
        tokio::spawn(async move {
            let Some(stream) = accepted.await else { return };
            let service = service_fn(move |request| exchange(request, Arc::clone(&handler)));
            // A client goes when it likes.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn exchange(request: hyper::Request<Incoming>, handler: Arc<Handler>) -> io::Result<Head> {
    let request = Request::of(request).await;
    let (head, comes) = oneshot::channel();
    let reply = Reply {
        head: Some(head),
        body: None,
        spoil: Spoil::default(),
        sent: Arc::default(),
        on_status: None,
    };
    // A reply that fails has lost its client, or was cut by the test.
    thread::spawn(move || drop(handler(request, reply)));
    comes.await.map_err(|_| io::Error::other("the connection ends before the reply"))
}
