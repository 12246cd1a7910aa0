//! Kubernetes Events on the pods of this node that a finding hurts: `kubectl describe pod` shows them. Off by default.
//!
//! # Permissions
//!
//! Beside those of the sources of names, `create` on `events` of `events.k8s.io`: the one thing that is ever written, and a
//! ClusterRole of its own (`deploy/overlays/events`).
//!
//! A finding is written once, when it begins or has become sure enough: from medium confidence on, on a few of its pods, and at a limited
//! rate. What is not written is counted. The names of pods are asked for then: the sources of names keep none.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use netcause_core::diagnose::cause::Confidence;
use netcause_core::diagnose::finding::Finding;
use netcause_core::enrich::uid::PodUid;
use netcause_core::token_bucket::TokenBucket;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::body::whole;
use super::server::{Server, encoded};
use crate::sources::health::{Failure, FailureCode};

/// Findings that may wait to be written.
const MAX_WAITING: usize = 64;
/// Pods that one finding is written on.
const MAX_PODS: usize = 4;
/// Events that may be written at once.
const BURST: u32 = 20;
/// Then one in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// A finding that comes and goes is written again after this.
const AGAIN: Duration = Duration::from_mins(30);
/// The longest `note`: `NoteLengthLimit`, pkg/apis/core/validation/events.go.
const MAX_NOTE: usize = 1024;
/// Names and uids alone, where the server can.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

/// A finding that has begun or become surer, and the pods of this node that it hurts.
pub struct Begun {
    finding: Arc<Finding>,
    pods: BTreeSet<PodUid>,
}

/// What became of Events since the agent started.
#[derive(Debug, Default)]
pub struct Outcomes {
    written: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
}

impl Outcomes {
    /// Each with its label.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [("written", &self.written), ("failed", &self.failed), ("rate_limited", &self.limited)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// Where findings are put that are to be written.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Begun>,
    outcomes: Arc<Outcomes>,
}

impl Recorder {
    /// With the writer that takes what is recorded.
    #[must_use]
    pub fn new(options: &super::Options) -> (Self, Writer) {
        let (sender, begun) = mpsc::channel(MAX_WAITING);
        let outcomes = Arc::new(Outcomes::default());
        let server = Server::new(options.kubeconfig.clone(), options.timing.clone());
        let node = options.node.clone().unwrap_or_default();
        let writer = Writer {
            server,
            node,
            begun,
            outcomes: Arc::clone(&outcomes),
            bucket: TokenBucket::new(BURST, INTERVAL),
            written: HashMap::new(),
            last_failure: None,
        };
        (Self { sender, outcomes }, writer)
    }

    /// Has a finding written, if it is sure enough and there are such pods; never waits.
    pub fn record(&self, finding: &Arc<Finding>, pods: BTreeSet<PodUid>) {
        if finding.confidence == Confidence::Low || pods.is_empty() {
            return;
        }
        if self.sender.try_send(Begun { finding: Arc::clone(finding), pods }).is_err() {
            self.outcomes.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of them.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }
}

/// Writes Events.
pub struct Writer {
    server: Server,
    node: String,
    begun: mpsc::Receiver<Begun>,
    outcomes: Arc<Outcomes>,
    bucket: TokenBucket,
    /// When each finding was last written, by its id.
    written: HashMap<String, Instant>,
    /// What went wrong last: it is logged once.
    last_failure: Option<FailureCode>,
}

/// A pod, as far as an Event refers to it.
#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
struct Pods {
    items: Vec<Pod>,
}

impl Writer {
    /// Writes what is recorded, for ever.
    pub async fn run(mut self) {
        let began = Instant::now();
        info!("writing Kubernetes Events on pods that findings hurt");
        while let Some(Begun { finding, pods }) = self.begun.recv().await {
            let now = Instant::now();
            self.written.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
            if self.written.contains_key(&finding.id()) {
                continue;
            }
            if !self.bucket.try_take(began.elapsed()) {
                self.outcomes.limited.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.written.insert(finding.id(), now);
            if let Err(failure) = self.write(&finding, &pods).await {
                self.outcomes.failed.fetch_add(1, Ordering::Relaxed);
                self.written.remove(&finding.id());
                self.log(&failure);
            }
        }
    }

    async fn write(&mut self, finding: &Finding, uids: &BTreeSet<PodUid>) -> Result<(), Failure> {
        let namespaces: BTreeSet<&str> = finding
            .affected
            .iter()
            .flat_map(|edge| [edge.source.namespace(), edge.destination.namespace()])
            .filter(|namespace| !namespace.is_empty())
            .collect();
        let mut left = MAX_PODS;
        for namespace in namespaces {
            for pod in self.pods(namespace).await?.items {
                let is_hurt = pod.metadata.uid.parse().is_ok_and(|uid: PodUid| uids.contains(&uid));
                if !is_hurt || left == 0 {
                    continue;
                }
                left -= 1;
                let event = self.event(finding, &pod.metadata).to_string();
                let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", pod.metadata.namespace);
                self.server.post(&path, event.into_bytes()).await?;
                self.outcomes.written.fetch_add(1, Ordering::Relaxed);
                self.last_failure = None;
            }
        }
        Ok(())
    }

    /// This node's pods of a namespace.
    async fn pods(&self, namespace: &str) -> Result<Pods, Failure> {
        let selector = encoded(&format!("spec.nodeName={}", self.node));
        let path = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector={selector}");
        let answer = self.server.get(&path, METADATA).await?;
        let bytes = whole(answer, self.server.timing().list_idle_timeout).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(FailureCode::Malformed, format!("the list of pods: {error}")))
    }

    fn event(&self, finding: &Finding, pod: &Metadata) -> Value {
        let cause = finding.cause.label();
        let mut note = format!(
            "{} To act: {}. Runbook: docs/runbooks/{cause}.md",
            finding.summary,
            finding.owner.label()
        );
        let end = (0..=MAX_NOTE.min(note.len())).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": "netcause-", "namespace": pod.namespace},
            "eventTime": format!("{:.6}", Timestamp::now()),
            "reportingController": "netcause",
            "reportingInstance": if self.node.is_empty() { "netcause" } else { &self.node },
            "type": "Warning",
            "reason": camel_case(cause),
            "action": "Diagnosed",
            "note": note,
            "regarding": {
                "apiVersion": "v1", "kind": "Pod",
                "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
            },
        })
    }

    fn log(&mut self, failure: &Failure) {
        if self.last_failure.replace(failure.code) == Some(failure.code) {
            return;
        }
        let hint = match failure.code {
            FailureCode::Forbidden => "; kubectl apply -k deploy/overlays/events grants it",
            _ => "",
        };
        warn!(reason = failure.code.label(), "cannot write Kubernetes Events: {}{hint}", failure.reason);
    }
}

/// `path_loss` as a reason is called: `PathLoss`.
fn camel_case(label: &str) -> String {
    let words = label.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_camel_case() {
        assert_eq!(camel_case("mtu_black_hole"), "MtuBlackHole");
        assert_eq!(camel_case(""), "");
    }
}
