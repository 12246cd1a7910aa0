//! Where names come from beside this node's cgroups: each source is a task that tells updates, bounded, and says how it
//! is. When the other side is away, what is known stays.

pub mod file;
pub mod kubelet;
pub mod kubernetes;
#[cfg(test)]
mod tls;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use netcause_core::enrich::objects::{Kind, Source, Update};

/// Updates that wait to be taken; a source that is ahead of the agent waits.
pub const CAPACITY: usize = 1024;

/// Where a source puts its updates.
pub type Updates = mpsc::Sender<Update>;

/// How the sources are: shared between their tasks and the exposition.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<States>>);

type States = BTreeMap<(Source, Option<Kind>), State>;

/// How a source is, as far as one kind of object is concerned (`None`: where all come together, as in a file).
#[derive(Clone, Debug)]
pub struct State {
    /// Whether what it lists was listed once, whole.
    pub is_complete: bool,
    /// When it last said anything: an object, a bookmark, an empty answer.
    pub last_contact: Option<Instant>,
    /// Why it is not up now; `None` while it is.
    pub trouble: Option<String>,
    /// Failures so far, by a short name: `forbidden`, `unauthorized`, `expired`, `throttled`, `unreachable`, `malformed`, …
    pub failures: BTreeMap<&'static str, u64>,
}

impl Health {
    /// Changes how a source is.
    pub fn set(&self, source: Source, kind: Option<Kind>, change: impl FnOnce(&mut State)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry((source, kind)).or_insert_with(State::unknown));
    }

    /// It said something.
    pub fn contact(&self, source: Source, kind: Option<Kind>) {
        self.set(source, kind, |state| {
            state.last_contact = Some(Instant::now());
            state.trouble = None;
        });
    }

    /// It failed: `why` never has a token in it.
    pub fn failed(&self, source: Source, kind: Option<Kind>, reason: &'static str, why: String) {
        self.set(source, kind, |state| {
            *state.failures.entry(reason).or_default() += 1;
            state.trouble = Some(why);
        });
    }

    /// How all sources are, in order.
    #[must_use]
    pub fn all(&self) -> Vec<(Source, Option<Kind>, State)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((source, kind), state)| (*source, *kind, state.clone())).collect()
    }
}

impl State {
    fn unknown() -> Self {
        Self { is_complete: false, last_contact: None, trouble: None, failures: BTreeMap::new() }
    }
}
