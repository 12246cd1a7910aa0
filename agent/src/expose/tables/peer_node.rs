//! TCP by the node at the other end.

use netcause_common::flow::{ConnectFailure, RetransmitKind, TcpCounters};
use netcause_core::aggregate::totals::{Counters as _, Totals};

use super::{labels, tcp};
use crate::expose::series::{Family, Rows, Table, counter, histogram};
use crate::expose::snapshot::PeerNodeRow;

static TABLE: Table<TcpCounters> = Table {
    labels: &["peer_node", "peer_zone"],
    sparse: true,
    metrics: &[
        counter(
            "netcause_peer_node_tcp_connections_opened",
            "TCP handshakes completed with pods of a node and with the node itself, at either end, since the agent started. \
             peer_node is the node that the address at the other end belonged to at that time: this node, too; unknown where \
             it is of the cluster but not of one node (a service's address, a pod without a node, what is folded into other); \
             other for nodes beyond max_peer_nodes. What is outside of the cluster is not counted. peer_zone is the label \
             topology.kubernetes.io/zone of the node. All netcause_peer_node_* are the sum over edges, those without series \
             included.",
            |tcp, to| to.value(tcp.opened),
        ),
        counter(
            "netcause_peer_node_tcp_connect_failures",
            "TCP connection attempts to pods of a node, and to the node itself, that failed, by reason; see \
             netcause_tcp_connect_failures_total.",
            |tcp: &TcpCounters, to| to.by(ConnectFailure::LABELS, &tcp.connect_failures),
        )
        .by("reason"),
        counter(
            "netcause_peer_node_tcp_sent_segments",
            "TCP segments sent to pods of a node, and to the node itself; see netcause_tcp_sent_segments_total.",
            |tcp, to| to.value(tcp.sent_segments),
        ),
        counter(
            "netcause_peer_node_tcp_received_segments",
            "TCP segments received from pods of a node, and from the node itself; see netcause_tcp_received_segments_total.",
            |tcp, to| to.value(tcp.received_segments),
        ),
        counter(
            "netcause_peer_node_tcp_retransmitted_segments",
            "TCP segments retransmitted to pods of a node, and to the node itself, by kind; see \
             netcause_tcp_retransmitted_segments_total. timeout: retransmission timeouts.",
            |tcp: &TcpCounters, to| to.by(RetransmitKind::LABELS, &tcp.retransmitted_segments),
        )
        .by("kind"),
        histogram(
            "netcause_peer_node_tcp_rtt_seconds",
            "Smoothed round-trip time of TCP connections with pods of a node, and with the node itself; see \
             netcause_tcp_rtt_seconds.",
            |tcp: &TcpCounters, to| tcp::round_trips(&tcp.rtt, to),
        ),
    ],
};

pub(super) fn families(nodes: &[PeerNodeRow]) -> impl Iterator<Item = Family<'_>> {
    let rows = nodes.iter().map(|row| (labels![&*row.node, &*row.zone], row.totals));
    let rows = Rows::new(rows, |one, other| {
        let mut sum = Totals::ZERO;
        one.add_to(&mut sum);
        other.add_to(&mut sum);
        *one = sum.tcp;
    });
    TABLE.families(&rows)
}
