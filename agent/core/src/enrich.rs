//! Resolves the ids and addresses of flows to names of workloads and services.

pub mod cgroup;
pub mod conntrack;
pub mod directory;
pub mod extra;
pub mod name;
pub mod names;
pub mod networks;
pub mod objects;
mod outside;
mod peers;
pub mod policy;
pub mod resolved;
pub mod sidecar;
pub mod uid;

use std::fmt;
use std::net::IpAddr;

use name::Name;
#[cfg(test)]
pub use names::testing;
pub use names::{Names, Options, PeerNode, Remote};
use serde::{Deserialize, Serialize};
use uid::PodUid;

/// The name of one end of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Workload {
    /// A name: a Kubernetes workload or node, a systemd unit, a container, a named external network, or the DNS name that an
    /// external address was resolved from.
    Named(Name),
    /// A pod that is in no source of names (yet), by its uid.
    Pod(PodUid),
    /// A network namespace, by its inode number: the packet had no socket, or the socket has no cgroup.
    Namespace(u64),
    /// A cgroup, by its id: its directory was not found.
    Cgroup(u64),
    /// An IP address without a name.
    Address(IpAddr),
    /// The backend of a service while it is not known which one.
    Backend,
    /// A service with backends of several workloads; the client's side does not see which one answers.
    Several,
    /// Any address outside the known networks.
    External,
    /// All clients of a DNS server.
    Any,
    /// A peer whose address the kernel does not report.
    Unknown,
    /// Everything that exceeded a limit and is counted together.
    Other,
}

impl Workload {
    /// The workload with this name. A name that reads like another variant becomes that variant, so that equal
    /// texts are equal workloads.
    #[must_use]
    pub fn named(name: Name) -> Self {
        if !name.namespace().is_empty() {
            return Self::Named(name);
        }
        match name.workload() {
            "several" => Self::Several,
            "external" => Self::External,
            "any" => Self::Any,
            "unknown" => Self::Unknown,
            "other" => Self::Other,
            text => Self::numbered(text).unwrap_or(Self::Named(name)),
        }
    }

    /// Parses the text of a variant with an id or an address.
    fn numbered(text: &str) -> Option<Self> {
        let end = match text.split_once(':') {
            Some(("pod", uid)) => uid.parse().ok().map(Self::Pod),
            Some(("netns", inode)) => inode.parse().ok().map(Self::Namespace),
            Some(("cgroup", id)) => id.parse().ok().map(Self::Cgroup),
            _ => None,
        };
        end.or_else(|| text.parse().ok().map(Self::Address))
    }

    /// A workload without a namespace.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self::named(Name::new("", name))
    }

    /// The namespace; empty if there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Named(name) => name.namespace(),
            _ => "",
        }
    }

    /// True if a name may become known later.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        matches!(self, Self::Pod(_) | Self::Cgroup(_) | Self::Namespace(_) | Self::Address(_) | Self::Backend)
    }
}

/// The value of the workload labels, without the namespace.
impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => formatter.write_str(name.workload()),
            Self::Pod(uid) => write!(formatter, "pod:{uid}"),
            Self::Namespace(inode) => write!(formatter, "netns:{inode}"),
            Self::Cgroup(id) => write!(formatter, "cgroup:{id}"),
            Self::Address(address) => address.fmt(formatter),
            Self::Several => formatter.write_str("several"),
            Self::External => formatter.write_str("external"),
            Self::Any => formatter.write_str("any"),
            Self::Backend | Self::Unknown => formatter.write_str("unknown"),
            Self::Other => formatter.write_str("other"),
        }
    }
}
