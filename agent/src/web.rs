//! Who may read the port: TLS, passwords and tokens, as files say it, and as they say it later.
//!
//! `web_config_file` has the format of the Prometheus exporter-toolkit (`docs/web-configuration.md` there), `api_token_file`
//! is our own. Files are polled; a version that cannot be used is said and leaves what was in force.

mod counts;
mod file;
mod passwords;
mod tls;
mod tokens;
mod watched;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::ServerConfig;
use tracing::{error, info};

pub use counts::{Counts, Refused};
pub use passwords::Passwords;
pub use tls::provider;
pub use tokens::TOKEN_HEADER;

use file::{Rules, Source};
use watched::{Look, Outcome, Watched};

/// Time between two polls of the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Where the rules are written.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// TLS, passwords and headers, in the format of the exporter-toolkit.
    pub config: Option<PathBuf>,
    /// Tokens for `/api/v1/`, one a line.
    pub api_tokens: Option<PathBuf>,
}

/// A file that cannot be used: which, which key, and why. It has no secret in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WebError(String);

/// What a path asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing: a kubelet has no password, and learns no more than whether the agent works.
    Nothing,
    /// A password, where there are any.
    Password,
    /// A token, where there are any; else as [`Self::Password`].
    Token,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Without a password that is right.
    Password,
    /// Without a token that is right.
    Token,
    /// Too many passwords are being checked.
    Busy,
}

/// The rules of the port.
pub struct Web {
    rules: Mutex<Arc<Rules>>,
    passwords: Passwords,
    counts: Arc<Counts>,
    watched: Mutex<Option<Watched>>,
}

impl Web {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used: at the start this is an error of the configuration.
    pub fn load(files: &Files) -> Result<Self, WebError> {
        let source = Source::new(files.clone());
        let (rules, watched) = match source.has_files() {
            true => {
                let (watched, rules) = Watched::first(source)?;
                (rules, Some(watched))
            }
            false => (Rules::default(), None),
        };
        Ok(Self {
            rules: Mutex::new(Arc::new(rules)),
            passwords: Passwords::new(),
            counts: Arc::default(),
            watched: Mutex::new(watched),
        })
    }

    /// What was refused, and whether the files can be used.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Counts something that was refused.
    pub fn refused(&self, what: Refused) {
        self.counts.refused(what);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the next handshake is made; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.rules().tls.clone()
    }

    /// Whether passwords or tokens cross the network without TLS.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let rules = self.rules();
        rules.tls.is_none() && (!rules.users.is_empty() || rules.tokens.is_some())
    }

    /// Headers of every response.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.rules().headers.clone()
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn admit(&self, guard: Guard, headers: &HeaderMap) -> Result<(), Denied> {
        let rules = self.rules();
        let result = match (guard, &rules.tokens) {
            (Guard::Nothing, _) => Ok(()),
            (Guard::Token, Some(tokens)) => match tokens.admit(headers) {
                true => Ok(()),
                false => Err(Denied::Token),
            },
            _ if rules.users.is_empty() => Ok(()),
            _ => self.passwords.admit(&rules.users, headers.get(AUTHORIZATION)).await,
        };
        if let Err(denied) = result {
            self.refused(match denied {
                Denied::Password | Denied::Token => Refused::Unauthorized,
                Denied::Busy => Refused::Busy,
            });
        }
        result
    }

    /// Follows the files, for ever.
    pub async fn follow(&self) {
        let Some(mut watched) = self.watched.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if watched.look() == Look::Same {
                continue;
            }
            let before = self.rules();
            // Disks may be slow, and keys large.
            let read = tokio::task::spawn_blocking(move || {
                let outcome = watched.read(&before);
                (watched, outcome)
            });
            let Ok((same, outcome)) = read.await else { return std::future::pending().await };
            watched = same;
            match outcome {
                Outcome::New(rules) => {
                    *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::from(rules);
                    info!("TLS, passwords and tokens of the port reloaded");
                    self.counts.outdated(false);
                }
                Outcome::Same => self.counts.outdated(false),
                Outcome::Failed(None) => {}
                Outcome::Failed(Some(error)) => {
                    error!(%error, "cannot reload TLS, passwords or tokens of the port: the last ones stay in force");
                    self.counts.outdated(true);
                }
            }
        }
    }
}

#[cfg(test)]
pub mod tests;
