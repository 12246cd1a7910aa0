//! Network devices, the queues before them, neighbours, and what changes.

use std::borrow::Cow;

use netcause_core::node::View;
use netcause_core::node::changes::{Change, Changes};
use netcause_core::node::links::{Counter, DeviceState, QdiscCounter, Queue};
use netcause_core::node::neighbours::{self, Table as NeighbourTable};

use super::{add, one};
use crate::expose::series::{Entry, Family, Rows, Samples, Table, counter, gauge, last, sum};
use crate::expose::tables::labels;

type Counters = [u64; Counter::COUNT];

const fn of_link(
    name: &'static str,
    help: &'static str,
    read: fn(&Counters, &mut Samples<'_>),
) -> Entry<Counters> {
    counter(name, help, read)
}

static LINKS: Table<Counters> = Table {
    labels: &["device"],
    sparse: true,
    metrics: &[
        of_link(
            "netcause_node_network_receive_packets",
            "Packets that a network device of the node received since the agent started, as the other counters of devices. \
             device is empty for the cables of all pods together (veth into another network namespace), and for devices \
             above the limit of 64. Counters that are zero are absent.",
            |link, to| to.value(link[Counter::ReceivePackets as usize]),
        ),
        of_link(
            "netcause_node_network_transmit_packets",
            "Packets that a network device transmitted.",
            |link, to| to.value(link[Counter::TransmitPackets as usize]),
        ),
        of_link(
            "netcause_node_network_receive_errs",
            "Bad packets that a network device received: checksums, lengths, frames.",
            |link, to| to.value(link[Counter::ReceiveErrors as usize]),
        ),
        of_link(
            "netcause_node_network_transmit_errs",
            "Packets that a network device could not transmit because of an error.",
            |link, to| to.value(link[Counter::TransmitErrors as usize]),
        ),
        of_link(
            "netcause_node_network_receive_drop",
            "Packets that a network device received and the kernel dropped: no memory, or of a protocol that nothing handles.",
            |link, to| to.value(link[Counter::ReceiveDropped as usize]),
        ),
        of_link(
            "netcause_node_network_transmit_drop",
            "Packets dropped on their way to a network device; those of queueing disciplines as a rule are not among them \
             (netcause_node_qdisc_drops_total).",
            |link, to| to.value(link[Counter::TransmitDropped as usize]),
        ),
        of_link(
            "netcause_node_network_receive_missed",
            "Packets that a network device had no buffer for (rx_missed_errors): the node did not fetch them in time.",
            |link, to| to.value(link[Counter::ReceiveMissed as usize]),
        ),
        of_link(
            "netcause_node_network_carrier_up_changes",
            "Times that a network device came to have a carrier.",
            |link, to| to.value(link[Counter::CarrierUp as usize]),
        ),
        of_link(
            "netcause_node_network_carrier_down_changes",
            "Times that a network device lost its carrier.",
            |link, to| to.value(link[Counter::CarrierDown as usize]),
        ),
    ],
};

static DEVICES: Table<DeviceState> = Table {
    labels: &["device"],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_node_network_up",
            "1 while a network device of the node is up and has a carrier, else 0. Cables of pods and devices above the \
             limit of 64 are left out.",
            |device: &DeviceState, to| to.value(device.is_up),
        ),
        gauge(
            "netcause_node_network_mtu_bytes",
            "The largest packet that a network device of the node takes.",
            |device, to| to.value(u64::from(device.mtu)),
        ),
    ],
};

static QDISCS: Table<[u64; QdiscCounter::COUNT]> = Table {
    labels: &["device", "kind"],
    sparse: true,
    metrics: &[
        counter(
            "netcause_node_qdisc_drops",
            "Packets that the queueing discipline at the root or the ingress of a network device dropped since the agent \
             started, those below it included: a shaper's limit, a full queue, a filter. device as in \
             netcause_node_network_receive_packets_total; kind as in tc(8). Counters that are zero are absent.",
            |qdisc: &[u64; QdiscCounter::COUNT], to| to.value(qdisc[QdiscCounter::Drops as usize]),
        ),
        counter(
            "netcause_node_qdisc_overlimits",
            "Times that the queueing discipline of a network device held packets back because a rate was exceeded.",
            |qdisc, to| to.value(qdisc[QdiscCounter::Overlimits as usize]),
        ),
        counter(
            "netcause_node_qdisc_requeues",
            "Packets of a queueing discipline that its network device did not take at the first time.",
            |qdisc, to| to.value(qdisc[QdiscCounter::Requeues as usize]),
        ),
    ],
};

