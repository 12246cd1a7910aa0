//! TCP failure events as log lines, for debugging one node: `log: info,tcp_events=debug`.

use std::net::SocketAddr;

use netcause_core::aggregate::Reporter;
use netcause_core::aggregate::events::EdgeEvent;
use netcause_core::ingest::TcpEventKind;
use tracing::debug;
use tracing::field::display;

/// Logs one event of an edge.
pub fn log(event: &EdgeEvent) {
    let EdgeEvent { edge, peer, peer_name, event } = event;
    let peer_name = peer_name.as_ref().map(display);
    let (source, destination) = (&edge.source, &edge.destination);
    let (client_port, port) = (event.client_port, event.flow.service_port);
    // The remote end of a client is the server, with the port of the service.
    let peer_port = if edge.reporter == Reporter::Source { port } else { client_port };
    let peer = SocketAddr::new(*peer, peer_port);
    match &event.kind {
        TcpEventKind::ConnectFailed { reason: why, error, syn_retransmits, after } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, reason = why.label(),
            error, syn_retransmits, after_seconds = after.as_secs_f64(), "connect failed"
        ),
        TcpEventKind::Retransmitted { kind: why, segments, consecutive_timeouts, dropped } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, kind = why.label(),
            segments, consecutive_timeouts, dropped_segments = dropped.map(|(segments, _)| segments),
            dropped_reason = dropped.map(|(_, reason)| reason.label()), "retransmitted"
        ),
        TcpEventKind::Reset { direction: which } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name,
            direction = which.label(), "reset"
        ),
    }
}
