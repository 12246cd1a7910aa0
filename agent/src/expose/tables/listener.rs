//! Listening TCP sockets.

use netcause_common::probe::open_sockets::AcceptQueue;

use super::labels;
use super::shared::{LISTENER_LABELS, workload};
use crate::expose::series::{Family, Rows, Samples, Table, counter, gauge};
use crate::expose::snapshot::ListenerRow;

static TABLE: Table<AcceptQueue> = Table {
    labels: &LISTENER_LABELS,
    sparse: false,
    metrics: &[
        counter(
            "netcause_tcp_listener_discards",
            "Segments that a listening TCP socket discarded, for any reason, since the agent first saw it: handshakes at a \
             full queue, each time the client tries, but also SYNs and acknowledgements that came twice and handshakes that \
             the client reset, as on lossy paths and with health checks. Only together with a full accept queue a sign that \
             the application is too slow. Shown for ten minutes after the socket was closed.",
            |queue: &AcceptQueue, to| to.value(queue.discards),
        ),
        gauge(
            "netcause_tcp_accept_queue_length",
            "Connections that wait to be accepted by the application; of several sockets on one port, in the fullest \
             queue.",
            |queue, to| of_open(queue, queue.length, to),
        ),
        gauge(
            "netcause_tcp_accept_queue_limit",
            "Limit of that queue: the lower of the backlog passed to listen(2) and the sysctl net.core.somaxconn. The \
             kernel accepts one more than this.",
            |queue, to| of_open(queue, queue.limit, to),
        ),
    ],
};

/// A closed listener has no queue.
fn of_open(queue: &AcceptQueue, value: u32, to: &mut Samples<'_>) {
    if queue.sweep != 0 {
        to.value(u64::from(value));
    }
}

pub(super) fn families(listeners: &[ListenerRow]) -> impl Iterator<Item = Family<'_>> {
    let rows = listeners.iter().map(|row| {
        let workload_labels =
            labels![row.workload.namespace(), workload(&row.workload), row.port.to_string()];
        (workload_labels, row.queue)
    });
    let rows = Rows::new(rows, |queue, other| {
        let discards = queue.discards + other.discards;
        let fullness = |queue: &AcceptQueue| (queue.sweep != 0, queue.length);
        let fullest = if fullness(&other) > fullness(queue) { other } else { *queue };
        *queue = AcceptQueue { discards, ..fullest };
    });
    TABLE.families(&rows)
}
