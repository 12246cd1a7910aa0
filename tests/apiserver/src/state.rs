//! What the server is beside its objects: settings, rights, faults, and the record of what it was asked.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{faults::Faults, query::Parameters, resources::Resource, store::Store};

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who has one of these may ask; with none, everybody may.
    pub tokens: Vec<String>,
    /// Whether it knows streaming lists (`sendInitialEvents`).
    pub watch_list: bool,
    /// A watch from too old a version is refused with an `ERROR` event, else with the HTTP status 410.
    pub expired_as_event: bool,
    /// How often bookmarks come; the real server takes about a minute.
    pub bookmark_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            watch_list: true,
            expired_as_event: true,
            bookmark_every: Duration::from_secs(60),
        }
    }
}

/// One request, as it was answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Asked {
    /// `get`, `list`, `watch`, or the method in lower case.
    pub verb: String,
    /// The plural; of discovery and the like the path.
    pub resource: String,
    /// Without the query.
    pub path: String,
    /// The query, decoded.
    pub parameters: Parameters,
    /// Whether `PartialObjectMetadata` was asked for.
    pub partial: bool,
    /// When, in milliseconds since 1970: for the times between requests.
    pub milliseconds: u64,
    /// `None`: there is no status yet, or the connection ended before there was one.
    pub code: Option<u16>,
    /// Bytes of the answer's body, so far.
    pub bytes: u64,
}

/// The record is bounded: a client that asks in a tight loop is found out well before.
const MOST_ASKED: usize = 100_000;

/// All of it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    /// `(plural, verb)` beside or against what the role grants.
    pub(crate) granted: BTreeSet<(String, String)>,
    pub(crate) forbidden: BTreeSet<(String, String)>,
    pub(crate) asked: Vec<Asked>,
    /// [`Asked::bytes`] of each.
    sent: Vec<Arc<AtomicU64>>,
    /// So many of them are not told again: the scenario has forgotten them.
    forgotten: usize,
    /// What no client of this role should ask for.
    pub(crate) violations: Vec<String>,
    /// Events that were written, as they came.
    pub(crate) events: Vec<serde_json::Value>,
    /// Watches that are running, by resource.
    pub(crate) watches: Vec<&'static str>,
}

impl State {
    /// Whether the role allows this; what it does not is remembered where a client should have known.
    pub(crate) fn may(&mut self, verb: &str, resource: &Resource) -> bool {
        let pair = (resource.plural.to_owned(), verb.to_owned());
        if self.forbidden.contains(&pair) {
            return false;
        }
        let may = resource.granted.contains(&verb) || self.granted.contains(&pair);
        // An owner of any kind may be asked for by its name, and the answer may be no.
        if !may && (verb != "get" || matches!(resource.plural, "secrets" | "configmaps")) {
            self.violation(format!("{verb} {}", resource.full_name()));
        }
        may
    }

    pub(crate) fn violation(&mut self, what: String) {
        if self.violations.len() < MOST_ASKED {
            self.violations.push(what);
        }
    }

    /// Remembers a request; the number is for [`Self::answered`].
    pub(crate) fn record(&mut self, asked: Asked, sent: Arc<AtomicU64>) -> usize {
        if self.asked.len() < MOST_ASKED {
            self.asked.push(asked);
            self.sent.push(sent);
        }
        self.asked.len() - 1
    }

    /// Remembers how a request was answered.
    pub(crate) fn answered(&mut self, number: usize, code: u16) {
        if let Some(asked) = self.asked.get_mut(number) {
            asked.code = Some(code);
        }
    }

    /// Starts a new account. Running watches stay on record.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.asked.len();
        self.violations.clear();
    }

    /// What was asked and what went on, for the scenario.
    pub(crate) fn account(&self) -> serde_json::Value {
        let both = self.asked.iter().zip(&self.sent).skip(self.forgotten);
        let asked: Vec<Asked> = both
            .map(|(asked, sent)| Asked { bytes: sent.load(Ordering::Relaxed), ..asked.clone() })
            .collect();
        json!({"asked": asked, "violations": self.violations, "watches": self.watches, "events": self.events})
    }
}

/// What the threads of a server share. Who holds one of the locks writes to no client.
pub(crate) struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let state = State { settings, ..State::default() };
        Self { store: Mutex::new(Store::new()), changed: Condvar::new(), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the store and wakes the watches.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let result = change(&mut self.store());
        self.changed.notify_all();
        result
    }

    /// Waits until something has changed, or for so long.
    pub(crate) fn wait<'a>(&self, store: MutexGuard<'a, Store>, limit: Duration) -> MutexGuard<'a, Store> {
        self.changed.wait_timeout(store, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}
