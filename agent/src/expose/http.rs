//! The HTTP server: a table of routes, and a limit on everything that a client can do.

mod body;
mod cache;
mod connections;
mod encoding;
mod routes;
mod scrape;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use netcause_core::seen::Seen;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use self::body::{Shared, Taken};
use self::cache::{Cache, Key};
use self::connections::{Connections, Place, Serving};
use self::encoding::{accepts_gzip, encode_text};
use self::routes::{Answer, RenderLately, Route};
use self::scrape::{Peer, Scrapes};
use super::lately::Lately;
use super::snapshot::Snapshot;
use crate::web::{Denied, Refused, Web};

pub use self::routes::endpoints;

/// A view that is being made.
pub type View<'a> = Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, String>> + Send + 'a>>;

/// What was counted lately, that is being read.
pub type Windows<'a> = Pin<Box<dyn Future<Output = Result<Arc<Lately>, String>> + Send + 'a>>;

/// What the server asks the rest of the agent.
pub trait Source: Send + Sync + 'static {
    /// The current view, or why there is none. Requests that get the same `Arc` share their bodies. `seen` is what scrapers have
    /// got when they have got this view.
    fn view(&self, seen: Seen) -> View<'_>;

    /// What was counted lately, or why that cannot be read.
    fn windows(&self) -> Windows<'_>;

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
    /// For the first request of a connection to arrive; a response may take [`READ_TIMEOUTS`] of them.
    pub timeout: Duration,
}

/// A response has to be read within so many timeouts, or its connection is closed: a client that never reads does not
/// keep its place.
const READ_TIMEOUTS: u32 = 6;

/// A connection that was used is kept for so long without a request, as Prometheus keeps it: two Prometheus servers on one
/// host differ by nothing but their connections.
const KEEP_ALIVE: Duration = Duration::from_secs(330);

/// Without a request for a view for so long, the server asks for one itself, so that the start of each series is known.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(10);

/// Places for connections beside those that readers of the view can hold: for health probes.
const RESERVED_PLACES: usize = 8;

struct Server {
    source: Arc<dyn Source>,
    web: Arc<Web>,
    cache: Cache,
    shown: Scrapes,
    /// Requests for a view that may be answered at once.
    scrapes: Arc<Semaphore>,
}

/// Serves until the future is dropped, which ends every connection.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, limits: Limits, web: Arc<Web>) {
    let Limits { max_connections, timeout } = limits;
    let scrapes = Arc::new(Semaphore::new(max_connections as usize));
    let server = Arc::new(Server { source, web, cache: Cache::default(), shown: Scrapes::new(), scrapes });
    let connections = Connections::new(max_connections as usize + RESERVED_PLACES, timeout);
    let mut tasks = JoinSet::new();
    let follower = Arc::clone(&server);
    tasks.spawn(async move { follower.follow().await });
    let web = Arc::clone(&server.web);
    tasks.spawn(async move { web.follow().await });
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
    let served = async {
        let Some(config) = server.web.tls() else { return requests(stream, peer, &place, &server).await };
        match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => requests(stream, peer, &place, &server).await,
            Err(error) => {
                server.web.refused(Refused::Tls);
                debug!(%peer, %error, "TLS handshake failed");
            }
        }
    };
    tokio::select! {
        () = served => {}
        () = place.evicted() => debug!(%peer, "idle HTTP connection closed for a new one"),
        () = place.overdue(timeout) => debug!(%peer, "HTTP connection closed after a timeout"),
    }
}

