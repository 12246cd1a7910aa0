//! TCP failure events as log lines, for whoever watches one node: `log: info,tcp_events=debug`.

use std::net::{IpAddr, SocketAddr};

use tracing::debug;
use tracing::field::display;

use super::prometheus::{direction, kind, reason};
use netcause_core::aggregate::Edge;
use netcause_core::enrich::policy::Label;
use netcause_core::ingest::{TcpEvent, TcpEventKind};

/// Whether anybody reads them: names need not be looked up when not.
#[must_use]
pub fn is_logged() -> bool {
    tracing::enabled!(target: "tcp_events", tracing::Level::DEBUG)
}

/// Logs one; `peer_name` is what the workload resolved the address from.
pub fn log(event: &TcpEvent, edge: &Edge, remote: IpAddr, peer_name: Option<&Label>) {
    let peer_name = peer_name.map(display);
    let (source, destination) = (&edge.source, &edge.destination);
    // At a server the address is the client's, and so is the port; at a client the port is the service's.
    let (client_port, port) = (event.client_port, event.flow.service_port);
    let peer = SocketAddr::new(
        remote,
        if edge.reporter == netcause_core::aggregate::Reporter::Source { port } else { client_port },
    );
    match &event.kind {
        TcpEventKind::ConnectFailed { reason: why, error, syn_retransmits, after } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, reason = reason(*why), error,
            syn_retransmits, after_seconds = after.as_secs_f64(), "connect failed"
        ),
        TcpEventKind::Retransmitted { kind: why, segments, consecutive_timeouts } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, kind = kind(*why), segments,
            consecutive_timeouts, "retransmitted"
        ),
        TcpEventKind::Reset { direction: way } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, direction = direction(*way), "reset"
        ),
    }
}
