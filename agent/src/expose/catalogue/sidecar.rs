//! What passes between a workload and its own sidecar: the leg that is no edge, so that nothing counts twice.

use super::{Kind, Metric, SIDECAR_LABELS};

const fn sidecar<const N: usize>(
    name: &'static str,
    labels: &'static [&'static str; N],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, edge: false, labels, help }
}

const WITH_REASON: [&str; 5] = with("reason");
const WITH_DIRECTION: [&str; 5] = with("direction");
const WITH_KIND: [&str; 5] = with("kind");

const fn with(more: &'static str) -> [&'static str; 5] {
    let [reporter, namespace, workload, leg] = SIDECAR_LABELS;
    [reporter, namespace, workload, leg, more]
}

/// Handshakes.
pub const SIDECAR_CONNECTIONS_OPENED: Metric = sidecar(
    "netcause_sidecar_connections_opened",
    &SIDECAR_LABELS,
    "TCP handshakes completed between a workload and its own sidecar. leg: outbound when the workload is the client, \
     inbound when it is the server. reporter: source at the end that connected, destination at the other. The edge to \
     the other workload is that of the sidecar, with via=sidecar.",
);
/// Failures.
pub const SIDECAR_CONNECT_FAILURES: Metric = sidecar(
    "netcause_sidecar_connect_failures",
    &WITH_REASON,
    "TCP connection attempts between a workload and its own sidecar that failed, by reason; see \
     netcause_tcp_connect_failures_total.",
);
/// Resets.
pub const SIDECAR_RESETS: Metric =
    sidecar("netcause_sidecar_resets", &WITH_DIRECTION, "TCP resets between a workload and its own sidecar.");
/// Payload out.
pub const SIDECAR_SENT_BYTES: Metric = sidecar(
    "netcause_sidecar_sent_bytes",
    &SIDECAR_LABELS,
    "TCP payload sent between a workload and its own sidecar by the end that the label reporter names, in bytes.",
);
/// Payload in.
pub const SIDECAR_RECEIVED_BYTES: Metric = sidecar(
    "netcause_sidecar_received_bytes",
    &SIDECAR_LABELS,
    "TCP payload received between a workload and its own sidecar at the end that the label reporter names, in bytes.",
);
/// Retransmits.
pub const SIDECAR_RETRANSMITTED_SEGMENTS: Metric = sidecar(
    "netcause_sidecar_retransmitted_segments",
    &WITH_KIND,
    "TCP segments sent again between a workload and its own sidecar; see netcause_tcp_retransmitted_segments_total.",
);
