//! TCP connections.

use netcause_common::drops::DropCause;
use netcause_common::flow::{
    CloseReason, ConnectFailure, LimitedBy, ResetDirection, ResetReason, RetransmitKind, Timeouts,
};
use netcause_common::histogram::{CONNECT_BOUNDS_NS, CONNECT_FIRST, RTT_BOUNDS_US, RTT_FIRST, RoundTrips};
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::turn::{On, WAIT_BOUNDS_MS, WAIT_FIRST, WaitTimes, Waits};

use super::shared::EDGE_LABELS;
use crate::expose::series::{Samples, Scale, Table, counter, gauge, histogram};

/// Every bound up to 62 ms, and those around the first, second and third SYN that is sent again, after 1, 3 and 7 s.
static CONNECT: Scale = Scale::new(
    CONNECT_FIRST,
    CONNECT_BOUNDS_NS.len(),
    &[-14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -2, 0, 1, 2, 3, 6],
);
/// Most of them below 8 ms, where round trips within a data centre are.
static RTT: Scale =
    Scale::new(RTT_FIRST, RTT_BOUNDS_US.len(), &[-14, -13, -12, -11, -10, -9, -8, -7, -5, -3, 0, 3]);
static WAIT: Scale =
    Scale::new(WAIT_FIRST, WAIT_BOUNDS_MS.len(), &[-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 4, 6]);

