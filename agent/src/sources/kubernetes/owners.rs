//! Owners of owners, looked up one by one, by name, once; they are never listed or watched. A kind that is refused is requested
//! again after a while, by one of its owners; the others wait until it is granted.

mod refused;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use refused::Refused;

use super::super::Updates;
use super::super::backoff::Backoff;
use super::super::health::{Failure, FailureCode, Health};
use super::body::whole;
use super::server::{Server, encoded};
use super::slim::OnlyMetadata;
use netcause_core::enrich::objects::{Change, Kind, Owner, Pod, Source, Update};
use netcause_core::token_bucket::TokenBucket;

/// Owners whose answer is remembered; some 300 bytes each; when full, the oldest is forgotten.
const MAX_KNOWN: usize = 4096;
/// Owners that wait to be looked up. More are dropped, counted as `owner_dropped`, until the next update of their pods.
const MAX_QUEUE: usize = 2048;
/// Server errors for one object after which it is not requested again.
const MAX_FAILURES: u32 = 5;
/// Owners of owners of owners.
const MAX_LEVELS: usize = 3;
/// The metadata alone: <https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Kinds that are workloads themselves: their owners do not matter.
const WORKLOADS: [&str; 7] =
    ["CronJob", "DaemonSet", "Deployment", "Node", "ReplicationController", "Rollout", "StatefulSet"];

/// Looks up owners.
pub struct Owners {
    server: Arc<Server>,
    updates: Updates,
    health: Health,
    state: Mutex<State>,
    is_asked: Notify,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: Box<str>,
    owner: Owner,
}

#[derive(Default)]
struct State {
    known: HashMap<Arc<Key>, Answer>,
    /// Keys of what is known, oldest first.
    order: VecDeque<Arc<Key>>,
    /// With the server errors so far.
    queue: VecDeque<(Arc<Key>, u32)>,
    refused: Refused,
}

/// An owner to look up.
struct Next {
    key: Arc<Key>,
    /// Server errors so far.
    failures: u32,
    /// A kind that was refused is to be requested again.
    is_retry: bool,
}

/// What was found of an owner.
struct Found {
    /// The owner at the top, as far as it could be read.
    top: Option<Owner>,
    /// One above that is refused, and has an owner perhaps.
    refused: Option<Owner>,
}

#[derive(Clone)]
enum Answer {
    /// Not yet.
    Asked,
    /// It has no owner, or none that can be read.
    Nothing,
    /// What owns it.
    Is(Owner),
}

impl Owners {
    /// Sends no request yet.
    #[must_use]
    pub fn new(server: Arc<Server>, updates: Updates, health: Health) -> Self {
        Self { server, updates, health, state: Mutex::default(), is_asked: Notify::new() }
    }

    /// The owner of a pod's owner, if it is known, to be published after the pod. Otherwise it is looked up, if the name
    /// needs it.
    pub fn of_pod(&self, pod: &Pod) -> Option<Change> {
        let owner = pod.owner.as_ref().filter(|owner| needs_lookup(owner, pod.template_hash.as_deref()))?;
        let mut state = self.state();
        let key = Key { namespace: pod.namespace.clone(), owner: owner.clone() };
        match state.known.get(&key) {
            Some(Answer::Is(is)) => {
                let Key { namespace, owner: of } = key;
                return Some(Change::Owner { namespace, of, is: is.clone() });
            }
            Some(Answer::Asked | Answer::Nothing) => return None,
            None => {}
        }
        if state.queue.len() >= MAX_QUEUE {
            drop(state);
            self.count(FailureCode::OwnerDropped);
            return None;
        }
        state.insert(Arc::new(key));
        drop(state);
        self.is_asked.notify_one();
        None
    }

    /// Looks up what is queued, until the receiver of updates is gone.
    pub async fn run(&self) {
        let timing = self.server.timing();
        let mut bucket = TokenBucket::new(timing.burst, timing.lookup);
        let mut backoff = Backoff::new(timing.first_wait, timing.max_wait);
        let begun = Instant::now();
        loop {
            let Some(Next { key, failures, is_retry }) = self.next() else {
                let due = self.state().refused.due();
                tokio::select! {
                    () = self.is_asked.notified() => {}
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                }
                continue;
            };
            match self.climb(&key, is_retry, &mut bucket, begun).await {
                Ok(found) => {
                    backoff.reset();
                    if self.found(key, found).await.is_err() {
                        return;
                    }
                }
                Err(failure) => {
                    self.count(failure.code);
                    debug!(code = failure.code.label(), reason = failure.reason, "owner lookup failed");
                    self.retry(key, failures, failure.code);
                    let asked = failure.retry_after.unwrap_or_default().min(timing.max_retry_after);
                    sleep(backoff.at_least(asked)).await;
                }
            }
        }
    }

