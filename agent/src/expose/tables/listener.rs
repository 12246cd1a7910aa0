//! Listening TCP sockets.

use std::borrow::Cow;
use std::time::Duration;

use netcause_common::probe::open_sockets::AcceptQueue;
use netcause_core::aggregate::listeners::{DropReason, Dropped};

use super::labels;
use super::shared::{LISTENER_LABELS, workload};
use crate::expose::series::{Family, Rows, Samples, Table, counter, gauge};
use crate::expose::snapshot::ListenerRow;

/// An accept queue, and for how long the oldest connection in it has waited.
type Queue = (AcceptQueue, Duration);

static TABLE: Table<Queue> = Table {
    labels: &LISTENER_LABELS,
    sparse: false,
    metrics: &[
        counter(
            "netcause_tcp_listener_discards",
            "Segments that a listening TCP socket discarded, for any reason, since the agent first saw it: dropped \
             handshakes (netcause_tcp_listen_drops_total), but also SYNs and acknowledgements that came twice and \
             handshakes that the client reset, as on lossy paths and with health checks. Of several sockets of a workload \
             on one port, the sum. Shown for ten minutes after the last socket was closed.",
            |(queue, _): &Queue, to| to.value(queue.discards),
        ),
        gauge(
            "netcause_tcp_accept_queue_length",
            "Connections that wait to be accepted by the application; of several sockets on one port, in the fullest \
             queue.",
            |(queue, _), to| of_open(queue, queue.length, to),
        ),
        gauge(
            "netcause_tcp_accept_queue_limit",
            "Limit of that queue: the lower of the backlog passed to listen(2) and the sysctl net.core.somaxconn. The \
             kernel accepts one more than this.",
            |(queue, _), to| of_open(queue, queue.limit, to),
        ),
        gauge(
            "netcause_tcp_accept_queue_oldest_seconds",
            "For how long the connection that has waited longest to be accepted by the application had waited at the last sweep; \
             0 when none waited. Connections from before the agent started are seen once they are accepted.",
            |(queue, oldest), to| {
                if queue.sweep != 0 {
                    to.value(oldest.as_secs_f64());
                }
            },
        ),
        gauge(
            "netcause_tcp_request_queue_length",
            "Handshakes that wait for the last acknowledgement of the client, at the last sweep; of several sockets on one port, \
             the most. Full when it reaches the limit of the accept queue.",
            |(queue, _), to| of_open(queue, queue.requests, to),
        ),
    ],
};

static DROPS: Table<Dropped> = Table {
    labels: &LISTENER_LABELS,
    sparse: true,
    metrics: &[
        counter(
            "netcause_tcp_listen_drops",
            "Handshakes that listening TCP sockets dropped, each time the client tried, by reason. accept_queue_full: the \
             application does not accept fast enough (ListenOverflows of the kernel); request_queue_full: too many \
             handshakes are incomplete and SYN cookies are off (TCPReqQFullDrop); other: the rest of ListenDrops. The \
             kernel counts them per network namespace. They belong to the listener that discarded segments meanwhile; \
             where several did and they cannot be told apart, destination_port is empty if they have different ones, and \
             destination_workload is the network namespace likewise. Those of a listener that ends are counted when its network \
             namespace is read again, because something listens there.",
            |dropped: &Dropped, to| to.by(DropReason::LABELS, &dropped.handshakes),
        )
        .by("reason"),
        counter(
            "netcause_tcp_syn_cookies_sent",
            "SYNs that listening TCP sockets answered with a SYN cookie because too many handshakes were incomplete, or \
             always with the sysctl net.ipv4.tcp_syncookies=2 (SyncookiesSent of the kernel). They belong to the \
             listener of the network namespace; where there are several, labels are as in \
             netcause_tcp_listen_drops_total.",
            |dropped, to| to.value(dropped.cookies),
        ),
    ],
};

/// A closed listener has no queue.
fn of_open(queue: &AcceptQueue, value: u32, to: &mut Samples<'_>) {
    if queue.sweep != 0 {
        to.value(u64::from(value));
    }
}

/// The values of [`LISTENER_LABELS`].
fn labels_of(row: &ListenerRow) -> Vec<Cow<'_, str>> {
    let port = row.port.map(|port| port.to_string()).unwrap_or_default();
    labels![row.workload.namespace(), workload(&row.workload), port]
}

pub(super) fn families(listeners: &[ListenerRow]) -> impl Iterator<Item = Family<'_>> {
    // Drops of several listeners have no queue.
    let has_queue = |row: &&ListenerRow| row.port.is_some() && row.queue != AcceptQueue::default();
    let sockets = listeners.iter().filter(has_queue).map(|row| (labels_of(row), (row.queue, row.oldest)));
    let sockets = Rows::new(sockets, |(queue, oldest), (other, other_oldest)| {
        let discards = queue.discards.wrapping_add(other.discards);
        let fullness = |queue: &AcceptQueue| (queue.sweep != 0, queue.length);
        let fullest = if fullness(&other) > fullness(queue) { other } else { *queue };
        *queue = AcceptQueue { discards, ..fullest };
        *oldest = other_oldest.max(*oldest);
    });
    let drops = listeners.iter().map(|row| (labels_of(row), row.dropped));
    let drops = Rows::new(drops, |dropped, other| dropped.add(&other));
    TABLE.families(&sockets).chain(DROPS.families(&drops))
}
