//! How the sources of names are doing: shared between their tasks, the log and the exposition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use netcause_common::labelled_enum;
use netcause_core::engine::SourceHealth;
use netcause_core::enrich::objects::{Kind, Source};

labelled_enum! {
    /// Why a request, or something in an answer, failed: a bounded set, fit for a label.
    pub enum FailureCode: u8 {
        /// There is no usable configuration: no server, no token, a file that cannot be parsed.
        Unconfigured = 0, "unconfigured";
        /// No connection, or it ended before an answer came.
        Unreachable = 1, "unreachable";
        /// The TLS handshake failed.
        Tls = 2, "tls";
        /// No data arrived in time.
        Timeout = 3, "timeout";
        /// The connection ended in the middle of an answer.
        ConnectionLost = 4, "connection_lost";
        /// The answer is not what the API promises.
        Malformed = 5, "malformed";
        /// Some objects of a list cannot be read; the others are known.
        MalformedObject = 6, "malformed_object";
        /// A list or a file is longer than the limit.
        TooLong = 7, "too_long";
        /// A file cannot be read.
        Unreadable = 8, "unreadable";
        /// 400, 422: the server does not know what it is asked for.
        BadRequest = 9, "bad_request";
        /// 401: the token is refused.
        Unauthorized = 10, "unauthorized";
        /// 403: the role does not grant this.
        Forbidden = 11, "forbidden";
        /// 404.
        NotFound = 12, "not_found";
        /// 410, and versions that the server has not reached: to be listed again.
        Expired = 13, "expired";
        /// 429.
        Throttled = 14, "throttled";
        /// Any other refusal, such as 500 and 503.
        ServerError = 15, "server_error";
        /// An owner was not looked up: too many are queued.
        OwnerDropped = 16, "owner_dropped";
        /// An address was not looked up: too many are queued.
        AddressDropped = 17, "address_dropped";
    }
}

/// A failure of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub code: FailureCode,
    /// In words, for the log and JSON; never with a token in it.
    pub reason: String,
    /// When the server wants the next request.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// One without `Retry-After`.
    #[must_use]
    pub fn new(code: FailureCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retry_after: None }
    }
}

/// The state of all sources.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<States>>);

type States = BTreeMap<(Source, Option<Kind>), State>;

/// The state of a source, for one kind of object (`None`: all kinds together, as in a file).
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether it was listed completely at least once.
    pub is_complete: bool,
    /// When it last answered: an object, a bookmark, an empty list.
    pub last_contact: Option<Instant>,
    /// Why it is down, for a label; `None` while it is up.
    pub code: Option<FailureCode>,
    /// Why it is down, in words, for the log and JSON; `None` while it is up.
    pub message: Option<String>,
    /// Since when it is down.
    down_since: Option<Instant>,
    /// Failures so far, by [`FailureCode::label`].
    pub failures: BTreeMap<&'static str, u64>,
}

impl Health {
    fn change<T>(&self, source: Source, kind: Option<Kind>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry((source, kind)).or_default())
    }

    /// The source answered: it is up. Logs the recovery.
    pub fn contact(&self, source: Source, kind: Option<Kind>) {
        let down_since = self.change(source, kind, |state| {
            state.last_contact = Some(Instant::now());
            (state.code, state.message) = (None, None);
            state.down_since.take()
        });
        if let Some(since) = down_since {
            info!(?source, ?kind, down_seconds = since.elapsed().as_secs(), "source of names recovered");
        }
    }

    /// The source was listed completely; it is up.
    pub fn complete(&self, source: Source, kind: Option<Kind>) {
        self.change(source, kind, |state| state.is_complete = true);
        self.contact(source, kind);
    }

    /// The source failed: it is down. Logs the reason when it is a new one.
    pub fn failed(&self, source: Source, kind: Option<Kind>, failure: &Failure) {
        let Failure { code, reason, .. } = failure;
        let is_new = self.change(source, kind, |state| {
            *state.failures.entry(code.label()).or_default() += 1;
            state.down_since.get_or_insert_with(Instant::now);
            let is_new = state.code != Some(*code) || state.message.as_ref() != Some(reason);
            if is_new {
                (state.code, state.message) = (Some(*code), Some(reason.clone()));
            }
            is_new
        });
        let what = match source {
            Source::Api => "list/watch",
            Source::Kubelet => "list of pods",
            Source::File => "names file",
        };
        let code = code.label();
        if is_new {
            warn!(?source, ?kind, code, reason, "{what} failed; keeping cached objects and retrying");
        } else {
            debug!(?source, ?kind, code, reason, "{what} still failing");
        }
    }

    /// The source was listed, but some of its objects failed: it is down, with a recent contact.
    pub fn degraded(&self, source: Source, kind: Option<Kind>, failure: &Failure) {
        self.change(source, kind, |state| {
            (state.last_contact, state.is_complete) = (Some(Instant::now()), true);
        });
        self.failed(source, kind, failure);
    }

    /// Counts a failure that leaves the source up.
    pub fn count(&self, source: Source, kind: Option<Kind>, code: FailureCode) {
        self.change(source, kind, |state| *state.failures.entry(code.label()).or_default() += 1);
    }

    /// The state of all sources in order, at a time of `CLOCK_MONOTONIC`, which is now.
    #[must_use]
    pub fn at(&self, now: Duration) -> Vec<SourceHealth> {
        let of = |(source, kind, state): (Source, Option<Kind>, State)| SourceHealth {
            source,
            kind,
            last_contact: state.last_contact.map(|at| now.saturating_sub(at.elapsed())),
            down: state.code.map(|code| (code.label(), state.message.unwrap_or_default())),
            failures: state.failures.into_iter().collect(),
        };
        self.all().into_iter().map(of).collect()
    }

    /// The state of all sources, in order.
    #[must_use]
    pub fn all(&self) -> Vec<(Source, Option<Kind>, State)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((source, kind), state)| (*source, *kind, state.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_down_from_its_first_failure_to_the_next_contact() {
        let health = Health::default();
        let kind = Some(Kind::Node);
        let state = || health.all().pop().map(|(_, _, state)| (state.code, state.message, state.is_complete));
        health.complete(Source::Api, kind);
        assert_eq!(state(), Some((None, None, true)));
        health.failed(Source::Api, kind, &Failure::new(FailureCode::ServerError, "500: no leader"));
        health.failed(Source::Api, kind, &Failure::new(FailureCode::Timeout, "no answer"));
        assert_eq!(state(), Some((Some(FailureCode::Timeout), Some("no answer".to_owned()), true)));
        health.count(Source::Api, kind, FailureCode::Timeout);
        health.contact(Source::Api, kind);
        assert_eq!(state(), Some((None, None, true)));
        let failures: Vec<_> = health.all()[0].2.failures.clone().into_iter().collect();
        assert_eq!(failures, [("server_error", 1), ("timeout", 2)]);
    }
}
