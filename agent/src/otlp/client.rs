//! The HTTP client: one connection to the collector, kept between requests.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::answer::{Accepted, Failure, Retry, meaning};
use super::body::Body;
use super::counts::Failed;
use super::options::Options;

/// Bytes that are read of an answer: a number, and a message.
const MAX_ANSWER: usize = 64 << 10;
/// As the OpenTelemetry protocol exporters have it.
const AGENT: &str = concat!("netcause/", env!("CARGO_PKG_VERSION"));

/// A client of one signal's path.
pub struct Client {
    options: Options,
    path: String,
    connection: Option<Connection>,
}

/// A connection. Its task ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(options: Options, signal: &str) -> Self {
        let path = options.endpoint.path(signal);
        Self { options, path, connection: None }
    }

    /// Sends a body, and says what became of it within the time limit.
    ///
    /// # Errors
    ///
    /// When the collector has not taken it.
    pub async fn post(&mut self, body: &Body) -> Result<Accepted, Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let late = |_| {
            let seconds = self.options.timeout.as_secs();
            Failure::passing(Failed::Timeout, format!("no answer within {seconds} s"))
        };
        // Whatever goes wrong, the connection is not used again.
        let kept = self.connection.take();
        let sent = timeout_at(deadline, self.send(kept, body)).await.map_err(late)?;
        let (connection, response) = sent?;
        let (head, answer) = response.into_parts();
        // Where it does not end, what the head says counts: sent again, a request that was taken would be counted twice.
        let answer = timeout_at(deadline, Limited::new(answer, MAX_ANSWER).collect()).await;
        let answer = answer.ok().and_then(Result::ok).map(|answer| answer.to_bytes());
        if answer.is_some() {
            self.connection = Some(connection);
        }
        meaning(head.status, &head.headers, answer.as_deref(), body.items)
    }

    async fn send(
        &self,
        kept: Option<Connection>,
        body: &Body,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        let mut connection = match kept {
            Some(mut kept) => match kept.sender.ready().await {
                Ok(()) => kept,
                // The collector has closed it meanwhile.
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let request = self.request(body)?;
        let response = connection.sender.send_request(request).await;
        let response =
            response.map_err(|error| Failure::passing(Failed::Unreachable, with_sources(&error)))?;
        Ok((connection, response))
    }

    fn request(&self, body: &Body) -> Result<Request<Full<Bytes>>, Failure> {
        let unconfigured = |message| Failure::passing(Failed::Unconfigured, message);
        let mut request = Request::post(&self.path)
            .body(Full::new(body.bytes.clone()))
            .map_err(|error| unconfigured(error.to_string()))?;
        let host = HeaderValue::from_str(&self.options.endpoint.authority);
        let headers = request.headers_mut();
        *headers = self.options.files.headers().map_err(unconfigured)?;
        headers.insert(HOST, host.map_err(|error| unconfigured(error.to_string()))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let endpoint = &self.options.endpoint;
        let stream = TcpStream::connect(&endpoint.authority).await;
        let stream = stream.map_err(|error| Failure::passing(Failed::Unreachable, error.to_string()))?;
        let Some(name) = &endpoint.tls else { return shake_hands(stream).await };
        let connector = self.options.files.connector();
        let connector = connector.map_err(|error| Failure::passing(Failed::Unconfigured, error))?;
        let stream = connector.connect(name.clone(), stream).await;
        shake_hands(stream.map_err(|error| Failure::passing(Failed::Tls, error.to_string()))?).await
    }
}

async fn shake_hands<S>(stream: S) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::passing(Failed::Unreachable, with_sources(&error)))?;
    let mut task = JoinSet::new();
    // What goes wrong is the answer to its request as well.
    task.spawn(async move { drop(connection.await) });
    Ok(Connection { sender, _task: task })
}

/// An error with what caused it.
fn with_sources(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// How long to wait for the next attempt, if there is one.
pub fn wait(retry: Retry, backoff: &mut crate::sources::Backoff) -> Option<std::time::Duration> {
    match retry {
        Retry::Never => None,
        Retry::After(None) => Some(backoff.next()),
        Retry::After(Some(asked)) => Some(backoff.at_least(asked)),
    }
}

#[cfg(test)]
pub mod tests;
