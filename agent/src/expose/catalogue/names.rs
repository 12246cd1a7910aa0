//! Where names come from, and how well.

use super::{Kind, Metric, own};

/// Readiness.
pub const NAMES_SOURCE_UP: Metric = own(
    "netcause_names_source_up",
    Kind::Gauge,
    &["source", "kind", "reason"],
    "1 while a source of names says what it knows; 0 when it does not, with the reason: what it said before is still used. \
     source: api, kubelet, file or, when it was asked, conntrack; kind: the kind of object.",
);
/// Staleness.
pub const NAMES_SOURCE_AGE: Metric = own(
    "netcause_names_source_age_seconds",
    Kind::Gauge,
    &["source", "kind"],
    "Time since a source of names last said anything, a sign of life included.",
);
/// Failures.
pub const NAMES_SOURCE_FAILURES: Metric = own(
    "netcause_names_source_failures",
    Kind::Counter,
    &["source", "kind", "reason"],
    "Failures of a source of names, by reason. Each is tried again, later and later.",
);
/// Objects.
pub const NAMES_OBJECTS: Metric = own(
    "netcause_names_objects",
    Kind::Gauge,
    &["kind"],
    "What is known now that names come from: pods, services, endpoint slices, nodes, addresses, names; cgroups, those \
     without a place (missed_cgroup), directories at the last look at their tree; questions to the connection tracking.",
);
/// Objects that found no room.
pub const NAMES_OBJECTS_DROPPED: Metric = own(
    "netcause_names_objects_dropped",
    Kind::Counter,
    &["kind"],
    "Objects that found no room, so that what they are about may go without a name.",
);
/// Places of cgroups.
pub const CGROUP_WALKS: Metric = own(
    "netcause_cgroup_walks",
    Kind::Counter,
    &["outcome"],
    "Times the tree of cgroups was looked through: whole, or cut because there are more directories, or deeper ones, than \
     are looked at.",
);
/// Backends.
pub const CONNTRACK_LOOKUPS: Metric = own(
    "netcause_conntrack_lookups",
    Kind::Counter,
    &["outcome"],
    "Times the kernel's connection tracking was asked what stands behind a service, or should have been: found, none, \
     limited (asked later), failed.",
);
/// Outside names.
pub const OUTSIDE_NAMES: Metric = own(
    "netcause_outside_names",
    Kind::Gauge,
    &[],
    "Names that outside addresses are shown by because a workload resolved them; further ones are external.",
);
/// Their limit.
pub const OUTSIDE_NAMES_LIMIT: Metric = own(
    "netcause_outside_names_limit",
    Kind::Gauge,
    &[],
    "Names that outside addresses may be shown by (max_outside_names).",
);
/// Zones.
pub const NAMES_NODE_ZONE: Metric = own(
    "netcause_names_node_zone",
    Kind::Gauge,
    &["node", "zone"],
    "1 for each node that is an end of an edge here and whose zone is known: node is that edge's source_workload or \
     destination_workload.",
);
