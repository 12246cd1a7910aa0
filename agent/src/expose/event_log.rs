//! TCP failure events as log lines, for debugging one node: `log: info,tcp_events=debug`.

use std::net::{IpAddr, SocketAddr};

use netcause_core::aggregate::{Edge, Reporter};
use netcause_core::enrich::policy::Label;
use netcause_core::ingest::{Trouble, What};
use tracing::debug;
use tracing::field::display;

use super::labels::{direction, kind, reason};

/// Whether the log takes them: if not, the names of their ends need not be looked up.
#[must_use]
pub fn is_enabled() -> bool {
    tracing::enabled!(target: "tcp_events", tracing::Level::DEBUG)
}

/// Logs one event of an edge. `peer_name` is the DNS name that the workload resolved the remote address from.
pub fn log(event: &Trouble, edge: &Edge, remote: IpAddr, peer_name: Option<&Label>) {
    let peer_name = peer_name.map(display);
    let (source, destination) = (&edge.source, &edge.destination);
    let (client_port, port) = (event.client_port, event.flow.service_port);
    // The remote end of a client is the server, with the port of the service.
    let peer_port = if edge.reporter == Reporter::Source { port } else { client_port };
    let peer = SocketAddr::new(remote, peer_port);
    match &event.what {
        What::ConnectFailed { reason: why, error, syn_retransmits, after } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, reason = reason(*why),
            error, syn_retransmits, after_seconds = after.as_secs_f64(), "connect failed"
        ),
        What::Retransmitted { kind: why, segments, consecutive_timeouts } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name, kind = kind(*why),
            segments, consecutive_timeouts, "retransmitted"
        ),
        What::Reset { direction: which } => debug!(
            target: "tcp_events", %source, %destination, port, client_port, %peer, peer_name,
            direction = direction(*which), "reset"
        ),
    }
}