    fn next(&self) -> Option<Next> {
        let mut state = self.state();
        if let Some(key) = state.refused.take_due(Instant::now()) {
            return Some(Next { key, failures: 0, is_retry: true });
        }
        while let Some((key, failures)) = state.queue.pop_front() {
            if !state.refused.contains(&key.owner) {
                return Some(Next { key, failures, is_retry: false });
            }
            let kind = key.owner.clone();
            self.wait(&mut state, &kind, &key);
        }
        None
    }

    /// Has an owner wait until this kind is granted.
    fn wait(&self, state: &mut State, kind: &Owner, key: &Arc<Key>) {
        if !state.refused.wait(kind, Arc::clone(key), MAX_QUEUE) {
            state.known.remove(key);
            self.count(FailureCode::OwnerDropped);
        }
    }

    /// Queues it again; but not for ever, where the server fails at this very object.
    fn retry(&self, key: Arc<Key>, failures: u32, code: FailureCode) {
        let is_of_object = matches!(
            code,
            FailureCode::ServerError
                | FailureCode::ConnectionLost
                | FailureCode::Malformed
                | FailureCode::Timeout
        );
        let failures = failures + u32::from(is_of_object);
        let mut state = self.state();
        if failures < MAX_FAILURES {
            state.queue.push_back((key, failures));
        } else if let Some(answer) = state.known.get_mut(&key) {
            *answer = Answer::Nothing;
        }
    }

    /// The owner at the top.
    async fn climb(
        &self,
        key: &Key,
        is_retry: bool,
        bucket: &mut TokenBucket,
        begun: Instant,
    ) -> Result<Found, Failure> {
        let mut top: Option<Owner> = None;
        for _ in 0..MAX_LEVELS {
            let owner = top.as_ref().unwrap_or(&key.owner);
            if WORKLOADS.contains(&&*owner.kind) {
                break;
            }
            if !is_retry && self.state().refused.contains(owner) {
                return Ok(Found { refused: Some(owner.clone()), top });
            }
            let Some(path) = path(&key.namespace, owner) else { break };
            sleep(bucket.reserve(begun.elapsed())).await;
            let body = match self.server.get(&path, METADATA).await {
                Ok(body) => body,
                Err(failure) if failure.code == FailureCode::Forbidden => {
                    self.count(FailureCode::Forbidden);
                    let timing = self.server.timing();
                    let backoff = || Backoff::new(timing.first_wait, timing.refused);
                    self.state().refused.refuse(owner, &failure.reason, backoff, Instant::now());
                    return Ok(Found { refused: Some(owner.clone()), top });
                }
                // It is gone; or refused in a way that does not change by asking again.
                Err(failure) if matches!(failure.code, FailureCode::NotFound | FailureCode::BadRequest) => {
                    self.grant(owner);
                    break;
                }
                Err(failure) => return Err(failure),
            };
            self.grant(owner);
            let text = whole(body, self.server.timing().list_idle_timeout).await?;
            let Ok(OnlyMetadata { mut metadata }) = serde_json::from_slice(&text) else {
                self.count(FailureCode::Malformed);
                break;
            };
            match metadata.owner() {
                Some(owner) => top = Some(owner),
                None => break,
            }
        }
        Ok(Found { top, refused: None })
    }

    async fn found(&self, key: Arc<Key>, Found { top, refused }: Found) -> Result<(), ()> {
        self.answer(&key, top.as_ref(), refused);
        let Some(is) = top else { return Ok(()) };
        let change = Change::Owner { namespace: key.namespace.clone(), of: key.owner.clone(), is };
        self.updates.send(Update { source: Source::Api, change }).await.map_err(|_| ())
    }

    fn answer(&self, key: &Arc<Key>, top: Option<&Owner>, refused: Option<Owner>) {
        let mut state = self.state();
        if let Some(answer) = state.known.get_mut(key) {
            *answer = match (top, &refused) {
                (Some(top), _) => Answer::Is(top.clone()),
                (None, Some(_)) => Answer::Asked,
                (None, None) => Answer::Nothing,
            };
        }
        if let Some(kind) = refused {
            self.wait(&mut state, &kind, key);
        }
    }