pub(super) static TABLE: Table<Totals> = Table {
    labels: &EDGE_LABELS,
    sparse: true,
    metrics: &[
        counter(
            "netcause_tcp_connections_opened",
            "TCP handshakes completed since the agent started, at the end that the label reporter names.",
            |totals, to| to.value(totals.tcp.opened),
        ),
        counter(
            "netcause_tcp_connections_closed",
            "Established TCP connections that ended, including those opened before the agent started, by how they ended at \
             the end that the label reporter names. fin: in order; reset_sent: this end reset it, because the application \
             closed it with unread data or without lingering, or because data came that nobody could read any more; \
             reset_received: the peer reset it; timed_out: data was not acknowledged in time; keepalive: keep-alive probes \
             of an idle connection were not answered; other: ended by an administrator, or the end was missed.",
            |totals: &Totals, to| to.by(CloseReason::LABELS, &totals.tcp.closed),
        )
        .by("reason"),
        gauge(
            "netcause_tcp_connections_open",
            "TCP connections open now, including those opened before the agent started, at the end that the label \
             reporter names. Connections that did not fit into the socket table (map full) are not counted.",
            |totals: &Totals, to| {
                if totals.tcp.opened != 0 || totals.tcp.closed() != 0 || totals.tcp.open() != 0 {
                    to.value(totals.tcp.open());
                }
            },
        ),
        counter(
            "netcause_tcp_connect_failures",
            "TCP connection attempts of clients that failed, by reason. timed_out: the kernel gave up, or the \
             application did after a SYN retransmission; aborted: the application closed the socket before the first \
             SYN retransmission. A non-blocking connect that succeeds is not a failure. Errors before a SYN is sent \
             are among them where the probe tcp_connect runs: unreachable, no route, or a route of type unreachable or \
             blackhole; denied, a route of type prohibit, or a BPF program at the cgroup. Those that are the \
             application's own, as a bad address, are not.",
            |totals: &Totals, to| to.by(ConnectFailure::LABELS, &totals.tcp.connect_failures),
        )
        .by("reason"),
        histogram(
            "netcause_tcp_connect_duration_seconds",
            "Time from the first SYN to the established connection, at the client. Attempts in progress when the agent \
             started are not counted.",
            |totals: &Totals, to| {
                let durations = &totals.tcp.connect_duration;
                // Exact to 2^53 ns, a hundred days.
                to.distribution(&CONNECT, &durations.buckets, durations.sum as f64 / 1e9);
            },
        ),
        counter(
            "netcause_tcp_retransmitted_segments",
            "TCP segments retransmitted, by the kernel mechanism that did it; the sum of all kinds equals RetransSegs \
             of the kernel. timeout: retransmission timeout (RTO); tail_loss_probe also occurs on healthy links; other \
             includes segments that did not leave the host, which are counted at the next retransmission of the \
             connection or at its end.",
            |totals: &Totals, to| to.by(RetransmitKind::LABELS, &totals.tcp.retransmitted_segments),
        )
        .by("kind"),
        counter(
            "netcause_tcp_retransmitted_after_drop_segments",
            "Those of netcause_tcp_retransmitted_segments_total that repeat what this node itself has dropped, by cause: \
             policy, queue, next_hop, route, receiver, memory, packet, other (docs/packet-drops.md has the reasons of each). \
             What has no drop here was lost elsewhere, or was not lost; or it was dropped where it could not be found again: \
             behind a translation of addresses, encrypted, or by what gives no reason, as XDP and network cards. A SYN-ACK is \
             never among them. Needs Linux 5.17.",
            |totals: &Totals, to| to.by(DropCause::LABELS, &totals.tcp.retransmitted_after_drop),
        )
        .by("cause"),
        counter(
            "netcause_tcp_retransmitted_full_size_segments",
            "Retransmitted TCP segments of the largest size that the connection sends, of those in \
             netcause_tcp_retransmitted_segments_total. Where only these are lost, something on the path drops large packets \
             without saying so (a path MTU black hole).",
            |totals: &Totals, to| to.value(totals.tcp.full_size_retransmits),
        ),
        counter(
            "netcause_tcp_timeouts",
            "Retransmission timeouts (RTO) of established TCP connections after which data was sent again, by how many there \
             were in a row without an acknowledgement of anything new. A lost end of a burst is one timeout; from the third on \
             the path or the peer is gone.",
            |totals: &Totals, to| to.by(Timeouts::LABELS, &totals.tcp.timeouts),
        )
        .by("consecutive"),
        counter(
            "netcause_tcp_timeouts_after_idle",
            "Those of netcause_tcp_timeouts_total with consecutive=1 before which the connection had received nothing for 30 \
             seconds or more until the unanswered data was written: what a NAT or a firewall does that has forgotten an idle \
             connection.",
            |totals: &Totals, to| to.value(totals.tcp.timeouts_after_idle),
        ),
        counter(
            "netcause_tcp_resets",
            "TCP resets (RST), including those that refuse a connection. A reset sent without a socket is only seen by \
             newer kernels (6.12, not 6.1). It counts for the edge that the segment belongs to, or the listening port; \
             for a closed port under the network namespace. Peers whose address may be forged, because they completed no \
             handshake, are named up to a limit of 64; the others are the workload unknown. A reset received after the \
             application has shut down both directions is counted without an event.",
            |totals: &Totals, to| to.by(ResetDirection::LABELS, &totals.tcp.resets),
        )
        .by("direction"),
        counter(
            "netcause_tcp_resets_sent",
            "Those of netcause_tcp_resets_total with direction=sent, by reason. unread_data: the application closed the socket and \
             had not read all that had come; aborted: it closed it without lingering (SO_LINGER of 0), or closed a listener whose \
             connections it had not accepted; data_after_close: data came after it had closed the socket or shut down receiving; \
             no_socket: a segment came that belongs to no socket, as at a closed port; timed_out: keep-alive probes were not \
             answered; other: such as an unacceptable segment of a handshake.",
            |totals: &Totals, to| to.by(ResetReason::LABELS, &totals.tcp.resets_sent),
        )
        .by("reason"),
        counter(
            "netcause_tcp_sent_bytes",
            "TCP payload bytes sent by the end that the label reporter names, as acknowledged by the peer. Open \
             connections are read when metrics are requested; bytes from before the agent started are included only if \
             preexisting_connections is lifetime.",
            |totals, to| to.value(totals.tcp.sent_bytes),
        ),
        counter(
            "netcause_tcp_received_bytes",
            "TCP payload bytes received in order at the end that the label reporter names; see \
             netcause_tcp_sent_bytes_total.",
            |totals, to| to.value(totals.tcp.received_bytes),
        ),
        counter(
            "netcause_tcp_sent_segments",
            "TCP segments sent by sockets of connections, including those without payload and retransmissions. Resets \
             that refuse a connection, SYN-ACKs and the last acknowledgement in TIME_WAIT are not counted.",
            |totals, to| to.value(totals.tcp.sent_segments),
        ),
        counter(
            "netcause_tcp_received_segments",
            "TCP segments received by sockets of connections, including those without payload.",
            |totals, to| to.value(totals.tcp.received_segments),
        ),
        counter(
            "netcause_tcp_spurious_retransmits",
            "Spurious retransmissions: segments that the peer reported as duplicates by DSACK (RFC 2883).",
            |totals, to| to.value(totals.tcp.spurious_retransmits),
        ),
        counter(
            "netcause_tcp_reordered_segments",
            "TCP segments that arrived out of order, because of reordering or behind a loss.",
            |totals, to| to.value(totals.tcp.reordered_segments),
        ),
        counter(
            "netcause_tcp_reordering_events",
            "Acknowledgements that showed a TCP sender that segments, none of them retransmitted, had arrived in another order than it \
             had sent them in. A loss does not count: this is reordering by the path, also where TCP has adapted to it and \
             retransmits nothing.",
            |totals, to| to.value(totals.tcp.reordering_events),
        ),
        histogram(
            "netcause_tcp_rtt_seconds",
            "Smoothed round-trip time of TCP connections: one observation whenever open connections are read and this \
             one was used since the last time, and one at its close.",
            |totals: &Totals, to| round_trips(&totals.tcp.rtt, to),
        ),
        histogram(
            "netcause_tcp_min_rtt_seconds",
            "Minimum round-trip time that the kernel measured on a TCP connection in the last minutes: the path without \
             queueing. Observed as netcause_tcp_rtt_seconds.",
            |totals: &Totals, to| round_trips(&totals.tcp.min_rtt, to),
        ),
        histogram(
            "netcause_tcp_queueing_delay_seconds",
            "By how much the smoothed round-trip time of a TCP connection exceeded the lowest one that the agent has seen of this \
             connection: queues on the path, or acknowledgements that are delayed at the peer. By sampling: one observation per \
             sweep for each connection that was used since the sweep before. Connections that open and close between two sweeps \
             are not observed.",
            |totals: &Totals, to| round_trips(&totals.waits.queueing, to),
        ),
        counter(
            "netcause_tcp_used_connections",
            "Open TCP connections that sent or received anything since the last sweep, by whether anything was retransmitted \
             meanwhile by the end that the label reporter names, tail loss probes not included. By sampling: each sweep counts each \
             connection once; those that open and close between two sweeps are not counted. Where some connections of a pair \
             retransmit all the time and others never, one of several paths is bad.",
            |totals: &Totals, to| to.by(&["false", "true"], &totals.waits.used),
        )
        .by("retransmitted"),
        counter(
            "netcause_tcp_limited_seconds",
            "Time in which TCP connections had data to send, by what limited the sender: the receive window of the peer, \
             its own send buffer, or the network (congestion window, pacing and the wait for acknowledgements).",
            |totals: &Totals, to| to.ticks_by(LimitedBy::LABELS, &totals.tcp.limited_ticks),
        )
        .by("by"),
        gauge(
            "netcause_tcp_waiting_connections",
            "Open TCP connections by what they waited for at the last sweep, at the end that the label reporter names. \
             network: data was sent and not acknowledged for longer than the round trip explains; peer_window: the peer's \
             receive window is closed; send_buffer: the send buffer is full, and all of it is sent; congestion_window: data was \
             written and not sent; local_reader: data has arrived that the application has not read; local_application: the \
             client has asked, and this end, the server, has not answered; peer_application: this end, the client, has asked, \
             and the server has not answered; idle: no end owes anything; unknown: whether an answer is owed cannot be decided. \
             Connections that wait to be accepted count as well. A value that no connection of the pair has had is absent.",
            |totals: &Totals, to| {
                let Waits { waited_us, waiting, .. } = &totals.waits;
                for (index, _) in waited_us.iter().enumerate().filter(|(_, waited)| **waited != 0) {
                    to.by(&On::LABELS[index..=index], &waiting[index..=index]);
                }
            },
        )
        .by("on"),
        counter(
            "netcause_tcp_waited_seconds",
            "Connection-seconds that open TCP connections have waited, by what they waited for; see \
             netcause_tcp_waiting_connections. By sampling: each sweep adds the time since the one before it for each connection \
             that it finds waiting, so the rate is the mean number of connections that wait. Exact on average; of a single \
             connection, off by up to the time between two sweeps.",
            |totals: &Totals, to| to.seconds_by(On::LABELS, &totals.waits.waited_us, 1e6),
        )
        .by("on"),
        histogram(
            "netcause_tcp_response_duration_seconds",
            "Time from the last data of a request to the last data of its response on a TCP connection, as the end saw it that \
             the label reporter names: at the client with the round trip, at the server without. By sampling: one observation \
             per sweep for each connection, of its last response since the sweep before. Resolution is the kernel's tick (1 to \
             10 ms). Connections that open and close between two sweeps are not observed.",
            |totals: &Totals, to| wait_times(&totals.waits.responses, to),
        ),
        histogram(
            "netcause_tcp_unacknowledged_age_seconds",
            "Age of the oldest data without an acknowledgement, of TCP connections that wait for the network \
             (netcause_tcp_waiting_connections). By sampling: one observation per sweep for each such connection, so one that \
             stands still is observed again and again, each time older. Seconds are retransmissions; minutes are a path or a \
             peer that is gone.",
            |totals: &Totals, to| wait_times(&totals.waits.unacknowledged, to),
        ),
        histogram(
            "netcause_tcp_unanswered_age_seconds",
            "Age of the last data of a request without an answer, of TCP connections that wait for an application \
             (netcause_tcp_waiting_connections): at the client for the peer's, at the server for the local one, as the label \
             reporter names it. By sampling: one observation per sweep for each such connection, so one that hangs is observed \
             again and again, each time older. Long waits are found more often than short ones; how long answers took is \
             netcause_tcp_response_duration_seconds.",
            |totals: &Totals, to| wait_times(&totals.waits.unanswered, to),
        ),
    ],
};

fn wait_times(times: &WaitTimes, to: &mut Samples<'_>) {
    to.distribution(&WAIT, &times.buckets, times.sum as f64 / 1e3);
}

pub(super) fn round_trips(times: &RoundTrips, to: &mut Samples<'_>) {
    to.distribution(&RTT, &times.buckets, times.sum as f64 / 1e6);
}
