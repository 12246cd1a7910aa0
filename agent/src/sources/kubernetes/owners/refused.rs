//! Kinds of owners that the role does not grant, or does not grant yet: a server that starts refuses everything until it has read
//! its roles.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::super::super::backoff::Backoff;
use super::Key;
use netcause_core::enrich::objects::Owner;

/// Kinds that are remembered as refused.
const MAX_KINDS: usize = 256;

/// An API group and version, and a kind.
type OwnerKind = (Box<str>, Box<str>);

/// Kinds that are refused, and the owners that wait for them.
#[derive(Default)]
pub(super) struct Refused(HashMap<OwnerKind, Refusal>);

struct Refusal {
    backoff: Backoff,
    /// As the server gave it last.
    reason: String,
    /// When it is requested again.
    again: Instant,
    waiting: VecDeque<Arc<Key>>,
}

impl Refused {
    /// Whether the kind of this owner is refused.
    pub fn contains(&self, owner: &Owner) -> bool {
        self.0.contains_key(&kind(owner))
    }

    /// The kind of this owner was refused now.
    pub fn refuse(&mut self, owner: &Owner, reason: &str, backoff: impl Fn() -> Backoff, now: Instant) {
        if self.0.len() >= MAX_KINDS && !self.contains(owner) {
            self.0.clear();
        }
        let refusal = self.0.entry(kind(owner)).or_insert_with(|| Refusal {
            backoff: backoff(),
            reason: String::new(),
            again: now,
            waiting: VecDeque::new(),
        });
        if refusal.reason != reason {
            reason.clone_into(&mut refusal.reason);
            let (api_version, kind) = (&*owner.api_version, &*owner.kind);
            info!(
                api_version,
                kind, reason, "owners of this kind are refused; their pods are named after them"
            );
        }
        refusal.again = now + refusal.backoff.next();
    }

    /// Has an owner wait for this kind; false when `max` wait for it.
    pub fn wait(&mut self, owner: &Owner, key: Arc<Key>, max: usize) -> bool {
        let Some(refusal) = self.0.get_mut(&kind(owner)).filter(|refusal| refusal.waiting.len() < max) else {
            return false;
        };
        refusal.waiting.push_back(key);
        true
    }

    /// When the next kind is to be requested again.
    pub fn due(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|refusal| !refusal.waiting.is_empty());
        waiting.map(|refusal| refusal.again).min()
    }

    /// An owner that shows whether its kind is granted by now, if it is time.
    pub fn take_due(&mut self, now: Instant) -> Option<Arc<Key>> {
        let due = |refusal: &&mut Refusal| refusal.again <= now && !refusal.waiting.is_empty();
        let refusal = self.0.values_mut().find(due)?;
        // Until it is answered, so that one asks at a time.
        refusal.again = now + refusal.backoff.next();
        refusal.waiting.pop_front()
    }

    /// The kind of this owner is granted: who waited for it.
    pub fn grant(&mut self, owner: &Owner) -> VecDeque<Arc<Key>> {
        let Some(refusal) = self.0.remove(&kind(owner)) else { return VecDeque::new() };
        info!(
            api_version = &*owner.api_version,
            kind = &*owner.kind,
            "owners of this kind can be read again"
        );
        refusal.waiting
    }
}

fn kind(owner: &Owner) -> OwnerKind {
    (owner.api_version.clone(), owner.kind.clone())
}
