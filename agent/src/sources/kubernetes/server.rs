//! The client of the API server: its configuration, requests, and what refusals mean.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode};
use kube::client::{AuthError, Body};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde::Deserialize;
use tokio::time::timeout;

use super::super::health::{Failure, FailureCode};
use super::Timing;

/// Bytes that are read of a refusal.
const MAX_REFUSAL: usize = 64 << 10;
/// Characters that are kept of its message.
const MAX_MESSAGE: usize = 200;

/// `Status` of the API, as far as it is used:
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    code: u16,
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
    causes: Option<Vec<Cause>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

/// The server, with the client that reaches it.
pub struct Server {
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it, the current one.
    context: Option<String>,
    timing: Timing,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    client: Option<Client>,
    /// Counts clients, so that one that was refused is replaced once.
    number: u64,
}

impl Server {
    /// Reads no file and sends no request yet.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>, timing: Timing) -> Self {
        Self { kubeconfig, context: None, timing, current: Mutex::default() }
    }

    /// The same, by this context of the kubeconfig instead of the current one.
    #[must_use]
    pub fn in_context(self, context: Option<String>) -> Self {
        Self { context, ..self }
    }

    /// Timeouts and limits.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Requests a path, and returns the body of the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal. After a 401 the configuration and the token are read again.
    pub async fn get(&self, path: &str, accept: &'static str) -> Result<Body, Failure> {
        self.get_with(path, accept, None).await
    }

    /// The same, with a header that is passed on to what the server is a proxy of.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn get_with(
        &self,
        path: &str,
        accept: &'static str,
        header: Option<(&'static str, &HeaderValue)>,
    ) -> Result<Body, Failure> {
        let request = Request::get(path).header(ACCEPT, accept);
        let request = match header {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        self.send(request.body(Body::empty())).await
    }

    /// Creates an object, given as JSON.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, object: Vec<u8>) -> Result<(), Failure> {
        const JSON: &str = "application/json";
        let request = Request::post(path).header(ACCEPT, JSON).header(CONTENT_TYPE, JSON);
        self.send(request.body(Body::from(object))).await.map(drop)
    }

    async fn send(&self, request: hyper::http::Result<Request<Body>>) -> Result<Body, Failure> {
        let (client, number) = self.client()?;
        let request = request.map_err(|error| Failure::new(FailureCode::Malformed, error.to_string()))?;
        let answer = match timeout(self.timing.response, client.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(Failure::new(FailureCode::Timeout, "no answer in time")),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        if status == StatusCode::UNAUTHORIZED {
            self.discard(number);
        }
        let after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = timeout(self.timing.response, read(answer.into_body())).await.unwrap_or_default();
        let mut refusal: Status = serde_json::from_slice(&body).unwrap_or_default();
        refusal.code = status.as_u16();
        let mut failure = refusal.failure();
        failure.retry_after = after.map(Duration::from_secs).or(failure.retry_after);
        Err(failure)
    }

    fn client(&self) -> Result<(Client, u64), Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &current.client {
            return Ok((client.clone(), current.number));
        }
        let mut config = config(self.kubeconfig.as_ref(), self.context.clone())?;
        config.connect_timeout = Some(self.timing.connect);
        // A watch may be idle for minutes: the body has its own timeouts (`Pieces`).
        config.read_timeout = None;
        // `Retry-After` is honoured by the callers, which count and log it.
        config.default_retry = false;
        // Without a configured authority kube loads the system's, which an image may not have; plain HTTP needs none.
        if config.cluster_url.scheme_str() == Some("http") && config.root_cert.is_none() {
            config.root_cert = Some(Vec::new());
        }
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| unconfigured(&error))?;
        tracing::info!(server = url, "using the Kubernetes API server");
        current.client = Some(client.clone());
        current.number += 1;
        Ok((client, current.number))
    }

    /// Has the next request read the configuration again: kube caches a token file for 50 s (`TokenFile` in kube-client's
    /// `client/auth/mod.rs`), longer than a refused token should be used.
    fn discard(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            current.client = None;
        }
    }
}

