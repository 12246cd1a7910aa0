//! Settings with a fixed list of values.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use netcause_core::diagnose::cause::Family;
use netcause_core::enrich::policy::DnsNames;
use serde::{Deserialize, Serialize};

/// What is counted of connections that were open before the agent started.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum PreexistingConnections {
    /// What the connection carries after the agent started.
    SinceStart,
    /// Everything since the connection was opened.
    Lifetime,
}

/// Where the names of pods and services come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kubernetes {
    /// The API server if there is a service account or a kubeconfig; otherwise off.
    Auto,
    /// The API server.
    Api,
    /// The kubelet of this node: the pods of this node only.
    Kubelet,
    /// No names from Kubernetes.
    Off,
}

/// Which pods are watched.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesPods {
    /// All pods of the cluster.
    All,
    /// The pods of this node, and their peers, looked up one by one.
    Node,
}

/// Which nodes are known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesNodes {
    /// All where all pods are watched; otherwise this node and its peers, looked up one by one.
    Auto,
    /// All nodes of the cluster.
    All,
    /// None.
    None,
}

/// What is sent by OTLP.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OtlpSignal {
    /// Everything that `/metrics` has.
    Metrics,
    /// What happens to findings, as log records.
    Findings,
}

/// Reads [`DnsNames`], whose crate knows nothing of command lines, and lists its values in the help.
pub fn dns_names() -> impl TypedValueParser<Value = DnsNames> {
    PossibleValuesParser::new(["shown", "hashed", "off"]).try_map(|text| text.parse::<DnsNames>())
}

/// Reads a [`Family`] likewise.
pub fn finding_family() -> impl TypedValueParser<Value = Family> {
    PossibleValuesParser::new(Family::ALL.map(|(name, _)| name)).try_map(|text| text.parse::<Family>())
}
