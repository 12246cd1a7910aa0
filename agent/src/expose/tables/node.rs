//! The node: what its kernel counts beside flows. Names and conventions are node_exporter's where it has the same.

mod devices;

use std::borrow::Cow;

use netcause_core::node::growth::Counts;
use netcause_core::node::neighbours::arp;
use netcause_core::node::{Owner, View, conntrack, netstat, softnet};

use super::labels;
use super::shared::workload;
use crate::expose::series::{Family, Rows, Table, counter, gauge, info, last, sum};

static READERS: Table<bool> = Table {
    labels: &["reader"],
    sparse: false,
    metrics: &[gauge(
        "netcause_node_reader_up",
        "1 while the reader of the node works, 0 while it does not; netcause_node_reader_unavailable_info has the reason. \
         Counters of a reader that does not work stand still.",
        |is_up, to| to.value(*is_up),
    )],
};

static READERS_DOWN: Table<()> = Table {
    labels: &["reader", "reason"],
    sparse: false,
    metrics: &[info(
        "netcause_node_reader_unavailable",
        "Why a reader of the node does not work; absent while it does. reason: kernel_feature_missing, not_permitted, \
         cgroup2_not_mounted, not_in_host_pid_namespace, malformed or other. The whole reason is in the log and in \
         /api/v1/status.",
    )],
};

static SOFTNET: Table<Counts<{ softnet::Counter::COUNT }>> = Table {
    labels: &[],
    sparse: false,
    metrics: &[
        counter(
            "netcause_node_softnet_processed",
            "Packets that the CPUs of the node took from network devices and from their backlogs, since the agent started; \
             the sum over CPUs, as the other netcause_node_softnet_*.",
            |softnet, to| to.value(softnet.total[softnet::Counter::Processed as usize]),
        ),
        counter(
            "netcause_node_softnet_dropped",
            "Packets dropped because the backlog of a CPU was full (net.core.netdev_max_backlog): packets of any pod on the \
             node may be among them.",
            |softnet, to| to.value(softnet.total[softnet::Counter::Dropped as usize]),
        ),
        counter(
            "netcause_node_softnet_times_squeezed",
            "Times that a CPU ended its receive work with packets left, because its budget or time was used up \
             (net.core.netdev_budget): packets were late.",
            |softnet, to| to.value(softnet.total[softnet::Counter::Squeezed as usize]),
        ),
        counter(
            "netcause_node_softnet_flow_limit",
            "Packets dropped because a single flow filled the backlog of a CPU (net.core.flow_limit_cpu_bitmap).",
            |softnet, to| to.value(softnet.total[softnet::Counter::FlowLimited as usize]),
        ),
    ],
};

static SOFTNET_BACKLOG: Table<u64> = Table {
    labels: &[],
    sparse: false,
    metrics: &[gauge(
        "netcause_node_softnet_backlog_len",
        "Packets in the backlogs of all CPUs when they were last read. Absent before Linux 5.10.",
        |backlog, to| to.value(*backlog),
    )],
};

static PRESSURE: Table<Counts<1>> = Table {
    labels: &[],
    sparse: false,
    metrics: &[counter(
        "netcause_node_pressure_cpu_waiting_seconds",
        "Time in which at least one task of the node waited for a CPU, since the agent started (PSI, some). Latency that a \
         busy node adds looks like that of a network.",
        |waiting, to| to.value(waiting.total[0] as f64 / 1e9),
    )],
};

/// Of a network namespace; empty for the node's own.
const NAMESPACE_LABELS: [&str; 2] = ["namespace", "workload"];

static NETSTAT: Table<netstat::Counters> = Table {
    labels: &NAMESPACE_LABELS,
    sparse: true,
    metrics: &[counter(
        "netcause_node_netstat",
        "What the protocols of a network namespace counted since the agent started, by the kernel's counter, as \
         node_netstat_* of node_exporter is called: TcpExt_ListenOverflows and so on; those that say why packets or \
         connections were lost, refused or late. namespace and workload are those of the pod in it, of several pods of a \
         workload the sum; empty for the node's own network namespace, with the pods on the host network. Counters that \
         are zero are absent.",
        |counters: &netstat::Counters, to| to.by(&netstat::COUNTERS, counters),
    )
    .by("counter")],
};

static CONNTRACK: Table<conntrack::Counters> = Table {
    labels: &NAMESPACE_LABELS,
    sparse: true,
    metrics: &[counter(
        "netcause_node_nf_conntrack_stat",
        "What connection tracking of a network namespace counted since the agent started. stat: drop, packets dropped \
         because the table was full; early_drop, entries removed to make room; insert_failed, entries that could not be \
         inserted, as in a race of two packets of one flow; invalid, packets that belong to no connection; icmp_error, \
         broken ICMP errors. namespace and workload as in netcause_node_netstat_total.",
        |counters: &conntrack::Counters, to| to.by(conntrack::Counter::LABELS, counters),
    )
    .by("stat")],
};

