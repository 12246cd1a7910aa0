//! Pods: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>

use serde::Deserialize;

use super::fields::{self, Address};
use super::{Malformed, Metadata, Watched, required};
use netcause_core::enrich::objects::{Change, Kind, Pod};

/// A pod as the server sends it.
#[derive(Debug, Deserialize)]
pub struct PodObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "fields::or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "fields::or_default")]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<Box<str>>,
    #[serde(default, deserialize_with = "fields::or_default")]
    host_network: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "fields::or_default")]
    phase: Phase,
    #[serde(default, rename = "podIP")]
    pod_ip: Address,
    #[serde(default, rename = "podIPs", deserialize_with = "fields::or_default")]
    pod_ips: Vec<PodIp>,
    #[serde(default, deserialize_with = "fields::or_default")]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
enum Phase {
    Succeeded,
    Failed,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: Address,
}

#[derive(Debug, Default, Deserialize)]
struct ContainerStatus {
    #[serde(default, deserialize_with = "fields::or_default")]
    state: State,
}

#[derive(Debug, Default, Deserialize)]
struct State {
    #[serde(default, deserialize_with = "fields::or_default")]
    terminated: Terminated,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    #[serde(default, deserialize_with = "fields::seconds")]
    finished_at: Option<u64>,
}

impl Watched for PodObject {
    const KIND: Kind = Kind::Pod;
    const PATH: &'static str = "/api/v1/pods";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn change(self) -> Result<Option<Change>, Malformed> {
        Ok(Some(Change::ApplyPod(Box::new(self.pod()?))))
    }
}

impl PodObject {
    /// The fields that names need.
    ///
    /// # Errors
    ///
    /// When it has no name or no uid.
    pub fn pod(self) -> Result<Pod, Malformed> {
        let Self { mut metadata, spec, status } = self;
        required(&metadata, true)?;
        if metadata.uid.is_empty() {
            return Err(Malformed("metadata without a uid".to_owned()));
        }
        let owner = metadata.owner();
        let Metadata { uid, namespace, name, creation_timestamp, labels, annotations, .. } = metadata;
        let has_ended = matches!(status.phase, Phase::Succeeded | Phase::Failed);
        let ends = status.container_statuses.iter().filter_map(|status| status.state.terminated.finished_at);
        let ips = status.pod_ips.iter().map(|PodIp { ip }| *ip);
        Ok(Pod {
            uid,
            static_uid: annotations.config_hash.or(annotations.config_mirror),
            namespace,
            name,
            owner,
            template_hash: labels.pod_template_hash.or(labels.rollouts_pod_template_hash),
            node: spec.node_name.filter(|node| !node.is_empty()),
            is_host_network: spec.host_network,
            addresses: fields::addresses(ips.chain([status.pod_ip])),
            since: creation_timestamp,
            until: if has_ended { ends.max() } else { None },
            has_ended,
        })
    }
}
