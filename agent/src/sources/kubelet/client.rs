//! The client of the kubelet. It keeps its connection between lists; the text of a refusal is never shown.

use std::error::Error;
use std::io;

use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use kube::Config;
use kube::client::Body;

use super::super::health::{Failure, FailureCode};
use super::list::{List, Reader};
use super::{Options, Trust};

/// Bytes of a token; a service account's has some thousand.
const MAX_TOKEN: usize = 64 << 10;

/// A client of the kubelet.
pub struct Client {
    options: Options,
    /// `None` until it could be made.
    client: Option<kube::Client>,
}

impl Client {
    /// Sends no request yet.
    pub fn new(options: Options) -> Self {
        Self { options, client: None }
    }

    /// The pods of the node.
    ///
    /// # Errors
    ///
    /// When the complete list does not arrive in time.
    pub async fn list(&mut self) -> Result<List, Failure> {
        let limit = self.options.timeout;
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(
                FailureCode::Timeout,
                format!("no complete answer within {} s", limit.as_secs_f32()),
            )),
        }
    }

    async fn ask(&mut self) -> Result<List, Failure> {
        let url = uri(&self.options.url)?;
        let request = self.request(&url)?;
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(self.connect(url)?),
        };
        let response = client.send(request).await.map_err(|error| unreachable(&error))?;
        refusal(response.status())?;
        let mut body = response.into_body();
        let mut reader = Reader::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Failure::new(FailureCode::ConnectionLost, "connection closed in the middle of the list")
            })?;
            if let Some(bytes) = frame.data_ref() {
                reader.read(bytes)?;
            }
        }
        reader.end()
    }

    fn request(&self, url: &Uri) -> Result<Request<Body>, Failure> {
        let path = url.path_and_query().map_or("/pods", |path| path.as_str());
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().map_err(|_| unconfigured("the URL has no path"))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(path) = self.options.token.as_ref().filter(|_| url.scheme_str() == Some("https")) {
            let token = std::fs::read_to_string(path)
                .map_err(|error| unconfigured(&format!("token file {}: {error}", path.display())))?;
            let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            let mut value = value
                .ok()
                .filter(|value| value.len() <= MAX_TOKEN)
                .ok_or_else(|| unconfigured(&format!("token file {}: not a token", path.display())))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn connect(&self, url: Uri) -> Result<kube::Client, Failure> {
        let mut parts = url.into_parts();
        // The path is the request's.
        parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static("/"));
        let url = Uri::from_parts(parts).map_err(|error| unconfigured(&error.to_string()))?;
        let mut config = Config::new(url);
        config.connect_timeout = Some(self.options.timeout);
        config.default_retry = false;
        match &self.options.trust {
            Trust::Anyone => {
                config.accept_invalid_certs = true;
                // Else kube loads the system's, which an image may not have.
                config.root_cert = Some(Vec::new());
            }
            Trust::Authority(path) => config.root_cert_file = Some(path.clone()),
            Trust::System => {}
        }
        kube::Client::try_from(config).map_err(|error| unconfigured(&chain(&error)))
    }
}

fn uri(text: &str) -> Result<Uri, Failure> {
    let is_good = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
    text.parse()
        .ok()
        .filter(is_good)
        .ok_or_else(|| unconfigured(&format!("{text:?} is not the URL of a kubelet")))
}

fn unconfigured(reason: &str) -> Failure {
    Failure::new(FailureCode::Unconfigured, reason)
}

fn refusal(status: StatusCode) -> Result<(), Failure> {
    let (code, hint) = match status {
        StatusCode::OK => return Ok(()),
        StatusCode::UNAUTHORIZED => (FailureCode::Unauthorized, ": the token is not accepted"),
        StatusCode::FORBIDDEN => {
            (FailureCode::Forbidden, ": it requires `get` on `nodes/pods` or `nodes/proxy`")
        }
        StatusCode::NOT_FOUND => (FailureCode::NotFound, ""),
        StatusCode::TOO_MANY_REQUESTS => (FailureCode::Throttled, ""),
        _ => (FailureCode::ServerError, ""),
    };
    Err(Failure::new(code, format!("the kubelet answers {status}{hint}")))
}

fn unreachable(error: &kube::Error) -> Failure {
    Failure::new(if is_of_tls(error) { FailureCode::Tls } else { FailureCode::Unreachable }, chain(error))
}

/// TLS fails with an I/O error of invalid data (tokio-rustls, `MidHandshake`), within others of hyper.
fn is_of_tls(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let Some(io) = error.downcast_ref::<io::Error>() else {
            next = error.source();
            continue;
        };
        if io.kind() == io::ErrorKind::InvalidData {
            return true;
        }
        // What an I/O error wraps is not its source, but its source's.
        next = match io.get_ref() {
            Some(inner) => Some(inner),
            None => io.source(),
        };
    }
    false
}

/// An error and its sources. No request is in it, so no token.
fn chain(error: &kube::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !all.contains(&text) {
            all = format!("{all}: {text}");
        }
        next = error.source();
    }
    all.chars().take(512).collect()
}