static CONNTRACK_ENTRIES: Table<u64> = Table {
    labels: &NAMESPACE_LABELS,
    sparse: false,
    metrics: &[gauge(
        "netcause_node_nf_conntrack_entries",
        "Tracked connections of a network namespace when it was last read. Pods without any are left out. namespace and \
         workload as in netcause_node_netstat_total.",
        |entries, to| to.value(*entries),
    )],
};

static ARP_ENTRIES: Table<arp::Entries> = Table {
    labels: &NAMESPACE_LABELS,
    sparse: true,
    metrics: &[gauge(
        "netcause_node_arp_entries",
        "IPv4 neighbours of a network namespace when it was last read. state: answered, whose link address is known; \
         unanswered, which did not answer, or not yet. Namespaces without any are left out. IPv6 neighbours of pods are not seen. namespace and \
         workload as in netcause_node_netstat_total.",
        |entries: &arp::Entries, to| to.by(&arp::STATES, entries),
    )
    .by("state")],
};

static ARP_CHANGES: Table<[u64; 1]> = Table {
    labels: &NAMESPACE_LABELS,
    sparse: true,
    metrics: &[counter(
        "netcause_node_arp_link_address_changes",
        "Times that an IPv4 neighbour of a pod had another link address than at the last pass, ten minutes ago at most: an \
         address that two pods or machines have changes again and again. Those of the node itself are \
         netcause_node_neighbour_link_address_changes_total. namespace and workload as in netcause_node_netstat_total.",
        |changes: &[u64; 1], to| to.value(changes[0]),
    )],
};

static CONNTRACK_LIMIT: Table<u64> = Table {
    labels: &[],
    sparse: false,
    metrics: &[gauge(
        "netcause_node_nf_conntrack_entries_limit",
        "How many connections may be tracked in the node's own network namespace (net.netfilter.nf_conntrack_max). Where \
         it is reached, packets of new connections are dropped.",
        |limit, to| to.value(*limit),
    )],
};

static LEFT_OUT: Table<u64> = Table {
    labels: &["kind"],
    sparse: false,
    metrics: &[gauge(
        "netcause_node_left_out",
        "What the readers of the node left out of their metrics at the last pass, by kind. netstat_namespaces and \
         conntrack_namespaces: network namespaces above the limit of 1024, or that could not be read; devices: cables of pods \
         and devices above the limit of 64, which are added up; neighbours: those above the limit of 16384.",
        |count, to| to.value(*count),
    )],
};

pub(super) fn families(node: &View) -> impl Iterator<Item = Family<'_>> {
    let readers = || node.readers.iter();
    let up = readers().map(|(reader, failure)| (labels![reader.label()], failure.is_none()));
    let down = readers().filter_map(|(reader, failure)| {
        Some((labels![reader.label(), failure.as_ref()?.reason.label()], ()))
    });
    READERS
        .families(&Rows::new(up, last))
        .chain(READERS_DOWN.families(&Rows::new(down, last)))
        .chain(SOFTNET.families(&one(node.softnet)))
        .chain(SOFTNET_BACKLOG.families(&one(node.softnet_backlog)))
        .chain(PRESSURE.families(&one(node.cpu_waiting_nanoseconds)))
        .chain(
            NETSTAT.families(&owned(node.netstat.iter().map(|(owner, counts)| (owner, counts.total)), add)),
        )
        .chain(
            CONNTRACK
                .families(&owned(node.conntrack.iter().map(|(owner, counts)| (owner, counts.total)), add)),
        )
        .chain(
            CONNTRACK_ENTRIES.families(&owned(
                node.conntrack_entries.iter().map(|(owner, entries)| (owner, *entries)),
                sum,
            )),
        )
        .chain(CONNTRACK_LIMIT.families(&one(node.conntrack_limit)))
        .chain(devices::families(node))
        .chain(
            ARP_ENTRIES
                .families(&owned(node.arp_entries.iter().map(|(owner, entries)| (owner, *entries)), add)),
        )
        .chain(
            ARP_CHANGES
                .families(&owned(node.arp_changes.iter().map(|(owner, counts)| (owner, counts.total)), add)),
        )
        .chain(
            LEFT_OUT.families(&Rows::new(
                node.left_out.iter().map(|(kind, count)| (labels![*kind], *count)),
                last,
            )),
        )
}

/// Rows by the workload of a network namespace.
fn owned<'a, D>(rows: impl Iterator<Item = (&'a Owner, D)>, merge: impl Fn(&mut D, D)) -> Rows<'a, D> {
    let labels = |owner: &'a Owner| -> Vec<Cow<'a, str>> {
        match owner {
            Some(owner) => labels![owner.namespace(), workload(owner)],
            None => labels!["", ""],
        }
    };
    Rows::new(rows.map(|(owner, data)| (labels(owner), data)), merge)
}

fn add<const N: usize>(row: &mut [u64; N], other: [u64; N]) {
    row.iter_mut().zip(other).for_each(|(row, other)| sum(row, other));
}

/// The one row, if there is any.
fn one<'a, D>(data: Option<D>) -> Rows<'a, D> {
    Rows::new(data.map(|data| (Vec::new(), data)), last)
}