impl Status {
    /// As a failure.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let details = self.details.as_ref();
        // A version of before the server's data were restored from a copy: staging/src/k8s.io/apiserver/pkg/storage/errors.go
        let is_too_large = details
            .and_then(|details| details.causes.as_ref())
            .is_some_and(|causes| causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge"));
        let code = match self.code {
            _ if is_too_large => FailureCode::Expired,
            400 | 422 => FailureCode::BadRequest,
            401 => FailureCode::Unauthorized,
            403 => FailureCode::Forbidden,
            404 => FailureCode::NotFound,
            410 => FailureCode::Expired,
            429 => FailureCode::Throttled,
            _ => FailureCode::ServerError,
        };
        let after = details.map_or(0, |details| details.retry_after_seconds);
        Failure {
            code,
            reason: format!("{}: {}", self.code, redacted(&self.message)),
            retry_after: (after > 0).then(|| Duration::from_secs(after)),
        }
    }
}

/// A server's message, without what may be a token that it was sent.
fn redacted(message: &str) -> String {
    if message.is_empty() {
        return "no message".to_owned();
    }
    // Every JSON Web Token begins with `eyJ`: `{"` in base64.
    if message.contains("eyJ") || message.to_ascii_lowercase().contains("bearer") {
        return "message withheld: it may contain a token".to_owned();
    }
    message.chars().filter(|sign| !sign.is_control()).take(MAX_MESSAGE).collect()
}

async fn read(mut body: Body) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(bytes) = frame.data_ref() else { continue };
        let room = MAX_REFUSAL - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if text.len() >= MAX_REFUSAL {
            break;
        }
    }
    text
}

/// The given file; else, in a pod, the service account; else `KUBECONFIG` or the file in the home directory.
fn config(kubeconfig: Option<&PathBuf>, context: Option<String>) -> Result<Config, Failure> {
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None if context.is_none() && super::is_in_cluster() => {
            return Config::incluster()
                .map_err(|error| Failure::new(FailureCode::Unconfigured, error.to_string()));
        }
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| Failure::new(FailureCode::Unconfigured, of_file(&error)))?;
    // It never waits: `ConfigLoader::load` reads files.
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &options).now_or_never();
    let config = config.unwrap_or(Err(KubeconfigError::FindPath));
    config.map_err(|error| Failure::new(FailureCode::Unconfigured, of_file(&error)))
}

/// What is wrong with the file, without quoting it.
fn of_file(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, path) => format!("{}: {error}", path.display()),
        KubeconfigError::CurrentContextNotSet
        | KubeconfigError::LoadContext(_)
        | KubeconfigError::LoadClusterOfContext(_)
        | KubeconfigError::MissingClusterUrl
        | KubeconfigError::FindPath => error.to_string(),
        _ => "the kubeconfig is malformed".to_owned(),
    }
}

fn unconfigured(error: &kube::Error) -> Failure {
    let reason = match error {
        kube::Error::Auth(error) => of_auth(error),
        kube::Error::InferKubeconfig(error) => of_file(error),
        error => chain(error),
    };
    Failure::new(FailureCode::Unconfigured, reason)
}

fn unreachable(error: &kube::Error) -> Failure {
    let auth = match error {
        kube::Error::Auth(error) => Some(error),
        kube::Error::Service(error) => error.downcast_ref::<AuthError>(),
        _ => None,
    };
    match auth {
        Some(error) => Failure::new(FailureCode::Unconfigured, of_auth(error)),
        None => Failure::new(FailureCode::Unreachable, chain(error)),
    }
}

/// What is wrong with the token; never the output of a credential plugin, which may be one.
fn of_auth(error: &AuthError) -> String {
    match error {
        AuthError::ReadTokenFile(error, path) => format!("token file {}: {error}", path.display()),
        AuthError::InvalidBearerToken(_) => "the token has invalid characters".to_owned(),
        AuthError::AuthExecStart(error) => format!("the credential plugin does not start: {error}"),
        _ => "no token available".to_owned(),
    }
}

/// The sources of an error.
fn chain(error: &kube::Error) -> String {
    let mut all = String::new();
    let mut next = error.source();
    while let Some(error) = next.filter(|_| all.len() < MAX_MESSAGE) {
        let text = error.to_string();
        if !all.contains(&text) {
            all.push_str(if all.is_empty() { "" } else { ": " });
            all.push_str(&text);
        }
        next = error.source();
    }
    redacted(if all.is_empty() { "the request failed" } else { &all })
}

/// Text as a part of a path or of a query (RFC 3986, section 2.3).
#[must_use]
pub fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}
