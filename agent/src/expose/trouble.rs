//! Troubles as log lines, for whoever watches one node: `log: info,trouble=debug`.

use std::net::{IpAddr, SocketAddr};

use tracing::debug;
use tracing::field::display;

use netcause_core::aggregate::Edge;
use netcause_core::enrich::policy::Label;
use netcause_core::ingest::{Trouble, What};

/// Whether anybody reads them: names need not be looked up when not.
#[must_use]
pub fn is_logged() -> bool {
    tracing::enabled!(target: "trouble", tracing::Level::DEBUG)
}

/// Logs one; `peer_name` is what the workload resolved the address from.
pub fn log(trouble: &Trouble, edge: &Edge, remote: IpAddr, peer_name: Option<&Label>) {
    let peer_name = peer_name.map(display);
    let (source, destination) = (&edge.source, &edge.destination);
    // At a server the address is the client's, and so is the port; at a client the port is the service's.
    let (client_port, port) = (trouble.client_port, trouble.flow.service_port);
    let peer = SocketAddr::new(
        remote,
        if edge.reporter == netcause_core::aggregate::Reporter::Source { port } else { client_port },
    );
    match &trouble.what {
        What::ConnectFailed { reason: why, error, syn_retransmits, after } => debug!(
            target: "trouble", %source, %destination, port, client_port, %peer, peer_name, reason = why.label(), error,
            syn_retransmits, after_seconds = after.as_secs_f64(), "connect failed"
        ),
        What::Retransmitted { kind: why, segments, consecutive_timeouts } => debug!(
            target: "trouble", %source, %destination, port, client_port, %peer, peer_name, kind = why.label(), segments,
            consecutive_timeouts, "retransmitted"
        ),
        What::Reset { direction: way } => debug!(
            target: "trouble", %source, %destination, port, client_port, %peer, peer_name, direction = way.label(), "reset"
        ),
    }
}