    /// This kind can be read: what waits for that is looked up.
    fn grant(&self, owner: &Owner) {
        let mut state = self.state();
        let waiting = state.refused.grant(owner);
        state.queue.extend(waiting.into_iter().map(|key| (key, 0)));
    }

    fn count(&self, code: FailureCode) {
        self.health.count(Source::Api, Some(Kind::Pod), code);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, key: Arc<Key>) {
        while self.order.len() >= MAX_KNOWN {
            let Some(first) = self.order.pop_front() else { break };
            self.known.remove(&first);
        }
        self.known.insert(Arc::clone(&key), Answer::Asked);
        self.order.push_back(Arc::clone(&key));
        self.queue.push_back((key, 0));
    }
}

/// Whether the workload is named after something above this owner, as far as its kind and name tell.
fn needs_lookup(owner: &Owner, template_hash: Option<&str>) -> bool {
    let is_of_hash = || {
        let of = template_hash.and_then(|hash| owner.name.strip_suffix(hash));
        of.is_some_and(|name| name.len() > 1 && name.ends_with('-'))
    };
    let is_workload = WORKLOADS.contains(&&*owner.kind) || (&*owner.kind == "ReplicaSet" && is_of_hash());
    !is_workload
}

/// Where the server has an object, if its kind and group are such as there can be.
fn path(namespace: &str, owner: &Owner) -> Option<String> {
    let is_kind = owner.kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut parts = owner.api_version.split('/');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    // As all names of Kubernetes are; `..` is none.
    let is_name = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let all = [namespace, &owner.kind, &owner.name, first, second.unwrap_or("v1")];
    if !is_kind || third.is_some() || !all.into_iter().all(is_name) {
        return None;
    }
    let root = match second {
        Some(version) => format!("/apis/{}/{}", encoded(first), encoded(version)),
        None => format!("/api/{}", encoded(first)),
    };
    let (kinds, name) = (plural(&owner.kind), encoded(&owner.name));
    Some(format!("{root}/namespaces/{}/{kinds}/{name}", encoded(namespace)))
}

/// Kinds in paths. Those of Kubernetes are regular; a custom kind may be called otherwise, and is not found then.
fn plural(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    match kind.as_bytes() {
        [.., b's' | b'x' | b'z'] | [.., b'c' | b's', b'h'] => format!("{kind}es"),
        [.., before, b'y'] if !b"aeiou".contains(before) => format!("{}ies", &kind[..kind.len() - 1]),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(api_version: &str, kind: &str, name: &str) -> Owner {
        Owner { kind: kind.into(), name: name.into(), api_version: api_version.into() }
    }

    #[test]
    fn paths_of_owners() {
        let path = |version, kind| path("shop", &owner(version, kind, "a"));
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(path("batch/v1", "Job"), is("/apis/batch/v1/namespaces/shop/jobs/a"));
        assert_eq!(path("apps/v1", "ReplicaSet"), is("/apis/apps/v1/namespaces/shop/replicasets/a"));
        assert_eq!(
            path("argoproj.io/v1alpha1", "Rollout"),
            is("/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/a")
        );
        assert_eq!(path("x.io/v1", "Proxy"), is("/apis/x.io/v1/namespaces/shop/proxies/a"));
        assert_eq!(path("x.io/v1", "Switch"), is("/apis/x.io/v1/namespaces/shop/switches/a"));
        assert_eq!(path("v1", "Gateway"), is("/api/v1/namespaces/shop/gateways/a"));
        for version in ["", "a/b/c", "../v1", "batch/..", "/v1", "batch/"] {
            assert_eq!(path(version, "Job"), None);
        }
        for kind in ["../secrets", "", "a/b"] {
            assert_eq!(path("batch/v1", kind), None);
        }
    }

    #[test]
    fn only_what_the_name_needs_needs_lookup() {
        let is = |kind, name, hash| needs_lookup(&owner("apps/v1", kind, name), hash);
        assert!(!is("ReplicaSet", "web-5d9c7b", Some("5d9c7b")));
        assert!(is("ReplicaSet", "web-5d9c7b", None));
        assert!(is("ReplicaSet", "web5d9c7b", Some("5d9c7b")));
        assert!(is("ReplicaSet", "5d9c7b", Some("5d9c7b")));
        assert!(is("Job", "nightly-28", None));
        assert!(is("SparkApplication", "sums", None));
        for kind in WORKLOADS {
            assert!(!is(kind, "a", None));
        }
    }
}
