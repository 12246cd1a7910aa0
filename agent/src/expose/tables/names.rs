//! Sources of names and what they know.

use super::labels;
use crate::expose::series::{Family, Rows, Table, counter, gauge, info, last, sum};
use crate::expose::snapshot::{NamesView, SourceRow};

static SOURCES: Table<SourceRow> = Table {
    labels: &["source", "kind"],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_names_source_up",
            "1 while a source of names works; 0 while it does not, when what it said before is still used. source: api, \
             kubelet, file or, once it was queried, conntrack; kind: the kind of object. \
             netcause_names_source_unavailable_info has the reason.",
            |source: &SourceRow, to| to.value(source.down.is_none()),
        ),
        gauge(
            "netcause_names_source_age_seconds",
            "Time since the last contact with a source of names: an object, a bookmark or an empty response. Absent \
             before the first.",
            |source: &SourceRow, to| {
                if let Some(age) = source.age {
                    to.value(age.as_secs_f64());
                }
            },
        ),
    ],
};

static SOURCES_DOWN: Table<()> = Table {
    labels: &["source", "kind", "reason"],
    sparse: false,
    metrics: &[info(
        "netcause_names_source_unavailable",
        "Why a source of names does not work, by the reasons of netcause_names_source_failures_total; absent while it \
         does. The whole reason is in the log and in /api/v1/status.",
    )],
};

static FAILURES: Table<u64> = Table {
    labels: &["source", "kind", "reason"],
    sparse: false,
    metrics: &[counter(
        "netcause_names_source_failures",
        "Failures of a source of names, by reason. Each is followed by a retry with increasing delay.",
        |count, to| to.value(*count),
    )],
};

static OBJECTS: Table<u64> = Table {
    labels: &["kind"],
    sparse: false,
    metrics: &[gauge(
        "netcause_names_objects",
        "Objects that names come from, now: pods, services, endpoint slices, nodes, addresses, workloads; cgroups, those \
         whose directory was not found (cgroup_not_found), directories at the last walk of the cgroup tree; \
         queries to the connection tracking (conntrack_query); flows whose other end may be in their network namespace \
         (local_flow).",
        |count, to| to.value(*count),
    )],
};

static DROPPED: Table<u64> = Table {
    labels: &["kind"],
    sparse: false,
    metrics: &[counter(
        "netcause_names_objects_dropped",
        "Objects dropped because a limit was reached; what they describe may stay without a name.",
        |count: &u64, to| to.value(*count),
    )
    .lost("objects that names come from, beyond a limit")],
};

static WALKS: Table<u64> = Table {
    labels: &["outcome"],
    sparse: false,
    metrics: &[counter(
        "netcause_cgroup_walks",
        "Walks of the cgroup tree: complete, or cut short by the limits of directories and depth.",
        |count: &u64, to| to.value(*count),
    )
    .lost_as("cut_short", "walks of the cgroup tree cut short by a limit")],
};

static LOOKUPS: Table<u64> = Table {
    labels: &["outcome"],
    sparse: false,
    metrics: &[counter(
        "netcause_conntrack_lookups",
        "Lookups of the backend of a service in the connection tracking of the kernel: found, none, failed, or delayed \
         by the rate limit.",
        |count, to| to.value(*count),
    )],
};

static NAMES: Table<NamesView> = Table {
    labels: &[],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_external_names",
            "DNS names shown in place of external addresses, because a workload resolved them; further ones are external.",
            |names: &NamesView, to| to.value(names.external.0),
        ),
        gauge(
            "netcause_external_names_limit",
            "Maximum number of DNS names shown in place of external addresses (max_external_names).",
            |names, to| to.value(names.external.1),
        ),
    ],
};

static ZONES: Table<()> = Table {
    labels: &["node", "zone"],
    sparse: false,
    metrics: &[gauge(
        "netcause_names_node_zone",
        "1 for each node that is an end of an edge here and whose zone is known: node equals source_workload or \
         destination_workload of that edge.",
        |(), to| to.value(true),
    )],
};

pub(super) fn families(names: &NamesView) -> impl Iterator<Item = Family<'_>> {
    let sources = || names.sources.iter();
    let up = Rows::new(sources().map(|row| (labels![row.source, row.kind], row)), last);
    let down = sources().filter_map(|row| {
        let down = row.down.as_ref()?;
        Some((labels![row.source, row.kind, down.reason], ()))
    });
    let failures = sources().flat_map(|row| {
        row.failures.iter().map(|(reason, count)| (labels![row.source, row.kind, *reason], *count))
    });
    let zones = names.zones.iter().map(|(node, zone)| (labels![node.as_str(), zone.as_str()], ()));
    SOURCES
        .families(&up)
        .chain(SOURCES_DOWN.families(&Rows::new(down, last)))
        .chain(FAILURES.families(&Rows::new(failures, sum)))
        .chain(OBJECTS.families(&counts(&names.objects)))
        .chain(DROPPED.families(&counts(&names.dropped)))
        .chain(WALKS.families(&counts(&names.cgroup_walks)))
        .chain(LOOKUPS.families(&counts(&names.conntrack)))
        .chain(NAMES.families(&Rows::single(names)))
        .chain(ZONES.families(&Rows::new(zones, last)))
}

/// One row per name.
fn counts(counts: &[(&'static str, u64)]) -> Rows<'static, u64> {
    Rows::new(counts.iter().map(|(name, count)| (labels![*name], *count)), sum)
}
