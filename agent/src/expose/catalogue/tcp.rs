//! What TCP connections and listeners count.

use super::{Kind, Metric, edge, listener};

/// Handshakes.
pub const CONNECTIONS_OPENED: Metric = edge(
    "netcause_tcp_connections_opened",
    Kind::Counter,
    &[],
    "TCP handshakes completed since the agent started, at the end that the label reporter names.",
);
/// Now.
pub const CONNECTIONS_OPEN: Metric = edge(
    "netcause_tcp_connections_open",
    Kind::Gauge,
    &[],
    "TCP connections open now, those opened before the agent started included, at the end that the label reporter \
     names. Connections that found the table of sockets full are not in it.",
);
/// Ends.
pub const CONNECTIONS_CLOSED: Metric = edge(
    "netcause_tcp_connections_closed",
    Kind::Counter,
    &[],
    "Established TCP connections that ended, also those opened before the agent started.",
);
/// Failures.
pub const CONNECT_FAILURES: Metric = edge(
    "netcause_tcp_connect_failures",
    Kind::Counter,
    &["reason"],
    "TCP connection attempts of clients that failed, by reason. timed_out: the kernel gave up, or the application did \
     after a repeated SYN; aborted: the application closed the socket before any SYN was repeated. A non-blocking \
     connect that succeeds is no failure. Errors before a SYN is due, such as no route, are not seen.",
);
/// Latency.
pub const CONNECT_DURATION: Metric = edge(
    "netcause_tcp_connect_duration_seconds",
    Kind::Histogram,
    &[],
    "Time from the first SYN to the established connection, at the client. Attempts that were under way when the \
     agent started are not in it.",
);
/// Retransmits.
pub const RETRANSMITTED_SEGMENTS: Metric = edge(
    "netcause_tcp_retransmitted_segments",
    Kind::Counter,
    &["kind"],
    "TCP segments sent again, by what made the kernel do it; all kinds together are the kernel's RetransSegs. \
     tail_loss_probe is normal on healthy links; other has the segments that did not leave the host as well, which \
     show at the next retransmit of the connection or at its end.",
);
/// Payload out.
pub const SENT_BYTES: Metric = edge(
    "netcause_tcp_sent_bytes",
    Kind::Counter,
    &[],
    "TCP payload sent by the end that the label reporter names, as acknowledged by the peer, in bytes. Open connections \
     are looked at when metrics are asked for; what they carried before the agent started is included unless \
     older_connections is rest.",
);
/// Payload in.
pub const RECEIVED_BYTES: Metric = edge(
    "netcause_tcp_received_bytes",
    Kind::Counter,
    &[],
    "TCP payload received in order at the end that the label reporter names, in bytes; see netcause_tcp_sent_bytes_total.",
);
/// Segments out.
pub const SENT_SEGMENTS: Metric = edge(
    "netcause_tcp_sent_segments",
    Kind::Counter,
    &[],
    "TCP segments sent, those without payload and those sent again included; by sockets of connections, so not \
     the resets that refuse one, the SYN-ACKs, and the last acknowledgement in TIME_WAIT.",
);
/// Segments in.
pub const RECEIVED_SEGMENTS: Metric = edge(
    "netcause_tcp_received_segments",
    Kind::Counter,
    &[],
    "TCP segments received, those without payload included.",
);
/// Retransmits in vain.
pub const SPURIOUS_RETRANSMITS: Metric = edge(
    "netcause_tcp_spurious_retransmits",
    Kind::Counter,
    &[],
    "TCP segments that the peer says it had already (DSACK): they were sent again for nothing.",
);
/// Reordering.
pub const REORDERED_SEGMENTS: Metric = edge(
    "netcause_tcp_reordered_segments",
    Kind::Counter,
    &[],
    "TCP segments that arrived out of order: overtaken by others, or behind a loss.",
);
/// Round trips.
pub const RTT: Metric = edge(
    "netcause_tcp_rtt_seconds",
    Kind::Histogram,
    &[],
    "Smoothed round-trip time of TCP connections, one observation each time that open connections are looked at and \
     this one was in use since, and one at its close.",
);
/// The path's own.
pub const MIN_RTT: Metric = edge(
    "netcause_tcp_min_rtt_seconds",
    Kind::Histogram,
    &[],
    "Least round-trip time that the kernel measured on a TCP connection in the last minutes: the path without queues. \
     Observed as netcause_tcp_rtt_seconds.",
);
/// Whose fault slowness is.
pub const LIMITED_SECONDS: Metric = edge(
    "netcause_tcp_limited_seconds",
    Kind::Counter,
    &["by"],
    "Time in which TCP connections had data to send, by what held them back: the receiver's window, the own send \
     buffer, or the network (the congestion window, pacing, and the wait for acknowledgements).",
);
/// Lost connections.
pub const LISTEN_DROPS: Metric = listener(
    "netcause_tcp_listen_drops",
    Kind::Counter,
    "Handshakes that a listening TCP socket dropped, mostly because its accept queue was full, since the agent saw the \
     listener first. A client that tries again is dropped, and counted, again.",
);
/// Waiting connections.
pub const ACCEPT_QUEUE_LENGTH: Metric = listener(
    "netcause_tcp_accept_queue_length",
    Kind::Gauge,
    "Connections that wait for the application to accept them; of several sockets on one port, in the fullest queue.",
);
/// How many may wait.
pub const ACCEPT_QUEUE_LIMIT: Metric = listener(
    "netcause_tcp_accept_queue_limit",
    Kind::Gauge,
    "Limit of that queue: the least of what listen(2) asked for and the sysctl net.core.somaxconn. One more fits.",
);
/// Resets.
pub const RESETS: Metric = edge(
    "netcause_tcp_resets",
    Kind::Counter,
    &["direction"],
    "TCP resets, those that refuse a connection included. A reset sent for a port where nothing listens is seen on \
     newer kernels (6.12, not 6.1), under the network namespace, because no socket owns it.",
);
