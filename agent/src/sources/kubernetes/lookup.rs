//! Pods of other nodes, by the addresses that this node's flows touch.
//!
//! An address is looked up with a list that the server answers from its cache; it has no index of addresses, and goes
//! through all pods for each (`pkg/registry/core/pod/strategy.go` has one of `spec.nodeName` alone). What was found is
//! checked again by its name, which costs the server next to nothing. Only the first of `status.podIPs` can be selected.
//! Pods on the host's network are not published: the address is the node's.

mod known;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::Updates;
use super::super::backoff::Backoff;
use super::super::health::{Failure, FailureCode, Health};
use super::body::{Pieces, whole};
use super::items::{Item, Items};
use super::owners::Owners;
use super::publisher::Closed;
use super::server::{Server, encoded};
use super::slim::PodObject;
use known::{Found, Known};
use netcause_core::enrich::objects::{Change, Kind, Pod, Source, Update};
use netcause_core::token_bucket::TokenBucket;

/// Pods that are published of one address: no two hold one at a time for long, but pods that have ended are kept.
const MAX_PODS: usize = 16;

/// Looks up pods by address.
pub struct Lookup {
    /// The API server.
    pub server: Arc<Server>,
    /// Looks up owners.
    pub owners: Arc<Owners>,
    /// Receives the pods.
    pub updates: Updates,
    /// Counts failures.
    pub health: Health,
    /// This node: its pods are watched.
    pub node: Option<String>,
}

enum End {
    Closed,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl Lookup {
    /// Looks up the addresses that arrive, if `is_enabled`, until the receiver of updates is gone.
    pub async fn run(self, mut wanted: mpsc::Receiver<IpAddr>, is_enabled: bool) {
        let timing = self.server.timing();
        let mut bucket = TokenBucket::new(timing.burst, timing.lookup);
        let mut backoff = Backoff::new(timing.first_wait, timing.max_wait);
        let mut refusals = Backoff::new(timing.first_wait, timing.refused);
        let mut known = Known::new(timing.recheck);
        let begun = Instant::now();
        let (mut ready, mut sweep, mut is_open) = (begun, begun + timing.recheck, true);
        loop {
            tokio::select! {
                address = wanted.recv(), if is_open => match address {
                    Some(address) if is_enabled => {
                        let dropped = known.want(address.to_canonical(), Instant::now());
                        if dropped {
                            self.count(FailureCode::AddressDropped);
                        }
                    }
                    Some(_) => {}
                    None => is_open = false,
                },
                () = sleep_until(ready), if known.is_waiting() => {
                    let Some(address) = known.next() else { continue };
                    match self.look_up(address, &mut known).await {
                        Ok(()) => {
                            backoff.reset();
                            refusals.reset();
                            ready = Instant::now() + bucket.reserve(begun.elapsed());
                        }
                        Err(End::Closed) => return,
                        Err(End::Failed(failure)) => {
                            self.count(failure.code);
                            debug!(code = failure.code.label(), reason = failure.reason, "pod lookup by address failed");
                            known.again(address);
                            let asked = failure.retry_after.unwrap_or_default().min(timing.max_retry_after);
                            ready = Instant::now() + match failure.code {
                                FailureCode::Forbidden => refusals.next(),
                                _ => backoff.at_least(asked),
                            };
                        }
                    }
                }
                () = sleep_until(sweep), if is_enabled => {
                    sweep = Instant::now() + timing.recheck;
                    for uid in known.forget_unwanted(Instant::now()) {
                        if self.send(Change::Delete(Kind::Pod, uid)).await.is_err() {
                            return;
                        }
                    }
                }
                () = self.updates.closed() => return,
            }
        }
    }

    async fn look_up(&self, address: IpAddr, known: &mut Known) -> Result<(), End> {
        let before = known.found(address);
        if let [found] = before
            && let Some(pod) = self.again(found).await?
            && !pod.has_ended
            && pod.addresses.contains(&address)
        {
            self.publish(pod).await?;
            known.looked_up(address, None, Instant::now());
            return Ok(());
        }
        let pods = self.list(address).await?;
        let found: Vec<_> = pods.iter().map(Found::of).collect();
        for pod in pods {
            self.publish(pod).await?;
        }
        for uid in known.looked_up(address, Some(found), Instant::now()) {
            self.send(Change::Delete(Kind::Pod, uid)).await?;
        }
        Ok(())
    }

    /// The same pod, as it is now.
    async fn again(&self, found: &Found) -> Result<Option<Pod>, Failure> {
        let (namespace, name) = (encoded(&found.namespace), encoded(&found.name));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?resourceVersion=0");
        let body = match self.server.get(&path, "application/json").await {
            Ok(body) => body,
            Err(failure) if failure.code == FailureCode::NotFound => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let text = whole(body, self.server.timing().list_idle_timeout).await?;
        let pod = serde_json::from_slice::<PodObject>(&text).ok().and_then(|object| object.pod().ok());
        Ok(pod.filter(|pod| pod.uid == found.uid))
    }

    async fn list(&self, address: IpAddr) -> Result<Vec<Pod>, Failure> {
        let selector = encoded(&format!("status.podIP={address}"));
        let path = format!("/api/v1/pods?fieldSelector={selector}&resourceVersion=0");
        let body = self.server.get(&path, "application/json").await?;
        let mut pieces = Pieces::new(body, self.server.timing().list_idle_timeout);
        let (mut items, mut pods) = (Items::default(), Vec::new());
        let none = |_| Failure::new(FailureCode::Malformed, "the answer is not a list");
        while let Some(piece) = pieces.next().await? {
            let mut bytes = &piece[..];
            while let Some(item) = items.next(&mut bytes).map_err(none)? {
                let pod = match item {
                    Item::Text(text) => serde_json::from_slice::<PodObject>(text).ok(),
                    Item::TooLong => None,
                };
                match pod.map(PodObject::pod) {
                    Some(Ok(pod)) if !self.is_known_otherwise(&pod) && pods.len() < MAX_PODS => {
                        pods.push(pod);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.count(FailureCode::Malformed),
                }
            }
        }
        match items.around() {
            Some(_) => Ok(pods),
            None => Err(Failure::new(FailureCode::ConnectionLost, "the list ended before it was complete")),
        }
    }

    fn is_known_otherwise(&self, pod: &Pod) -> bool {
        pod.is_host_network || (self.node.is_some() && pod.node.as_deref() == self.node.as_deref())
    }

    async fn publish(&self, pod: Pod) -> Result<(), Closed> {
        let owner = self.owners.of_pod(&pod);
        self.send(Change::ApplyPod(Box::new(pod))).await?;
        match owner {
            Some(owner) => self.send(owner).await,
            None => Ok(()),
        }
    }

    async fn send(&self, change: Change) -> Result<(), Closed> {
        self.updates.send(Update { source: Source::Api, change }).await.map_err(|_| Closed)
    }

    fn count(&self, code: FailureCode) {
        self.health.count(Source::Api, Some(Kind::Pod), code);
    }
}
