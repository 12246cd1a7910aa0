//! Names from the Kubernetes API: pods, services, endpoint slices and nodes, listed and then watched.
//!
//! # Permissions
//!
//! | apiGroups | resources | verbs | without it |
//! |---|---|---|---|
//! | `""` | `pods` | `get`, `list`, `watch` | addresses have no pods |
//! | `""` | `services` | `list`, `watch` | cluster addresses have no services |
//! | `""` | `nodes` | `list`, `watch` | addresses of nodes have no names, and nodes no zones |
//! | `discovery.k8s.io` | `endpointslices` | `list`, `watch` | services have no backends; not requested in [`Scope::Node`] |
//! | `apps` | `replicasets` | `get` | ReplicaSets that no template hash leads to a Deployment from are named themselves |
//! | `batch` | `jobs` | `get` | a CronJob's pods are named after each of its Jobs |
//!
//! `get` on pods is used in [`Scope::Node`] alone. Nothing else is requested: no secrets, no config maps, and nothing is
//! ever written but Events, where that is asked for ([`events`]). Kinds are independent: a forbidden one is logged once, shown in [`Health`], and retried every few
//! minutes. `get` on kinds of other owners (`argoproj.io` `rollouts`) may be added; a forbidden one is requested once.
//!
//! # Order of updates
//!
//! [`Change::Init`], the objects, [`Change::InitDone`]; a list that fails begins again, and only the last beginning
//! counts. In [`Scope::Node`] pods and nodes are published without either, and each deletion one by one: what was looked up is
//! in no list.
//!
//! [`Change::Init`]: netcause_core::enrich::objects::Change::Init
//! [`Change::InitDone`]: netcause_core::enrich::objects::Change::InitDone

mod body;
pub mod events;
pub(super) mod items;
mod lookup;
mod owners;
mod publisher;
mod server;
pub(super) mod slim;
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

use super::backoff::Jitter;
use super::{Health, Updates};
use lookup::Lookup;
use owners::Owners;
pub use server::{Server, encoded};
use slim::{NodeObject, PodObject, ServiceObject, SliceObject};
use watch::Watch;

/// Which pods are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All pods of the cluster.
    #[default]
    All,
    /// Pods of this node, and pods at addresses that are looked up: for very large clusters. Endpoint slices are not watched.
    Node,
}

/// Settings of the client of the API.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `None`: the service account, in a pod; elsewhere `KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `spec.nodeName` of this node's pods. Without it [`Scope::Node`] knows only pods that are looked up.
    pub node: Option<String>,
    /// Which pods are known.
    pub scope: Scope,
    /// Whether nodes are: all of them in [`Scope::All`], and in [`Scope::Node`] this one, and those of pods and addresses that
    /// are looked up. Every watch of nodes gets every status that a kubelet reports, so watches cost the square of the nodes.
    pub nodes: Option<Scope>,
    /// The first list waits for up to this, at random: thousands of agents may start at once.
    pub start_jitter: Duration,
    /// Timeouts and limits.
    pub timing: Timing,
}

/// Timeouts, backoff and rate limits.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Timeout of connecting.
    pub connect: Duration,
    /// Timeout until an answer begins.
    pub response: Duration,
    /// Timeout of the next bytes of a list.
    pub list_idle_timeout: Duration,
    /// Timeout of the next bytes of a watch; bookmarks come every minute (`bookmarkFrequency` in
    /// staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go).
    pub watch_idle_timeout: Duration,
    /// `timeoutSeconds` of a watch, and up to twice that at random, as in client-go.
    pub watch: Duration,
    /// The first wait of the backoff.
    pub first_wait: Duration,
    /// The longest wait of the backoff.
    pub max_wait: Duration,
    /// A watch that lasted this long resets the backoff.
    pub steady: Duration,
    /// A watch that has neither ended nor sent anything for so long is one.
    pub accepted: Duration,
    /// The longest wait until what is forbidden, or not found, is tried again.
    pub refused: Duration,
    /// The longest `Retry-After` that is honoured.
    pub max_retry_after: Duration,
    /// One lookup of an owner or an address per interval, after [`Timing::burst`].
    pub lookup: Duration,
    /// Lookups of owners, and of addresses, that may be made at once.
    pub burst: u32,
    /// A pod that was found by its address is checked again after this, while the address is wanted.
    pub recheck: Duration,
    /// The same of a node: it has ten times the bytes, and its addresses and zone stay as they are.
    pub recheck_node: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(30),
            list_idle_timeout: Duration::from_secs(30),
            watch_idle_timeout: Duration::from_secs(180),
            watch: Duration::from_secs(300),
            first_wait: Duration::from_millis(800),
            max_wait: Duration::from_secs(30),
            steady: Duration::from_secs(10),
            accepted: Duration::from_secs(2),
            refused: Duration::from_secs(300),
            max_retry_after: Duration::from_secs(300),
            lookup: Duration::from_millis(200),
            burst: 20,
            recheck: Duration::from_secs(60),
            recheck_node: Duration::from_secs(600),
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

/// Publishes what the server has, until the receiver of updates is gone. In [`Scope::Node`] pods at `wanted` addresses are
/// looked up; otherwise `wanted` is drained.
pub async fn run(options: Options, updates: Updates, wanted: mpsc::Receiver<IpAddr>, health: Health) {
    tokio::time::sleep(Jitter::default().up_to(options.start_jitter)).await;
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
        watch(of_node).with_owners(Arc::clone(&owners)).diffing_lists(is_node).run::<PodObject>().await;
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
        with_nodes: options.nodes == Some(Scope::Node),
    };
    let nodes = async {
        if options.nodes != Some(Scope::All) {
            std::future::pending::<()>().await;
        }
        watch(String::new()).run::<NodeObject>().await;
    };
    // Each ends when the receiver of updates is gone.
    tokio::select! {
        () = pods => {}
        () = watch(String::new()).run::<ServiceObject>() => {}
        () = slices => {}
        () = nodes => {}
        () = owners.run() => {}
        () = lookup.run(wanted, is_node) => {}
        () = updates.closed() => {}
    }
}
