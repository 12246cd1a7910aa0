//! Names of this node's pods from its kubelet: `GET /pods`, every few seconds. An alternative to the API where that is not
//! to be loaded: it has this node's pods alone, static ones too, and has them without an API server.
//!
//! The kubelet serves them at `https://<node>:10250/pods` to whom the API server lets `get` the sub-resource `proxy` of
//! `nodes`, or `pods` of `nodes` from Kubernetes 1.33 on (KEP-2862; `getPods` and `AuthFilter` in
//! pkg/kubelet/server). `nodes/proxy` lets its bearer run commands in every pod of the node: `nodes/pods` is to be
//! preferred. Where it is switched on, `http://127.0.0.1:10255/pods` (`readOnlyPort`) asks for nothing.
//!
//! Its certificate is most often self-signed, so that verifying it takes `serverTLSBootstrap` and the CA's file. Without
//! verification a token is sent on loopback only.

mod client;
mod list;

use std::path::PathBuf;
use std::time::Duration;

use super::backoff::{Backoff, Jitter};
use super::{Health, Updates};
use client::Client;
use list::List;
use netcause_core::enrich::objects::{Change, Kind, Pod, Source, Update};

/// The default URL of the list.
pub const URL: &str = "https://127.0.0.1:10250/pods";
/// The default file of the token: the service account's.
pub const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Settings of the client of the kubelet.
#[derive(Clone, Debug)]
pub struct Options {
    /// The URL of the list: `https://127.0.0.1:10250/pods`.
    pub url: String,
    /// The file with the bearer token; read for each request, as tokens rotate, and never sent over plain HTTP.
    pub token: Option<PathBuf>,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// From one list to the next, a tenth more or less at random.
    pub interval: Duration,
    /// Timeout of a complete answer.
    pub timeout: Duration,
    /// The longest wait after failures.
    pub max_wait: Duration,
}

/// Which certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any: for a kubelet with a self-signed certificate, on this very node.
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

/// Publishes this node's pods, list by list, until the receiver of updates is gone. While the kubelet does not answer, its
/// pods stay cached.
pub async fn run(options: Options, updates: Updates, health: Health) {
    const KIND: Option<Kind> = Some(Kind::Pod);
    let mut jitter = Jitter::default();
    let mut backoff = Backoff::new(options.interval, options.max_wait);
    let mut client = Client::new(options.clone());
    loop {
        let list = tokio::select! {
            () = updates.closed() => return,
            list = client.list() => list,
        };
        let wait = match list {
            Ok(List { pods, malformed }) => {
                if publish(pods, &updates).await.is_none() {
                    return;
                }
                match malformed {
                    Some(failure) => health.degraded(Source::Kubelet, KIND, &failure),
                    None => health.complete(Source::Kubelet, KIND),
                }
                backoff.reset();
                options.interval.mul_f64(0.9) + jitter.up_to(options.interval.mul_f64(0.2))
            }
            Err(failure) => {
                health.failed(Source::Kubelet, KIND, &failure);
                backoff.next()
            }
        };
        tokio::select! {
            () = updates.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn publish(pods: Vec<Pod>, updates: &Updates) -> Option<()> {
    let pods = pods.into_iter().map(|pod| Change::ApplyPod(Box::new(pod)));
    let all = std::iter::once(Change::Init(Kind::Pod)).chain(pods).chain([Change::InitDone(Kind::Pod)]);
    for change in all {
        updates.send(Update { source: Source::Kubelet, change }).await.ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
