//! What UDP sockets count.

use super::{Kind, Metric, edge};

/// Datagrams' payload out.
pub const UDP_SENT_BYTES: Metric = edge(
    "netcause_udp_sent_bytes",
    Kind::Counter,
    &[],
    "UDP payload sent, in bytes. A connected socket is the client's; of others the lower port is the service's.",
);
/// Datagrams' payload in.
pub const UDP_RECEIVED_BYTES: Metric = edge(
    "netcause_udp_received_bytes",
    Kind::Counter,
    &[],
    "UDP payload that arrived at a socket, in bytes, that of netcause_udp_receive_drops_total included.",
);
/// Datagrams out.
pub const UDP_SENT_DATAGRAMS: Metric =
    edge("netcause_udp_sent_datagrams", Kind::Counter, &[], "UDP datagrams sent.");
/// Datagrams in.
pub const UDP_RECEIVED_DATAGRAMS: Metric = edge(
    "netcause_udp_received_datagrams",
    Kind::Counter,
    &[],
    "UDP datagrams that arrived at a socket, those of netcause_udp_receive_drops_total included.",
);
/// Datagrams lost here.
pub const UDP_RECEIVE_DROPS: Metric = edge(
    "netcause_udp_receive_drops",
    Kind::Counter,
    &[],
    "UDP datagrams that found the receive buffer full, or no memory. Older kernels (6.1, not 6.12) do not tell \
     those of IPv6, nor who sent them to a socket that is not connected: the client is unknown then.",
);