/// Answers what comes over a connection, until it ends.
async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    place: &Place,
    server: &Arc<Server>,
) {
    let token = Arc::new(());
    let service = service_fn(|request| {
        let (server, serving) = (Arc::clone(server), place.serving());
        let peer = Peer { address: peer.ip(), connection: Arc::clone(&token) };
        async move { Ok::<_, Infallible>(server.respond(&request, serving, &peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(KEEP_ALIVE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%peer, %error, "HTTP connection ended");
    }
}

impl Server {
    async fn respond(&self, request: &Request<Incoming>, serving: Serving, peer: &Peer) -> Response<Shared> {
        let mut response = match self.web.admit(Route::guard(request.uri().path()), request.headers()).await {
            Ok(()) => self.answer(request, serving, peer).await,
            Err(denied) => refusal(denied, serving),
        };
        for (name, value) in self.web.headers() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn answer(&self, request: &Request<Incoming>, serving: Serving, peer: &Peer) -> Response<Shared> {
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
        if matches!(route.answer, Answer::View(..) | Answer::Metrics | Answer::Lately(_)) {
            let Ok(scrape) = Arc::clone(&self.scrapes).try_acquire_owned() else {
                let text = "too many requests are being answered (http_max_connections)\n".to_owned();
                let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text, serving);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            };
            let lately = match route.answer {
                Answer::Lately(ask) => match ask(request.uri().query().unwrap_or_default()) {
                    Ok(render) => Some(render),
                    Err(error) => return plain(StatusCode::BAD_REQUEST, format!("{error}\n"), serving),
                },
                _ => None,
            };
            let rendered = match lately {
                Some(render) => self.lately(render, request.headers()).await,
                None => self.rendered(route, request.headers(), peer).await,
            };
            return match rendered {
                Ok(Rendered { content_type, bytes, taken }) => {
                    let body = Shared::new(bytes, Some(scrape), serving).when_taken(taken);
                    let mut response = with_body(StatusCode::OK, content_type, body);
                    response.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
                    if accepts_gzip(request.headers()) {
                        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    }
                    response
                }
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

    /// The body of a route that is made from what was counted lately.
    async fn lately(&self, render: RenderLately, headers: &HeaderMap) -> Result<Rendered, String> {
        let text = render(&*self.source.windows().await?)?;
        let bytes = encode_text(accepts_gzip(headers), text)?;
        Ok(Rendered { content_type: routes::JSON, bytes: bytes.into(), taken: None })
    }

    /// The body of a route that is made from the view.
    async fn rendered(
        &self,
        route: &'static Route,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Rendered, String> {
        let begin = Instant::now();
        let seen = match route.answer {
            Answer::Metrics => self.seen(headers, peer).await?,
            _ => Seen::default(),
        };
        let view = self.source.view(seen).await?;
        if let Answer::View(content_type, render) = route.answer {
            let key = Key { path: route.path, exposition: None, gzip: accepts_gzip(headers) };
            let bytes = self.cache.get(&view, key, || encode_text(key.gzip, render(&view)?))?;
            return Ok(Rendered { content_type, bytes, taken: None });
        }
        let format = routes::negotiate(headers);
        let (bytes, taken) = self.shown.body(&view, route.path, format, headers, peer, &self.cache)?;
        self.source.scraped(begin.elapsed());
        Ok(Rendered { content_type: format.content_type(), bytes, taken })
    }

    /// What scrapers have got when this client has got the view that it asks for.
    async fn seen(&self, headers: &HeaderMap, peer: &Peer) -> Result<Seen, String> {
        if let Some(seen) = self.shown.seen(headers, peer) {
            return Ok(seen);
        }
        // What a client gets depends on the age of the agent, which a view says.
        self.shown.follow(&self.source.view(Seen::default()).await?);
        Ok(self.shown.seen(headers, peer).unwrap_or_default())
    }

    /// Looks at the view now and then, never more often than it would be looked at anyway.
    async fn follow(&self) {
        loop {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            if self.shown.age() >= FOLLOW_INTERVAL
                && let Ok(view) = self.source.view(Seen::default()).await
            {
                self.shown.follow(&view);
            }
        }
    }
}

/// A body made from the view.
struct Rendered {
    content_type: &'static str,
    bytes: Bytes,
    /// Called when the client has it.
    taken: Option<Taken>,
}

fn refusal(denied: Denied, serving: Serving) -> Response<Shared> {
    let (status, header, value, text) = match denied {
        Denied::Password => (
            StatusCode::UNAUTHORIZED,
            WWW_AUTHENTICATE,
            "Basic realm=\"netcause\"",
            "a user and a password are needed, or are wrong\n",
        ),
        Denied::Token => (
            StatusCode::UNAUTHORIZED,
            WWW_AUTHENTICATE,
            "Bearer realm=\"netcause\"",
            "a token for /api/v1/ is needed, or is wrong\n",
        ),
        Denied::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "5", "too many passwords are being checked\n")
        }
    };
    let mut response = with_body(status, routes::TEXT, Shared::new(text.into(), None, serving));
    response.headers_mut().insert(header, HeaderValue::from_static(value));
    response
}

fn with_body(status: StatusCode, content_type: &'static str, body: Shared) -> Response<Shared> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
