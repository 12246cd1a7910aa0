//! What happens as log lines: findings, and for debugging one node TCP failure events (`log: info,tcp_events=debug`).

use std::net::SocketAddr;

use netcause_core::aggregate::Reporter;
use netcause_core::aggregate::events::EdgeEvent;
use netcause_core::diagnose::Turn;
use netcause_core::diagnose::finding::Dated;
use netcause_core::ingest::TcpEventKind;
use tracing::field::display;
use tracing::{debug, info, warn};

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

/// Logs that a finding has begun, is surer now, or has ended.
pub fn log_finding(turn: &Turn) {
    match turn {
        Turn::Began(Dated { finding, .. }) => warn!(
            target: "findings", id = finding.id(), confidence = finding.confidence.label(), side = finding.side.label(),
            owner = finding.owner.label(), "{}", finding.summary
        ),
        Turn::Surer(Dated { finding, .. }) => {
            info!(target: "findings", id = finding.id(), confidence = finding.confidence.label(), "surer now");
        }
        Turn::Ended(Dated { finding, .. }, after) => {
            info!(target: "findings", id = finding.id(), after_seconds = after.as_secs(), "no longer seen");
        }
    }
}
