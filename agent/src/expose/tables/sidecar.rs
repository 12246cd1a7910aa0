//! Connections between a workload and its own sidecar: a leg and no edge, so that no traffic is counted twice.

use netcause_common::flow::{ConnectFailure, ResetDirection, RetransmitKind};
use netcause_core::aggregate::totals::Totals;

use crate::expose::series::{Table, counter};

pub(super) static TABLE: Table<Totals> = Table {
    labels: &["reporter", "namespace", "workload", "leg"],
    sparse: true,
    metrics: &[
        counter(
            "netcause_sidecar_connections_opened",
            "TCP handshakes completed between a workload and its own sidecar. leg: outbound when the workload is the \
             client, inbound when it is the server. reporter: source at the end that connected, destination at the \
             other. The edge to the other workload is that of the sidecar, with via=sidecar.",
            |totals, to| to.value(totals.tcp.opened),
        ),
        counter(
            "netcause_sidecar_connect_failures",
            "TCP connection attempts between a workload and its own sidecar that failed, by reason; see \
             netcause_tcp_connect_failures_total.",
            |totals: &Totals, to| to.by(ConnectFailure::LABELS, &totals.tcp.connect_failures),
        )
        .by("reason"),
        counter(
            "netcause_sidecar_resets",
            "TCP resets (RST) between a workload and its own sidecar.",
            |totals: &Totals, to| to.by(ResetDirection::LABELS, &totals.tcp.resets),
        )
        .by("direction"),
        counter(
            "netcause_sidecar_sent_bytes",
            "TCP payload bytes sent between a workload and its own sidecar by the end that the label reporter names.",
            |totals, to| to.value(totals.tcp.sent_bytes),
        ),
        counter(
            "netcause_sidecar_received_bytes",
            "TCP payload bytes received between a workload and its own sidecar at the end that the label reporter names.",
            |totals, to| to.value(totals.tcp.received_bytes),
        ),
        counter(
            "netcause_sidecar_retransmitted_segments",
            "TCP segments retransmitted between a workload and its own sidecar; see \
             netcause_tcp_retransmitted_segments_total.",
            |totals: &Totals, to| to.by(RetransmitKind::LABELS, &totals.tcp.retransmitted_segments),
        )
        .by("kind"),
    ],
};
