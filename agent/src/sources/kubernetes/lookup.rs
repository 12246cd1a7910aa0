//! Pods of other nodes, by the addresses that this node's flows touch, and nodes by the names that those pods have them by.
//!
//! An address is looked up with a list that the server answers from its cache; it has no index of addresses, and goes
//! through all pods for each (`pkg/registry/core/pod/strategy.go` has one of `spec.nodeName` alone). What was found is
//! checked again by its name, which costs the server next to nothing. Only the first of `status.podIPs` can be selected.
//! Pods on the host's network are not published: the address is the node's, and they say which node that is. The agent is
//! one of them on every node.
//!
//! A node is looked up with a list of one name: it needs no permission that watching nodes does not need.

mod known;
mod nodes;
mod pace;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::Updates;
use super::super::health::{Failure, FailureCode, Health};
use super::body::{Pieces, whole};
use super::items::{Item, Items};
use super::owners::Owners;
use super::publisher::Closed;
use super::server::{Server, encoded};
use super::slim::{NodeObject, PodObject, Watched};
use known::{Found, Known, can_be_held};
use netcause_core::enrich::objects::{Change, Kind, Pod, Source, Update};
use nodes::Nodes;
use pace::Pace;

/// Pods that are published of one address: no two hold one at a time for long, but pods that have ended are kept.
const MAX_PODS: usize = 16;
/// Pods that are read of one address: those of a node's own network, of which any says which node it is, and a pod that had it.
const MAX_LISTED: usize = 256;

/// Looks up pods by address, and their nodes by name.
pub struct Lookup {
    /// The API server.
    pub server: Arc<Server>,
    /// Looks up owners.
    pub owners: Arc<Owners>,
    /// Receives what is found.
    pub updates: Updates,
    /// Counts failures.
    pub health: Health,
    /// This node: its pods are watched.
    pub node: Option<String>,
    /// Whether nodes are looked up, too.
    pub with_nodes: bool,
}

/// What was wanted so far.
struct Wanted {
    pods: Known<IpAddr, Found>,
    nodes: Nodes,
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
    pub async fn run(self, mut addresses: mpsc::Receiver<IpAddr>, is_enabled: bool) {
        let timing = self.server.timing();
        // Each has a pace of its own: a role that does not grant one may grant the other.
        let (mut of_pods, mut of_nodes) = (Pace::new(timing), Pace::new(timing));
        let mut wanted = Wanted {
            pods: Known::new(timing.recheck),
            nodes: Nodes::new(timing.recheck_node, self.with_nodes && is_enabled),
        };
        let (mut sweep, mut is_open) = (Instant::now(), true);
        loop {
            tokio::select! {
                address = addresses.recv(), if is_open => match address {
                    Some(address) if is_enabled => self.want(address.to_canonical(), &mut wanted),
                    Some(_) => {}
                    None => is_open = false,
                },
                () = sleep_until(of_nodes.ready()), if wanted.nodes.is_waiting() => {
                    let Some(name) = wanted.nodes.next() else { continue };
                    match self.look_up_node(&name, &mut wanted).await {
                        Ok(()) => of_nodes.went_well(),
                        Err(End::Closed) => return,
                        Err(End::Failed(failure)) => {
                            self.health.failed(Source::Api, Some(Kind::Node), &failure);
                            wanted.nodes.again(name);
                            of_nodes.failed(&failure);
                        }
                    }
                }
                () = sleep_until(of_pods.ready()), if wanted.pods.is_waiting() => {
                    let Some(address) = wanted.pods.next() else { continue };
                    match self.look_up(address, &mut wanted).await {
                        Ok(()) => of_pods.went_well(),
                        Err(End::Closed) => return,
                        Err(End::Failed(failure)) => {
                            self.count(failure.code);
                            wanted.pods.again(address);
                            of_pods.failed(&failure);
                        }
                    }
                }
                () = sleep_until(sweep), if is_enabled => {
                    let now = Instant::now();
                    sweep = now + timing.recheck;
                    if let Some(own) = &self.node {
                        wanted.nodes.want(own, now);
                    }
                    let pods = wanted.pods.forget_unwanted(now).into_iter().map(|uid| (Kind::Pod, uid));
                    let nodes = wanted.nodes.forget_unwanted(now).into_iter().map(|name| (Kind::Node, name));
                    for (kind, key) in pods.chain(nodes).collect::<Vec<_>>() {
                        if self.send(Change::Delete(kind, key)).await.is_err() {
                            return;
                        }
                    }
                }
                () = self.updates.closed() => return,
            }
        }
    }

