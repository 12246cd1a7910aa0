//! The HTTP server: a table of routes, and a limit on everything that a client can do.

mod body;
mod cache;
mod connections;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::body::Shared;
use self::cache::Cache;
use self::connections::{Connections, Place, Serving};
use self::routes::{Answer, Route};
use super::snapshot::Snapshot;

pub use self::routes::endpoints;

/// A view that is being made.
pub type View<'a> = Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, String>> + Send + 'a>>;

/// What the server asks the rest of the agent.
pub trait Source: Send + Sync + 'static {
    /// The current view, or why there is none. Requests that get the same `Arc` share their bodies.
    fn view(&self) -> View<'_>;

    /// Whether the agent observes the node.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;

    /// A scrape of `/metrics` was answered; `took` is the time to make its body.
    fn scraped(&self, took: Duration);
}

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests answered from the view at once, until their readers have read them; further ones get 503.
    pub max_connections: u32,
    /// For a request to arrive, also on a connection that is kept open.
    pub timeout: Duration,
}

/// A connection may be used for so many timeouts, then it is closed: a client that never reads its response does not keep
/// its place.
const LIFETIME_TIMEOUTS: u32 = 6;

/// Places for connections beside those that readers of the view can hold: for health probes.
const RESERVED_PLACES: usize = 8;

struct Server {
    source: Arc<dyn Source>,
    cache: Cache,
    scrapes: Arc<Semaphore>,
}

/// Serves until the future is dropped, which ends every connection.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, limits: Limits) {
    let Limits { max_connections, timeout } = limits;
    let scrapes = Arc::new(Semaphore::new(max_connections as usize));
    let server = Arc::new(Server { source, cache: Cache::default(), scrapes });
    let connections = Connections::new(max_connections as usize + RESERVED_PLACES);
    let mut tasks = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = connections.place().await;
                tasks.spawn(connection(stream, peer, place, Arc::clone(&server), timeout));
            }
            Err(error) => {
                // Out of file descriptors, most likely.
                warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    server: Arc<Server>,
    timeout: Duration,
) {
    let service = service_fn(|request| {
        let (server, serving) = (Arc::clone(&server), place.serving());
        async move { Ok::<_, Infallible>(server.respond(&request, serving).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeout)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service)
    );
    let lifetime = tokio::time::sleep(timeout * LIFETIME_TIMEOUTS);
    let result = tokio::select! {
        result = &mut connection => result,
        () = place.evicted() => return debug!(%peer, "idle HTTP connection closed for a new one"),
        () = lifetime => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "HTTP connection ended");
    }
}

impl Server {
    async fn respond(&self, request: &Request<Incoming>, serving: Serving) -> Response<Shared> {
        let plain = |status, text: String, serving| {
            with_body(status, routes::TEXT, Shared::new(text.into(), None, serving))
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response =
                plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned(), serving);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        let Some(route) = Route::of(path) else {
            let text = format!("not found; these paths are served:\n\n{}", endpoints());
            return plain(StatusCode::NOT_FOUND, text, serving);
        };
        if let Some((content_type, render)) = route.answer.rendered(request.headers()) {
            let Ok(scrape) = Arc::clone(&self.scrapes).try_acquire_owned() else {
                let text = "too many requests are being answered (http_max_connections)\n".to_owned();
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text, serving);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            };
            return match self.body(route, content_type, render).await {
                Ok(body) => with_body(StatusCode::OK, content_type, Shared::new(body, Some(scrape), serving)),
                Err(error) => {
                    warn!(error, "cannot answer {path}");
                    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"), serving)
                }
            };
        }
        let answer = match route.answer {
            Answer::Health(check) => check(self.source.as_ref()).map(|()| "ok\n".to_owned()),
            _ => Ok(format!("Netcause {}\n\n{}", env!("CARGO_PKG_VERSION"), endpoints())),
        };
        match answer {
            Ok(text) => plain(StatusCode::OK, text, serving),
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"), serving),
        }
    }

    async fn body(
        &self,
        route: &'static Route,
        content_type: &'static str,
        render: routes::Render,
    ) -> Result<Bytes, String> {
        let begin = Instant::now();
        let view = self.source.view().await?;
        let body = self.cache.get(&view, (route.path, content_type), render)?;
        if matches!(route.answer, Answer::Metrics) {
            self.source.scraped(begin.elapsed());
        }
        Ok(body)
    }
}

fn with_body(status: StatusCode, content_type: &'static str, body: Shared) -> Response<Shared> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
