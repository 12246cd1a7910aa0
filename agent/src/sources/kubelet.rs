//! Names of this node's pods from its kubelet: `GET /pods`, every few seconds. It serves where the API is not to be
//! asked: it knows this node's pods alone, static ones too, and knows them when no API server is to be reached.
//!
//! The kubelet serves them at `https://<node>:10250/pods` to whom the API server lets `get` the sub-resource `proxy` of
//! `nodes`, or `pods` of `nodes` from Kubernetes 1.33 on (KEP-2862; `getPods` and `AuthFilter` in
//! pkg/kubelet/server). `nodes/proxy` lets its bearer run commands in every pod of the node: `nodes/pods` is to be
//! preferred. Where it is switched on, `http://127.0.0.1:10255/pods` (`readOnlyPort`) asks for nothing.
//!
//! Its certificate is most often signed by itself, so that verifying it takes `serverTLSBootstrap` and the CA's file. A
//! token is sent to whom it is sent: without verification on loopback only.

mod client;
mod list;

use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::kubernetes::chance::{Backoff, Chance};
use super::{Health, Updates};
use client::Client;
use list::List;
use netcause_core::enrich::objects::{Change, Kind, Pod, Source, Update};

/// Where the kubelet is asked unless another place is given.
pub const URL: &str = "https://127.0.0.1:10250/pods";
/// Where a pod has its service account's token.
pub const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to ask the kubelet.
#[derive(Clone, Debug)]
pub struct Options {
    /// The whole address: `https://127.0.0.1:10250/pods`.
    pub url: String,
    /// The file with the token that is shown to the kubelet; it is read for each request, as tokens rotate. It is never
    /// sent over plain HTTP.
    pub token: Option<PathBuf>,
    /// Whose certificates count.
    pub trust: Trust,
    /// From one list to the next, a tenth more or less by chance.
    pub interval: Duration,
    /// For a whole answer.
    pub timeout: Duration,
    /// The longest wait after failures.
    pub max_wait: Duration,
}

/// Whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any: for a kubelet that signs its own, on this very node.
    Anyone,
    /// Those that are signed by a certificate in this file (PEM), which is read again when it has changed.
    Authority(PathBuf),
    /// Those that the system trusts.
    System,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: URL.to_owned(),
            token: Some(TOKEN.into()),
            trust: Trust::Anyone,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            max_wait: Duration::from_secs(60),
        }
    }
}

/// Why a list was not had.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    /// Its short name among a source's failures.
    reason: &'static str,
    /// In words, without secrets.
    why: String,
}

impl Failure {
    fn new(reason: &'static str, why: impl Into<String>) -> Self {
        Self { reason, why: why.into() }
    }
}

/// Tells this node's pods, list by list; ends when nobody takes updates any more. What was told stays while the kubelet
/// does not answer.
pub async fn run(options: Options, updates: Updates, health: Health) {
    let mut chance = Chance::default();
    let mut backoff = Backoff::new(options.interval, options.max_wait);
    let mut client = Client::new(options.clone());
    let mut is_well = true;
    loop {
        let asked = tokio::select! {
            () = updates.closed() => return,
            list = client.list() => list,
        };
        let trouble = match asked {
            Ok(list) => {
                let List { pods, malformed } = list;
                if tell(pods, &updates).await.is_none() {
                    return;
                }
                health.contact(Source::Kubelet, Some(Kind::Pod));
                health.set(Source::Kubelet, Some(Kind::Pod), |state| state.is_complete = true);
                backoff.reset();
                malformed
            }
            Err(failure) => Some(failure),
        };
        let wait = match &trouble {
            // The list itself came.
            Some(failure) if failure.reason != list::SOME_MALFORMED => backoff.next(),
            _ => options.interval.mul_f64(0.9) + chance.part(options.interval.mul_f64(0.2)),
        };
        if trouble.is_none() && !is_well {
            info!("the kubelet tells its pods again");
        }
        if let Some(Failure { reason, why }) = &trouble {
            // Once: it may last for days.
            if is_well {
                warn!(why, "not all pods are known from the kubelet; those that were known stay");
            }
            health.failed(Source::Kubelet, Some(Kind::Pod), reason, why.clone());
        }
        is_well = trouble.is_none();
        tokio::select! {
            () = updates.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn tell(pods: Vec<Pod>, updates: &Updates) -> Option<()> {
    let pods = pods.into_iter().map(|pod| Change::ApplyPod(Box::new(pod)));
    let all = std::iter::once(Change::Init(Kind::Pod)).chain(pods).chain([Change::InitDone(Kind::Pod)]);
    for change in all {
        updates.send(Update { source: Source::Kubelet, change }).await.ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