    /// An address is in use.
    fn want(&self, address: IpAddr, wanted: &mut Wanted) {
        let now = Instant::now();
        if !wanted.nodes.want_holder(address, now) && can_be_held(address) && wanted.pods.want(address, now) {
            self.count(FailureCode::AddressDropped);
        }
    }

    async fn look_up(&self, address: IpAddr, wanted: &mut Wanted) -> Result<(), End> {
        let now = Instant::now;
        if wanted.nodes.want_holder(address, now()) {
            // It has become known since it was wanted.
            wanted.pods.looked_up(address, None, now());
            return Ok(());
        }
        if let [found] = wanted.pods.found(&address)
            && let Some(pod) = self.again(found).await?
            && !pod.has_ended
            && pod.addresses.contains(&address)
        {
            self.want_node_of(&pod, wanted);
            self.publish(pod).await?;
            wanted.pods.looked_up(address, None, now());
            return Ok(());
        }
        let mut pods = self.list(address).await?;
        for pod in &pods {
            self.want_node_of(pod, wanted);
        }
        pods.retain(|pod| !self.is_known_otherwise(pod));
        pods.truncate(MAX_PODS);
        let found: Vec<_> = pods.iter().map(Found::of).collect();
        for pod in pods {
            self.publish(pod).await?;
        }
        for uid in wanted.pods.looked_up(address, Some(found), now()) {
            self.send(Change::Delete(Kind::Pod, uid)).await?;
        }
        Ok(())
    }

    fn want_node_of(&self, pod: &Pod, wanted: &mut Wanted) {
        if let Some(node) = &pod.node
            && wanted.nodes.want(node, Instant::now())
        {
            self.health.count(Source::Api, Some(Kind::Node), FailureCode::AddressDropped);
        }
    }

    /// Publishes a node as it is now.
    async fn look_up_node(&self, name: &str, wanted: &mut Wanted) -> Result<(), End> {
        let selector = encoded(&format!("metadata.name={name}"));
        let mut found = None;
        self.objects::<NodeObject>(&selector, |object| {
            if let Ok(Some(Change::ApplyNode(node))) = object.change() {
                found = Some(node);
            }
        })
        .await?;
        self.health.complete(Source::Api, Some(Kind::Node));
        let addresses = found.as_ref().map(|node| node.addresses.clone()).unwrap_or_default();
        wanted.nodes.looked_up(name, addresses, Instant::now());
        match found {
            Some(node) => self.send(Change::ApplyNode(node)).await?,
            None => self.send(Change::Delete(Kind::Node, name.into())).await?,
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

    /// The pods that have this address now, or had it last.
    async fn list(&self, address: IpAddr) -> Result<Vec<Pod>, Failure> {
        let mut pods = Vec::new();
        let mut malformed = 0_u64;
        let selector = encoded(&format!("status.podIP={address}"));
        self.objects::<PodObject>(&selector, |object| match object.pod() {
            Ok(pod) if pods.len() < MAX_LISTED => pods.push(pod),
            Ok(_) => {}
            Err(_) => malformed += 1,
        })
        .await?;
        (0..malformed).for_each(|_| self.count(FailureCode::Malformed));
        Ok(pods)
    }

    /// Lists the objects that a field selector selects, from the server's cache.
    async fn objects<K: Watched>(&self, selector: &str, mut each: impl FnMut(K)) -> Result<(), Failure> {
        let path = format!("{}?fieldSelector={selector}&resourceVersion=0", K::PATH);
        let body = self.server.get(&path, "application/json").await?;
        let mut pieces = Pieces::new(body, self.server.timing().list_idle_timeout);
        let mut items = Items::default();
        let none = |_| Failure::new(FailureCode::Malformed, "the answer is not a list");
        while let Some(piece) = pieces.next().await? {
            let mut bytes = &piece[..];
            while let Some(item) = items.next(&mut bytes).map_err(none)? {
                match item {
                    Item::Text(text) => match serde_json::from_slice(text) {
                        Ok(object) => each(object),
                        Err(_) => self.health.count(Source::Api, Some(K::KIND), FailureCode::Malformed),
                    },
                    Item::TooLong => self.health.count(Source::Api, Some(K::KIND), FailureCode::Malformed),
                }
            }
        }
        match items.around() {
            Some(_) => Ok(()),
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
