//! Which nodes and pairs of nodes lose packets, and what nodes themselves say about it.

use super::{
    page::{Page, Row, Variable},
    panel::{Kind, Panel, Unit},
    query::{explaining, explaining_zones, node, quantile, rate, share, sum_rate, top, worst},
};

/// Tail loss probes are normal on healthy links; handshakes that are sent again may be the server's queue.
const LOST: &str = r#",kind!~"tail_loss_probe|syn|synack""#;

pub(super) fn page() -> Page {
    Page {
        uid: "netcause-nodes",
        title: "Netcause / Nodes",
        description: "Loss and round-trip times from node to node, and what the kernel of each node says. The scrape has to add the label node.",
        variables: vec![Variable::values(
            "node",
            "Node",
            "The label node of the scrape; “All” selects agents without it, too.",
            (r#"netcause_build_info{cluster=~"$cluster"}"#, "node"),
        )],
        rows: vec![
            Row { title: "What explains loss", panels: explained() },
            Row { title: "From node to node", panels: pairs() },
            Row { title: "Receiving and queues", panels: queues() },
            Row { title: "Tables of the kernel, routes and neighbours", panels: tables() },
        ],
    }
}

/// A metric of nodes, with further matchers.
fn with(metric: &str, more: &str) -> String {
    node(metric).replace('}', &format!("{more}}}"))
}

fn pairs() -> Vec<Panel> {
    let (again, sent) = (
        with("netcause_peer_node_tcp_retransmitted_segments_total", LOST),
        node("netcause_peer_node_tcp_sent_segments_total"),
    );
    let matrix = Kind::Matrix { row: "node", column: "peer_node" };
    vec![
        Panel::new(
            matrix,
            "Loss, node by node",
            Unit::Share,
            "The share of its TCP segments that the node of the row sent again to the node of the column. A row that is red is a node that \
             sends badly, a column one that receives badly, one cell the path between two. The 500 worst cells: choose nodes for others.",
        )
        .nothing("Nothing was sent again, or no other node is known")
        .query("", format!("topk(500, {})", share("node, peer_node", &again, &sent)))
        .limits(0.002, 0.01)
        .size(24, 16),
        Panel::new(
            matrix,
            "Round-trip time, node by node",
            Unit::Seconds,
            "Median of the smoothed round-trip times of TCP connections between the pods of two nodes, as the node of the row measured them. The 500 longest: choose nodes for others.",
        )
        .nothing("No other node is known")
        .query(
            "",
            format!("topk(500, {})", quantile(0.5, "node, peer_node", &node("netcause_peer_node_tcp_rtt_seconds"))),
        )
        .limits(0.01, 0.1)
        .size(24, 10),
        Panel::lines(
            "Loss: worst pairs",
            Unit::Share,
            "The share of TCP segments sent again from one node to another, the ten worst pairs.",
        )
        .nothing("Nothing was sent again")
        .long_names()
        .query("{{node}} → {{peer_node}}", worst(&share("node, peer_node", &again, &sent))),
        Panel::lines(
            "Failed connects: worst pairs",
            Unit::ConnectionsPerSecond,
            "Connection attempts without an answer, or to what cannot be reached, from one node to another, the ten worst pairs.",
        )
        .nothing("No connect has failed")
        .long_names()
        .query(
            "{{node}} → {{peer_node}} {{reason}}",
            worst(&sum_rate(
                "node, peer_node, reason",
                &with("netcause_peer_node_tcp_connect_failures_total", ",reason=~\"timed_out|unreachable\""),
            )),
        ),
        Panel::lines(
            "Loss: from node to zone",
            Unit::Share,
            "The share of TCP segments sent again from each node to each zone of other nodes, the ten worst.",
        )
        .nothing("Nothing was sent again, or nodes have no zones")
        .long_names()
        .size(24, 8)
        .query("{{node}} → {{peer_zone}}", worst(&share("node, peer_zone", &again, &sent))),
    ]
}

fn explained() -> Vec<Panel> {
    vec![
        Panel::explained(
            "Zones that explain loss",
            "Nearly all pairs of nodes from or to the zone lose, or from one zone to another, and others do not. The recording rules of deploy/prometheus have to be \
             installed; empty where nothing is lost.",
            explaining_zones(),
        )
        .label("zone", "Zone")
        .label("peer_zone", "To zone")
        .label("direction", "Lost is what it"),
        Panel::explained(
            "Nodes that explain loss",
            "The node loses with most others, and no zone explains it. The recording rules of deploy/prometheus have to be installed; empty \
             where nothing is lost.",
            explaining("node, direction", "netcause:node_loss:named"),
        )
        .label("node", "Node")
        .label("direction", "Lost is what it"),
        Panel::explained(
            "Pairs of nodes that explain loss",
            "Both nodes are fine with others. The recording rules of deploy/prometheus have to be installed; empty where nothing is lost.",
            explaining("node, peer_node", "netcause:node_pair_loss:named"),
        )
        .label("node", "Node")
        .label("peer_node", "To node"),
    ]
}

fn queues() -> Vec<Panel> {
    let by_device = |metric: &str| worst(&sum_rate("node, device", &node(metric)));
    vec![
        Panel::lines(
            "Packets dropped by full backlogs",
            Unit::PacketsPerSecond,
            "Packets that no CPU had room for in its backlog, the ten nodes with the most: packets of any pod may be among them.",
        )
        .nothing("Nothing was dropped")
        .query("{{node}}", worst(&sum_rate("node", &node("netcause_node_softnet_dropped_total"))))
        .query("{{node}} one flow", worst(&sum_rate("node", &node("netcause_node_softnet_flow_limit_total")))),
        Panel::lines(
            "Receive work cut short",
            Unit::OperationsPerSecond,
            "Times that a CPU ended its receive work with packets left, the ten nodes with the most: packets are late.",
        )
        .nothing("No receive work was cut short")
        .query("{{node}}", worst(&sum_rate("node", &node("netcause_node_softnet_times_squeezed_total")))),
        Panel::lines(
            "Waiting for a CPU",
            Unit::Share,
            "Share of the time in which a task of the node waited for a CPU, the ten busiest nodes. Latency that a busy node adds looks like that of a network.",
        )
        .limits(0.1, 0.3)
        .query("{{node}}", top(&sum_rate("node", &node("netcause_node_pressure_cpu_waiting_seconds_total")))),
        Panel::lines(
            "Packets dropped by queueing disciplines",
            Unit::PacketsPerSecond,
            "Packets that the queueing discipline of a device dropped, the ten with the most: a shaper's limit, a full queue, a filter.",
        )
        .nothing("Nothing was dropped")
        .query(
            "{{node}} {{device}} {{kind}}",
            worst(&sum_rate("node, device, kind", &node("netcause_node_qdisc_drops_total"))),
        ),
        Panel::lines(
            "Packets dropped by devices",
            Unit::PacketsPerSecond,
            "Packets that a network device dropped or had no buffer for, the ten with the most.",
        )
        .nothing("Nothing was dropped")
        .query("{{node}} {{device}} received", by_device("netcause_node_network_receive_drop_total"))
        .query("{{node}} {{device}} missed", by_device("netcause_node_network_receive_missed_total"))
        .query("{{node}} {{device}} sent", by_device("netcause_node_network_transmit_drop_total")),
        Panel::lines(
            "Errors of devices",
            Unit::PacketsPerSecond,
            "Bad packets that a device received, or could not transmit, and times that it lost its carrier; the ten with the most. Errors \
             that go on are a cable, a connector or a port.",
        )
        .nothing("No errors")
        .query("{{node}} {{device}} received", by_device("netcause_node_network_receive_errs_total"))
        .query("{{node}} {{device}} sent", by_device("netcause_node_network_transmit_errs_total"))
        .query("{{node}} {{device}} no carrier", by_device("netcause_node_network_carrier_down_changes_total")),
        Panel::lines(
            "Packets dropped, by reason",
            Unit::PacketsPerSecond,
            "Packets that the kernel of a node dropped for a reason that means a fault, the ten with the most. Needs Linux 5.17.",
        )
        .nothing("Nothing was dropped, or the kernels are older than 5.17")
        .query("{{node}} {{reason}}", worst(&sum_rate("node, reason", &node("netcause_packet_drops_total")))),
        Panel::lines(
            "Bytes that wait in queueing disciplines",
            Unit::Bytes,
            "Bytes that waited in the queueing discipline of a device when it was last read, the ten longest queues.",
        )
        .nothing("Nothing waits")
        .query(
            "{{node}} {{device}}",
            worst(&format!("sum by (node, device) ({})", node("netcause_node_qdisc_backlog_bytes"))),
        ),
        Panel::lines(
            "Counters of protocols",
            Unit::OperationsPerSecond,
            "What the protocols of the node's and the pods' network namespaces counted that says why packets or connections were lost, \
             refused or late; the ten fastest counters.",
        )
        .nothing("None counts")
        .query("{{node}} {{counter}}", worst(&sum_rate("node, counter", &node("netcause_node_netstat_total")))),
    ]
}

fn tables() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Connection tracking: used",
            Unit::Share,
            "Tracked connections of the node's own network namespace, of its limit, the ten fullest. At 1 packets of new connections are dropped.",
        )
        .nothing("No node tracks connections")
        .limits(0.8, 0.95)
        .query(
            "{{node}}",
            top(&format!(
                "sum by (node) ({}) / (sum by (node) ({}) > 0)",
                with("netcause_node_nf_conntrack_entries", ",workload=\"\""),
                node("netcause_node_nf_conntrack_entries_limit")
            )),
        ),
        Panel::lines(
            "Connection tracking: faults",
            Unit::PacketsPerSecond,
            "Packets dropped because the table was full, entries that could not be inserted or made room, and packets of no connection; the ten with the most.",
        )
        .nothing("No faults")
        .query("{{node}} {{stat}}", worst(&sum_rate("node, stat", &node("netcause_node_nf_conntrack_stat_total")))),
        Panel::lines(
            "Neighbour tables: used",
            Unit::Share,
            "Neighbours in a table of the kernel, of its limit, the ten fullest. At 1 packets to new neighbours are dropped.",
        )
        .limits(0.8, 0.95)
        .query(
            "{{node}} {{table}}",
            top(&format!(
                "sum by (node, table) ({}) / (sum by (node, table) ({}) > 0)",
                node("netcause_node_neighbour_entries"),
                node("netcause_node_neighbour_limit")
            )),
        ),
        Panel::lines(
            "Neighbours: faults",
            Unit::OperationsPerSecond,
            "Addresses that nobody answered for, full tables, and link addresses that changed: one that changes again and again is two \
             machines with one address.",
        )
        .nothing("No faults")
        .query(
            "{{node}} {{table}} unanswered",
            worst(&sum_rate("node, table", &node("netcause_node_neighbour_resolution_failures_total"))),
        )
        .query(
            "{{node}} {{table}} full",
            worst(&sum_rate("node, table", &node("netcause_node_neighbour_table_fulls_total"))),
        )
        .query(
            "{{node}} address changed",
            worst(&format!(
                "sum by (node) ({} or {})",
                rate(&node("netcause_node_neighbour_link_address_changes_total")),
                rate(&node("netcause_node_arp_link_address_changes_total"))
            )),
        ),
        Panel::lines(
            "Changes of routes and addresses",
            Unit::OperationsPerSecond,
            "Changes in the node's own network namespace. A change just before a fault begins is the first to look at.",
        )
        .nothing("No changes")
        .query(
            "{{node}} {{change}}",
            worst(&sum_rate("node, change", &node("netcause_node_configuration_changes_total"))),
        ),
        Panel::table(
            "Devices",
            Unit::Count,
            "Network devices of the nodes: whether each is up and has a carrier, and the largest packet that it takes. A size that differs from that of other nodes loses large packets.",
        )
        .label("node", "Node")
        .label("device", "Device")
        .value("Up", Unit::Number, format!("max by (node, device) ({})", node("netcause_node_network_up")))
        .words("down", "up")
        .width(60)
        .value("MTU", Unit::Number, format!("max by (node, device) ({})", node("netcause_node_network_mtu_bytes")))
        .width(80)
        .sorted("MTU")
        .size(8, 8),
    ]
}