static QUEUES: Table<[u64; 2]> = Table {
    labels: &["device", "kind"],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_node_qdisc_backlog_bytes",
            "Bytes that waited in the queueing discipline of a network device when it was last read.",
            |queue: &[u64; 2], to| to.value(queue[0]),
        ),
        gauge(
            "netcause_node_qdisc_current_queue_length",
            "Packets that waited in the queueing discipline of a network device when it was last read.",
            |queue, to| to.value(queue[1]),
        ),
    ],
};

static NEIGHBOUR_COUNTS: Table<[u64; neighbours::Counter::COUNT]> = Table {
    labels: &["table"],
    sparse: false,
    metrics: &[
        counter(
            "netcause_node_neighbour_resolution_failures",
            "Addresses whose link address nobody answered with, in all network namespaces of the node, since the agent \
             started. table: arp_cache for IPv4, ndisc_cache for IPv6.",
            |counts: &[u64; neighbours::Counter::COUNT], to| {
                to.value(counts[neighbours::Counter::ResolutionFailed as usize]);
            },
        ),
        counter(
            "netcause_node_neighbour_forced_gc_runs",
            "Times that the kernel removed neighbours because their table had more than gc_thresh2 entries.",
            |counts, to| to.value(counts[neighbours::Counter::ForcedGcRuns as usize]),
        ),
        counter(
            "netcause_node_neighbour_table_fulls",
            "Times that a neighbour found no place because their table had gc_thresh3 entries: the packet was dropped.",
            |counts, to| to.value(counts[neighbours::Counter::TableFulls as usize]),
        ),
    ],
};

static NEIGHBOUR_SIZES: Table<NeighbourTable> = Table {
    labels: &["table"],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_node_neighbour_entries",
            "Neighbours in a table of the kernel now, of all network namespaces, with those that are never removed.",
            |table: &NeighbourTable, to| to.value(table.entries),
        ),
        gauge(
            "netcause_node_neighbour_limit",
            "Where a table of neighbours has no room for another one (gc_thresh3). Entries that are never removed do not \
             count there.",
            |table, to| to.value(table.thresholds[2]),
        ),
    ],
};

static MOVES: Table<u64> = Table {
    labels: &[],
    sparse: false,
    metrics: &[counter(
        "netcause_node_neighbour_link_address_changes",
        "Times that a neighbour of the node had another link address than at the last pass, ten minutes ago at most. An \
         address that two machines have changes again and again; one that moves (a failover) changes once. Those of \
         pods are netcause_node_arp_link_address_changes_total.",
        |moves, to| to.value(*moves),
    )],
};

static CHANGES: Table<Changes> = Table {
    labels: &[],
    sparse: false,
    metrics: &[counter(
        "netcause_node_configuration_changes",
        "Changes of the routes and addresses of the node's own network namespace since the agent started. change: \
         route_added (or replaced), route_removed, address_added (or its flags changed), address_removed; lost: times that \
         further ones were lost because too many came at once.",
        |changes: &Changes, to| to.by(Change::LABELS, changes),
    )
    .by("change")],
};

pub(super) fn families(node: &View) -> impl Iterator<Item = Family<'_>> {
    let links = node.links.iter().map(|(device, counts)| (named(device), counts.total));
    let devices = node.devices.iter().map(|state| (named(&state.device), state));
    let qdiscs = node
        .qdiscs
        .iter()
        .map(|((device, kind), counts)| (labels![device.as_str(), kind.as_str()], counts.total));
    let queue = |queue: &'_ Queue| [queue.bytes, queue.packets];
    let queues =
        node.queues.iter().map(move |row| (labels![row.device.as_str(), row.kind.as_str()], queue(row)));
    let counts = node.neighbour_tables.iter().map(|(table, counts)| (named(table), counts.total));
    let sizes = node.neighbour_sizes.iter().map(|table| (named(&table.name), table));
    LINKS
        .families(&Rows::new(links, add))
        .chain(DEVICES.families(&Rows::new(devices, last)))
        .chain(QDISCS.families(&Rows::new(qdiscs, add)))
        .chain(QUEUES.families(&Rows::new(queues, add)))
        .chain(NEIGHBOUR_COUNTS.families(&Rows::new(counts, add)))
        .chain(NEIGHBOUR_SIZES.families(&Rows::new(sizes, last)))
        .chain(MOVES.families(&Rows::new(node.neighbour_moves.map(|moves| (Vec::new(), moves)), sum)))
        .chain(CHANGES.families(&one(node.changes.map(|changes| changes.total))))
}

fn named(name: &str) -> Vec<Cow<'_, str>> {
    labels![name]
}
