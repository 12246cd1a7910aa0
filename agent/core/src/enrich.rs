//! Names for what the kernel knows by number and address.

pub mod cgroup;
pub mod conntrack;
pub mod directory;
pub mod extra;
pub mod name;
pub mod names;
pub mod networks;
pub mod objects;
mod outside;
pub mod policy;
pub mod resolved;
pub mod sidecar;
pub mod uid;

use std::fmt;
use std::net::IpAddr;

use name::Name;
#[cfg(test)]
pub use names::testing;
pub use names::{Names, Options, Remote};
use uid::PodUid;

/// What an end of an edge is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Workload {
    /// The workload it belongs to: of Kubernetes, or a systemd unit, a container, a node, a network outside, a name that an
    /// outside address was resolved from.
    Named(Name),
    /// A pod that no source of names has told of, by its uid.
    Pod(PodUid),
    /// By the network namespace's inode number: no socket was concerned, or it has no cgroup.
    Namespace(u64),
    /// By a cgroup id whose directory is not to be found.
    Cgroup(u64),
    /// By its address.
    Address(IpAddr),
    /// What stands behind a service, as long as that is not known.
    Backend,
    /// Several workloads stand behind a service, and this end does not see which one answers.
    Several,
    /// What is outside the known networks.
    External,
    /// All clients of a DNS server.
    Any,
    /// A peer that the kernel does not tell.
    Unknown,
    /// All that found no room of its own.
    Other,
}

impl Workload {
    /// What has this name. A name that would be shown as one of the others here is that one: no two ends look alike.
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

    /// What is shown so of that which has no name.
    fn numbered(text: &str) -> Option<Self> {
        let end = match text.split_once(':') {
            Some(("pod", uid)) => uid.parse().ok().map(Self::Pod),
            Some(("netns", inode)) => inode.parse().ok().map(Self::Namespace),
            Some(("cgroup", id)) => id.parse().ok().map(Self::Cgroup),
            _ => None,
        };
        end.or_else(|| text.parse().ok().map(Self::Address))
    }

    /// A workload of no namespace.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self::named(Name::new("", name))
    }

    /// The namespace it is in; empty where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Named(name) => name.namespace(),
            _ => "",
        }
    }

    /// True for what may have a name that is not known yet.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        matches!(self, Self::Pod(_) | Self::Cgroup(_) | Self::Address(_) | Self::Backend)
    }
}

/// Without the namespace.
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
