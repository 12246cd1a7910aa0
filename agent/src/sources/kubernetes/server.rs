//! The API server: how it is reached, what is asked, and what its refusals mean.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, RETRY_AFTER};
use hyper::{Request, StatusCode};
use kube::client::{AuthError, Body};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde::Deserialize;
use tokio::time::timeout;

use super::Timing;

/// What is read of a refusal, in octets.
const MAX_REFUSAL: usize = 64 << 10;
/// What is said of it, in characters.
const MAX_MESSAGE: usize = 200;

/// Why something was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no configuration to reach a server by, or it cannot be read.
    Unconfigured,
    /// No connection, or it ended before an answer came.
    Unreachable,
    /// Nothing came for too long.
    Silent,
    /// The connection ended in the middle of an answer.
    Broken,
    /// What came is not what the API promises.
    Malformed,
    /// 400, 422: the server does not know what it is asked for.
    Unknown,
    /// 401: the token is refused.
    Unauthorized,
    /// 403: the agent may not.
    Forbidden,
    /// 404.
    Absent,
    /// 410, and versions that the server has not reached: to be listed anew.
    Expired,
    /// 429.
    Throttled,
    /// Any other refusal.
    Failing,
}

impl Reason {
    /// The short name in [`super::super::State::failures`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Failing => "failing",
        }
    }
}

/// Something was not had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// In words, without secrets.
    pub why: String,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Without a wish of the server.
    #[must_use]
    pub fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, why: why.into(), retry_after: None }
    }
}

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

/// The server, and the client that reaches it.
pub struct Server {
    kubeconfig: Option<PathBuf>,
    timing: Timing,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    client: Option<Client>,
    /// Counts clients: one that was refused is replaced once, whoever notices.
    number: u64,
}

impl Server {
    /// Nothing is read or asked yet.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>, timing: Timing) -> Self {
        Self { kubeconfig, timing, current: Mutex::default() }
    }

    /// How long to wait for what.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Asks for a path, and gives the body of the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal. After a refused token the configuration and the token are read anew.
    pub async fn get(&self, path: &str, accept: &'static str) -> Result<Body, Failure> {
        let (client, number) = self.client()?;
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty());
        let request = request.map_err(|error| Failure::new(Reason::Malformed, error.to_string()))?;
        let answer = match timeout(self.timing.response, client.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(Failure::new(Reason::Silent, "no answer")),
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
        let mut told: Status = serde_json::from_slice(&body).unwrap_or_default();
        told.code = status.as_u16();
        let mut failure = told.failure();
        failure.retry_after = after.map(Duration::from_secs).or(failure.retry_after);
        Err(failure)
    }

    fn client(&self) -> Result<(Client, u64), Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &current.client {
            return Ok((client.clone(), current.number));
        }
        let mut config = config(self.kubeconfig.as_ref())?;
        config.connect_timeout = Some(self.timing.connect);
        // A watch is silent for as long as nothing happens: what is read has its own limits.
        config.read_timeout = None;
        // What the server asks for is honoured by who asks, who can tell it.
        config.default_retry = false;
        // Where no authority is named, kube asks for the system's, and an image without any has none to load: without
        // TLS nobody needs one.
        if config.cluster_url.scheme_str() == Some("http") && config.root_cert.is_none() {
            config.root_cert = Some(Vec::new());
        }
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| unconfigured(&error))?;
        tracing::info!(server = url, "names come from a Kubernetes API server");
        current.client = Some(client.clone());
        current.number += 1;
        Ok((client, current.number))
    }

    /// The next request reads the configuration anew. kube reads a token file once in 50 s (`TokenFile` in
    /// kube-client's `client/auth/mod.rs`); a server that refuses the old token is not asked with it for so long.
    fn discard(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            current.client = None;
        }
    }
}

