//! Pods of other nodes, by the addresses that this node's flows touch.
//!
//! An address is looked up with a list that the server answers from its cache; it has no index of addresses, and goes
//! through all pods for each (`pkg/registry/core/pod/strategy.go` has one of `spec.nodeName` alone). What was found is
//! looked at again by its name, which costs the server next to nothing. Only the first of `status.podIPs` can be asked
//! for. Pods that share their node's address are not told: the address is the node's.

mod known;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::{Health, Updates};
use super::body::{Pieces, whole};
use super::chance::{Backoff, Bucket};
use super::items::{Item, Items};
use super::owners::Owners;
use super::server::{Failure, Reason, Server, encoded};
use super::slim::PodObject;
use super::teller::Closed;
use known::{Found, Known};
use netcause_core::enrich::objects::{Change, Kind, Pod, Source, Update};

/// Pods that are told of one address: more than two never hold one at a time, but those that have ended are kept.
const MAX_PODS: usize = 16;

/// Looks addresses up.
pub struct Lookup {
    /// The API server.
    pub server: Arc<Server>,
    /// Asks for owners.
    pub owners: Arc<Owners>,
    /// Where pods are told.
    pub updates: Updates,
    /// How it is.
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
    /// Looks up what is wanted, if it is to; until nobody takes updates any more.
    pub async fn run(self, mut wanted: mpsc::Receiver<IpAddr>, is_to: bool) {
        let timing = self.server.timing();
        let mut bucket = Bucket::new(timing.burst, timing.lookup);
        let mut backoff = Backoff::new(timing.first_wait, timing.max_wait);
        let mut known = Known::new(timing.recheck);
        let begun = Instant::now();
        let (mut ready, mut sweep, mut is_open) = (begun, begun + timing.recheck, true);
        loop {
            tokio::select! {
                address = wanted.recv(), if is_open => match address {
                    Some(address) if is_to => {
                        let dropped = known.want(address.to_canonical(), Instant::now());
                        if dropped {
                            self.count("address_dropped");
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
                            ready = Instant::now() + bucket.take(begun.elapsed());
                        }
                        Err(End::Closed) => return,
                        Err(End::Failed(failure)) => {
                            self.count(failure.reason.name());
                            debug!(reason = failure.reason.name(), why = failure.why, "an address is not looked up");
                            known.again(address);
                            let asked = match failure.reason {
                                Reason::Forbidden => timing.refused,
                                _ => failure.retry_after.unwrap_or_default().min(timing.max_retry_after),
                            };
                            ready = Instant::now() + backoff.at_least(asked);
                        }
                    }
                }
                () = sleep_until(sweep), if is_to => {
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
            self.tell(pod).await?;
            known.looked_up(address, None, Instant::now());
            return Ok(());
        }
        let pods = self.list(address).await?;
        let found: Vec<_> = pods.iter().map(Found::of).collect();
        for pod in pods {
            self.tell(pod).await?;
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
            Err(failure) if failure.reason == Reason::Absent => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let text = whole(body, self.server.timing().list_silence).await?;
        let pod = serde_json::from_slice::<PodObject>(&text).ok().and_then(|object| object.pod().ok());
        Ok(pod.filter(|pod| pod.uid == found.uid))
    }

    async fn list(&self, address: IpAddr) -> Result<Vec<Pod>, Failure> {
        let selector = encoded(&format!("status.podIP={address}"));
        let path = format!("/api/v1/pods?fieldSelector={selector}&resourceVersion=0");
        let body = self.server.get(&path, "application/json").await?;
        let mut pieces = Pieces::new(body, self.server.timing().list_silence);
        let (mut items, mut pods) = (Items::default(), Vec::new());
        let none = |_| Failure::new(Reason::Malformed, "what came is no list");
        while let Some(piece) = pieces.next().await? {
            let mut octets = &piece[..];
            while let Some(item) = items.next(&mut octets).map_err(none)? {
                let pod = match item {
                    Item::Text(text) => serde_json::from_slice::<PodObject>(text).ok(),
                    Item::TooLong => None,
                };
                match pod.map(PodObject::pod) {
                    Some(Ok(pod)) if !self.is_told_otherwise(&pod) && pods.len() < MAX_PODS => pods.push(pod),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.count("malformed"),
                }
            }
        }
        match items.around() {
            Some(_) => Ok(pods),
            None => Err(Failure::new(Reason::Broken, "the list ended before it was whole")),
        }
    }

    fn is_told_otherwise(&self, pod: &Pod) -> bool {
        pod.is_host_network || (self.node.is_some() && pod.node.as_deref() == self.node.as_deref())
    }

    async fn tell(&self, pod: Pod) -> Result<(), Closed> {
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

    fn count(&self, reason: &'static str) {
        self.health
            .set(Source::Api, Some(Kind::Pod), |state| *state.failures.entry(reason).or_default() += 1);
    }
}
