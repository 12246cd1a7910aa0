//! Listening TCP sockets.

use netcause_common::probe::open_sockets::AcceptQueue;

use super::labels;
use super::shared::{LISTENER_LABELS, workload};
use crate::expose::series::{Family, Rows, Table, counter, gauge};
use crate::expose::snapshot::ListenerRow;

static TABLE: Table<AcceptQueue> = Table {
    labels: &LISTENER_LABELS,
    sparse: false,
    metrics: &[
        counter(
            "netcause_tcp_listen_drops",
            "Handshakes dropped by a listening TCP socket, mostly because its accept queue was full, since the agent \
             first saw the listener. A client that retries is dropped, and counted, again.",
            |queue: &AcceptQueue, to| to.value(queue.drops),
        ),
        gauge(
            "netcause_tcp_accept_queue_length",
            "Connections that wait to be accepted by the application; of several sockets on one port, in the fullest \
             queue.",
            |queue, to| to.value(u64::from(queue.length)),
        ),
        gauge(
            "netcause_tcp_accept_queue_limit",
            "Limit of that queue: the lower of the backlog passed to listen(2) and the sysctl net.core.somaxconn. The \
             kernel accepts one more than this.",
            |queue, to| to.value(u64::from(queue.limit)),
        ),
    ],
};

pub(super) fn families(listeners: &[ListenerRow]) -> impl Iterator<Item = Family<'_>> {
    let rows = listeners.iter().map(|row| {
        let workload_labels =
            labels![row.workload.namespace(), workload(&row.workload), row.port.to_string()];
        (workload_labels, row.queue)
    });
    let rows = Rows::new(rows, |queue, other| {
        let drops = queue.drops + other.drops;
        let fullest = if other.length > queue.length { other } else { *queue };
        *queue = AcceptQueue { drops, ..fullest };
    });
    TABLE.families(&rows)
}