impl Status {
    /// What it means.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let details = self.details.as_ref();
        // A version of before the server's data were restored from a copy: staging/src/k8s.io/apiserver/pkg/storage/errors.go
        let is_too_large = details
            .and_then(|details| details.causes.as_ref())
            .is_some_and(|causes| causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge"));
        let reason = match self.code {
            _ if is_too_large => Reason::Expired,
            400 | 422 => Reason::Unknown,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            404 => Reason::Absent,
            410 => Reason::Expired,
            429 => Reason::Throttled,
            _ => Reason::Failing,
        };
        let after = details.map_or(0, |details| details.retry_after_seconds);
        Failure {
            reason,
            why: format!("{}: {}", self.code, harmless(&self.message)),
            retry_after: (after > 0).then(|| Duration::from_secs(after)),
        }
    }
}

/// What a server says, without what may be a token that it was sent.
fn harmless(message: &str) -> String {
    if message.is_empty() {
        return "no message".to_owned();
    }
    // Every JSON Web Token begins with `eyJ`: `{"` in base64.
    if message.contains("eyJ") || message.to_ascii_lowercase().contains("bearer") {
        return "a message that is not shown: it may have a token in it".to_owned();
    }
    message.chars().filter(|sign| !sign.is_control()).take(MAX_MESSAGE).collect()
}

async fn read(mut body: Body) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(octets) = frame.data_ref() else { continue };
        let room = MAX_REFUSAL - text.len();
        text.extend_from_slice(&octets[..octets.len().min(room)]);
        if text.len() >= MAX_REFUSAL {
            break;
        }
    }
    text
}

/// In a pod the service account counts, unless a file is given; elsewhere `KUBECONFIG` or the file in the home directory.
fn config(kubeconfig: Option<&PathBuf>) -> Result<Config, Failure> {
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None if super::is_in_cluster() => {
            return Config::incluster()
                .map_err(|error| Failure::new(Reason::Unconfigured, error.to_string()));
        }
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| Failure::new(Reason::Unconfigured, of_file(&error)))?;
    // It waits for nothing: `ConfigLoader::load` reads files.
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).now_or_never();
    let config = config.unwrap_or(Err(KubeconfigError::FindPath));
    config.map_err(|error| Failure::new(Reason::Unconfigured, of_file(&error)))
}

/// What is wrong with the file, without a word of what is in it.
fn of_file(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, path) => format!("{}: {error}", path.display()),
        KubeconfigError::CurrentContextNotSet
        | KubeconfigError::LoadContext(_)
        | KubeconfigError::LoadClusterOfContext(_)
        | KubeconfigError::MissingClusterUrl
        | KubeconfigError::FindPath => error.to_string(),
        _ => "the kubeconfig is not as it should be".to_owned(),
    }
}

fn unconfigured(error: &kube::Error) -> Failure {
    let why = match error {
        kube::Error::Auth(error) => of_auth(error),
        kube::Error::InferKubeconfig(error) => of_file(error),
        error => chain(error),
    };
    Failure::new(Reason::Unconfigured, why)
}

fn unreachable(error: &kube::Error) -> Failure {
    let auth = match error {
        kube::Error::Auth(error) => Some(error),
        kube::Error::Service(error) => error.downcast_ref::<AuthError>(),
        _ => None,
    };
    match auth {
        Some(error) => Failure::new(Reason::Unconfigured, of_auth(error)),
        None => Failure::new(Reason::Unreachable, chain(error)),
    }
}

/// What is wrong with the token: never what a program that makes tokens said, it may be one.
fn of_auth(error: &AuthError) -> String {
    match error {
        AuthError::ReadTokenFile(error, path) => format!("token file {}: {error}", path.display()),
        AuthError::InvalidBearerToken(_) => "the token has signs in it that no token has".to_owned(),
        AuthError::AuthExecStart(error) => format!("the program that makes tokens does not start: {error}"),
        _ => "there is no token to be had".to_owned(),
    }
}

/// An error and what it comes from.
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
    harmless(if all.is_empty() { "the request failed" } else { &all })
}

/// Text as a part of a path or of a query (RFC 3986, section 2.3).
#[must_use]
pub fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut all, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            all.push(char::from(octet));
        } else {
            // Writing to a String does not fail.
            let _ = write!(all, "%{octet:02X}");
        }
        all
    })
}
