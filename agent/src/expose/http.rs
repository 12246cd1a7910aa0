//! The HTTP side: few paths, and a limit on everything a client can do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::prometheus::Format;

/// What the server asks the rest of the agent.
pub trait Source: Send + Sync + 'static {
    /// The exposition, or why there is none.
    ///
    /// # Errors
    ///
    /// When the kernel's tables cannot be read.
    fn metrics(&self, format: Format) -> Result<String, String>;
    /// What is known of DNS, in JSON, or why nothing is.
    ///
    /// # Errors
    ///
    /// When the kernel's tables cannot be read.
    fn dns(&self) -> Result<String, String>;
    /// Whether the agent does its work.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;
}

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; further ones wait in the listener's queue.
    pub max_connections: u32,
    /// For a request to arrive, also on a connection that is kept open.
    pub timeout: Duration,
}

/// A connection may be used for so many times-out, then it is closed: a client that never reads its answer holds a
/// place no longer.
const LIFETIME_TIMEOUTS: u32 = 6;

/// Serves until the future is dropped, which ends every connection.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.max_connections as usize));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed; a place is given back when its connection ends.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let source = Arc::clone(&source);
                connections.spawn(async move {
                    connection(stream, peer, source, limits.timeout).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of files, most likely: waiting is all that helps.
                warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, source: Arc<dyn Source>, timeout: Duration) {
    let service = service_fn(|request| {
        let response = answer(&request, source.as_ref());
        async move { Ok::<_, Infallible>(response) }
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
        () = lifetime => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "HTTP connection ended");
    }
}

fn answer(request: &Request<Incoming>, source: &dyn Source) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let format = negotiate(request.headers());
            match source.metrics(format) {
                Ok(exposition) => with_type(StatusCode::OK, format.content_type(), exposition),
                Err(why) => {
                    warn!(why, "no metrics");
                    text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n"))
                }
            }
        }
        "/api/v1/dns" => match source.dns() {
            Ok(json) => with_type(StatusCode::OK, "application/json", json),
            Err(why) => {
                warn!(why, "nothing on DNS");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n"))
            }
        },
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match source.ready() {
            Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/" => text(StatusCode::OK, "Netcause\n\n/metrics\n/api/v1/dns\n/livez\n/readyz\n".to_owned()),
        _ => text(
            StatusCode::NOT_FOUND,
            "not found: /metrics, /api/v1/dns, /livez and /readyz are here\n".to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// OpenMetrics when the client likes it at least as much as plain text (RFC 9110 §12.5.1); plain text when it says
/// nothing, so that a person with a browser or curl sees it.
fn negotiate(headers: &HeaderMap) -> Format {
    let (mut open_metrics, mut plain) = (0.0_f32, 0.0_f32);
    for range in
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        match kind.as_str() {
            "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
            "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(&headers)
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
            q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiated(prometheus_2), Format::OpenMetrics);
        assert_eq!(negotiated("text/plain;version=0.0.4"), Format::Prometheus);
        assert_eq!(negotiated("application/openmetrics-text;q=0.2, text/plain;q=0.9"), Format::Prometheus);
        assert_eq!(negotiated("application/openmetrics-text;q=0"), Format::Prometheus);
        assert_eq!(negotiated("*/*"), Format::Prometheus);
        assert_eq!(negotiated("application/openmetrics-text;q=abc"), Format::OpenMetrics);
        assert_eq!(negotiate(&HeaderMap::new()), Format::Prometheus);
    }
}
