//! Troubles as log lines, for whoever watches one node: `log: info,trouble=debug`.

use std::net::SocketAddr;

use tracing::debug;
use tracing::field::display;

use netcause_core::aggregate::events::EdgeEvent;
use netcause_core::ingest::TcpEventKind;

/// Whether anybody reads them: names need not be looked up when not.
#[must_use]
pub fn is_logged() -> bool {
    tracing::enabled!(target: "tcp_events", tracing::Level::DEBUG)
}

/// Logs one.
pub fn log(event: &EdgeEvent) {
    let EdgeEvent { edge, peer: remote, peer_name, event: trouble } = event;
    let remote = *remote;
    let peer_name = peer_name.as_ref().map(display);
    let (source, destination) = (&edge.source, &edge.destination);
    // At a server the address is the client's, and so is the port; at a client the port is the service's.
    let (client_port, port) = (trouble.client_port, trouble.flow.service_port);
    let peer = SocketAddr::new(
        remote,
        if edge.reporter == netcause_core::aggregate::Reporter::Source { port } else { client_port },
    );
    match &trouble.kind {
        TcpEventKind::ConnectFailed { reason: why, error, syn_retransmits, after } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, reason = why.label(), error,
            syn_retransmits, after_seconds = after.as_secs_f64(), "connect failed"
        ),
        TcpEventKind::Retransmitted { kind: why, segments, consecutive_timeouts } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, kind = why.label(), segments,
            consecutive_timeouts, "retransmitted"
        ),
        TcpEventKind::Reset { direction: way } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, direction = way.label(), "reset"
        ),
    }
}
