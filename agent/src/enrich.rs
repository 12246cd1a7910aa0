//! Names for what the kernel knows by number and address.

pub mod cgroup;
pub mod resolved;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use netcause_common::flow::LOCAL_IS_NAMESPACE;

use cgroup::Cgroups;

/// What an end of an edge is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Workload {
    /// By the cgroup of its sockets.
    Named(Arc<str>),
    /// By the network namespace's inode number: no socket was concerned, or it has no cgroup.
    Namespace(u64),
    /// By a cgroup id whose directory is not to be found.
    Cgroup(u64),
    /// By its address.
    Address(IpAddr),
    /// Clients from outside the known networks.
    External,
    /// All clients of a DNS server.
    Any,
    /// A peer that the kernel does not tell.
    Unknown,
    /// All that found no room of its own.
    Other,
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => formatter.write_str(name),
            Self::Namespace(inode) => write!(formatter, "netns:{inode}"),
            Self::Cgroup(id) => write!(formatter, "cgroup:{id}"),
            Self::Address(address) => address.fmt(formatter),
            Self::External => formatter.write_str("external"),
            Self::Any => formatter.write_str("any"),
            Self::Unknown => formatter.write_str("unknown"),
            Self::Other => formatter.write_str("other"),
        }
    }
}

/// Where names come from.
pub struct Names {
    cgroups: Cgroups,
}

impl Names {
    /// From this node's cgroups.
    #[must_use]
    pub fn new(cgroups: Cgroups) -> Self {
        Self { cgroups }
    }

    /// The local end, from [`netcause_common::flow::FlowKey::local`].
    pub fn local(&mut self, local: u64) -> Workload {
        match local {
            0 => Workload::Other,
            local if local & LOCAL_IS_NAMESPACE != 0 => Workload::Namespace(local & !LOCAL_IS_NAMESPACE),
            id => self.cgroups.name(id).map_or(Workload::Cgroup(id), Workload::Named),
        }
    }

    /// Finds the names that were asked for too early; to be called a few times in a second.
    pub fn catch_up(&mut self) {
        self.cgroups.catch_up();
    }

    /// Forgets the names of all local ends but these.
    pub fn retain(&mut self, in_use: &HashSet<u64>) {
        self.cgroups.retain(|id| in_use.contains(&id));
    }
}
