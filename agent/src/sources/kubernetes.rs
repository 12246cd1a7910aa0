//! Names from the Kubernetes API: pods, services, endpoint slices and nodes, listed and then watched.
//!
//! # What the agent must be allowed
//!
//! | apiGroups | resources | verbs | without it |
//! |---|---|---|---|
//! | `""` | `pods` | `get`, `list`, `watch` | addresses have no pods |
//! | `""` | `services` | `list`, `watch` | cluster addresses have no services |
//! | `""` | `nodes` | `list`, `watch` | addresses of nodes have no names |
//! | `discovery.k8s.io` | `endpointslices` | `list`, `watch` | services have no backends; not asked for in [`Scope::Node`] |
//! | `apps` | `replicasets` | `get` | ReplicaSets that no template hash leads to a Deployment from are named themselves |
//! | `batch` | `jobs` | `get` | a CronJob's pods are named after each of its Jobs |
//!
//! `get` on pods is used in [`Scope::Node`] alone. Nothing else is asked for: no secrets, no config maps, and nothing is
//! ever written. Each kind stands for itself: what is forbidden is said once, in the log and in [`Health`], and tried
//! again every few minutes. `get` on kinds of other owners (`argoproj.io` `rollouts`) may be added; a kind that is
//! forbidden is asked for once.
//!
//! # Order of what is told
//!
//! [`Change::Init`], the objects, [`Change::InitDone`]; a list that breaks off begins again, and only the last
//! beginning counts. In [`Scope::Node`] pods are told without either, and each that is gone is told to be: what was looked
//! up is in no list.
//!
//! [`Change::Init`]: netcause_core::enrich::objects::Change::Init
//! [`Change::InitDone`]: netcause_core::enrich::objects::Change::InitDone

mod body;
pub(super) mod chance;
pub(super) mod items;
mod lookup;
mod owners;
mod server;
pub(super) mod slim;
mod teller;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Health, Updates};
use chance::Chance;
use lookup::Lookup;
use owners::Owners;
use server::{Server, encoded};
use slim::{NodeObject, PodObject, ServiceObject, SliceObject};
use watch::Watch;

/// Which pods are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the cluster.
    #[default]
    All,
    /// Those of this node, and those whose addresses are asked for: for very large clusters. Endpoint slices are not
    /// watched.
    Node,
}

/// How to be a client of the API.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The file that says where the server is. `None`: the service account, in a pod; elsewhere `KUBECONFIG` or
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `spec.nodeName` of this node's pods. Without it [`Scope::Node`] knows none but those asked for.
    pub node: Option<String>,
    /// Which pods are known.
    pub scope: Scope,
    /// The first list is asked for after a part of this, by chance: five thousand agents may start at once.
    pub start_jitter: Duration,
    /// Waits and limits.
    pub timing: Timing,
}

/// How long to wait for what, and how often to ask.
#[derive(Clone, Debug)]
pub struct Timing {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to begin.
    pub response: Duration,
    /// For the next octets of a list.
    pub list_silence: Duration,
    /// For the next octets of a watch; bookmarks come every minute (`bookmarkFrequency` in
    /// staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go).
    pub watch_silence: Duration,
    /// A watch ends by itself after this, and up to twice that by chance: so it does in client-go.
    pub watch: Duration,
    /// The first wait after a failure: twice as much after each further one,
    pub first_wait: Duration,
    /// but no more than this.
    pub max_wait: Duration,
    /// A watch that held for so long did not fail.
    pub steady: Duration,
    /// Until what was forbidden, or does not exist, is tried again.
    pub refused: Duration,
    /// At most this is waited because the server asks for it.
    pub max_retry_after: Duration,
    /// One request for an owner or an address may be made in this time, after [`Timing::burst`].
    pub lookup: Duration,
    /// So many requests for owners, and for addresses, may be made at once.
    pub burst: u32,
    /// What was found of an address is looked at again after this, while it is wanted.
    pub recheck: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(30),
            list_silence: Duration::from_secs(30),
            watch_silence: Duration::from_secs(180),
            watch: Duration::from_secs(300),
            first_wait: Duration::from_millis(800),
            max_wait: Duration::from_secs(30),
            steady: Duration::from_secs(10),
            refused: Duration::from_secs(300),
            max_retry_after: Duration::from_secs(300),
            lookup: Duration::from_millis(200),
            burst: 20,
            recheck: Duration::from_secs(60),
        }
    }
}

/// Whether this process is in a pod that has a service account: the server's address and the token are there.
#[must_use]
pub fn is_in_cluster() -> bool {
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    has("KUBERNETES_SERVICE_HOST")
        && has("KUBERNETES_SERVICE_PORT")
        && std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
}

/// Tells what the server has, for as long as somebody takes it. In [`Scope::Node`] pods with `wanted` addresses are looked
/// up; otherwise it is read and ignored.
pub async fn run(options: Options, updates: Updates, wanted: mpsc::Receiver<IpAddr>, health: Health) {
    tokio::time::sleep(Chance::default().part(options.start_jitter)).await;
    let server = Arc::new(Server::new(options.kubeconfig, options.timing));
    let owners = Arc::new(Owners::new(Arc::clone(&server), updates.clone(), health.clone()));
    let watch = |selector: String| Watch::new(Arc::clone(&server), updates.clone(), health.clone(), selector);
    let is_node = options.scope == Scope::Node;
    let of_node = match (&options.node, is_node) {
        (Some(node), true) => format!("&fieldSelector={}", encoded(&format!("spec.nodeName={node}"))),
        _ => String::new(),
    };
    let pods = async {
        if is_node && options.node.is_none() {
            std::future::pending::<()>().await;
        }
        watch(of_node).with_owners(Arc::clone(&owners)).telling_each(is_node).run::<PodObject>().await;
    };
    let slices = async {
        if is_node {
            std::future::pending::<()>().await;
        }
        watch(String::new()).run::<SliceObject>().await;
    };
    let lookup = Lookup {
        server: Arc::clone(&server),
        owners: Arc::clone(&owners),
        updates: updates.clone(),
        health: health.clone(),
        node: options.node.clone(),
    };
    // Each ends when nobody takes updates any more.
    tokio::select! {
        () = pods => {}
        () = watch(String::new()).run::<ServiceObject>() => {}
        () = slices => {}
        () = watch(String::new()).run::<NodeObject>() => {}
        () = owners.run() => {}
        () = lookup.run(wanted, is_node) => {}
        () = updates.closed() => {}
    }
}
