//! The node: what its kernel counts beside flows. Names and conventions are node_exporter's where it has the same.

use netcause_core::node::growth::Counts;
use netcause_core::node::{View, softnet};

use super::labels;
use crate::expose::series::{Family, Rows, Table, counter, gauge, info, last};

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
}

/// The one row, if there is any.
fn one<'a, D>(data: Option<D>) -> Rows<'a, D> {
    Rows::new(data.map(|data| (Vec::new(), data)), last)
}
