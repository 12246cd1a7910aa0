//! Objects of the Kubernetes API with only the fields that names need: the others are skipped by the parser and never
//! held in memory.

mod fields;
mod others;
mod pod;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use netcause_core::enrich::objects::{Change, Kind, Owner};
pub use others::{NodeObject, ServiceObject, SliceObject};
pub use pod::PodObject;

/// A kind that is listed and watched.
pub trait Watched: DeserializeOwned + Send {
    /// The kind.
    const KIND: Kind;
    /// The path of the list of all namespaces.
    const PATH: &'static str;

    /// Its metadata.
    fn metadata(&self) -> &Metadata;

    /// The update to publish; `None` when names do not need it.
    ///
    /// # Errors
    ///
    /// When it lacks what every such object has.
    fn change(self) -> Result<Option<Change>, Malformed>;
}

/// An object that is not what the API promises; it is skipped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl From<serde_json::Error> for Malformed {
    /// Says where, and does not quote: objects have secrets in them.
    fn from(error: serde_json::Error) -> Self {
        Self(format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column()))
    }
}

/// `metadata`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique in space and time.
    #[serde(default)]
    pub uid: Box<str>,
    /// Empty of nodes.
    #[serde(default)]
    pub namespace: Box<str>,
    /// Unique in its namespace at one time.
    #[serde(default)]
    pub name: Box<str>,
    /// The version to watch from.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub resource_version: Box<str>,
    #[serde(default, deserialize_with = "fields::seconds")]
    creation_timestamp: Option<u64>,
    #[serde(default, deserialize_with = "fields::or_default")]
    owner_references: Vec<OwnerReference>,
    #[serde(default, deserialize_with = "fields::or_default")]
    labels: Labels,
    #[serde(default, deserialize_with = "fields::or_default")]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    #[serde(rename = "pod-template-hash")]
    pod_template_hash: Option<Box<str>>,
    #[serde(rename = "rollouts-pod-template-hash")]
    rollouts_pod_template_hash: Option<Box<str>>,
    #[serde(rename = "kubernetes.io/service-name")]
    service_name: Option<Box<str>>,
    #[serde(rename = "topology.kubernetes.io/zone")]
    zone: Option<Box<str>>,
    /// Of nodes before Kubernetes 1.17.
    #[serde(rename = "failure-domain.beta.kubernetes.io/zone")]
    old_zone: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.hash")]
    config_hash: Option<Box<str>>,
    #[serde(rename = "kubernetes.io/config.mirror")]
    config_mirror: Option<Box<str>>,
    /// `k8s.io/initial-events-end`: the end of a streaming list.
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    api_version: Box<str>,
    kind: Box<str>,
    name: Box<str>,
    #[serde(default, deserialize_with = "fields::or_default")]
    controller: bool,
}

/// An object's metadata alone.
#[derive(Debug, Default, Deserialize)]
pub struct OnlyMetadata {
    /// Its metadata.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub metadata: Metadata,
}

impl Metadata {
    /// The key of the object in [`Change::Delete`], if its fields are there.
    #[must_use]
    pub fn key(&self, kind: Kind) -> Option<Box<str>> {
        match kind {
            Kind::Pod => (!self.uid.is_empty()).then(|| self.uid.clone()),
            Kind::Node => (!self.name.is_empty()).then(|| self.name.clone()),
            Kind::Service | Kind::EndpointSlice => (!self.namespace.is_empty() && !self.name.is_empty())
                .then(|| format!("{}/{}", self.namespace, self.name).into()),
        }
    }

    /// The controller, or the only owner.
    #[must_use]
    pub fn owner(&mut self) -> Option<Owner> {
        let at = match self.owner_references.iter().position(|owner| owner.controller) {
            Some(at) => at,
            None if self.owner_references.len() == 1 => 0,
            None => return None,
        };
        let OwnerReference { api_version, kind, name, .. } = self.owner_references.swap_remove(at);
        Some(Owner { kind, name, api_version })
    }

    /// Whether this is the bookmark that ends a streaming list.
    #[must_use]
    pub fn ends_list(&self) -> bool {
        self.annotations.initial_events_end.as_deref() == Some("true")
    }
}

fn required(what: &Metadata, has_namespace: bool) -> Result<(), Malformed> {
    if what.name.is_empty() || (has_namespace && what.namespace.is_empty()) {
        return Err(Malformed("metadata without a name".to_owned()));
    }
    Ok(())
}
