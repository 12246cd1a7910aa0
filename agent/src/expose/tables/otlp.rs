//! The export by OTLP, where there is one.

use netcause_common::labelled_enum;

use super::labels;
use crate::expose::series::{Family, Rows, Table, counter, gauge, last};
use crate::expose::snapshot::AgentView;

labelled_enum! {
    /// Why something was lost.
    pub enum Dropped: u8 {
        /// The queue was full.
        QueueFull = 0, "queue_full";
        /// The collector took the request and rejected some of it (partial success).
        Rejected = 1, "rejected";
        /// The collector refused the request for good.
        Refused = 2, "refused";
    }
}

labelled_enum! {
    /// Why a request failed.
    pub enum Failed: u8 {
        /// No connection, or it ended before the answer.
        Unreachable = 0, "unreachable";
        /// The TLS handshake failed.
        Tls = 1, "tls";
        /// No answer in time.
        Timeout = 2, "timeout";
        /// 429.
        Throttled = 3, "throttled";
        /// 502, 503, 504.
        Unavailable = 4, "unavailable";
        /// Any other status: it is not sent again.
        Refused = 5, "refused";
        /// 200 with a body that is none of the protocol.
        Malformed = 6, "malformed";
        /// A file of headers or certificates cannot be used.
        Unconfigured = 7, "unconfigured";
    }
}

/// What became of the items of one signal, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Items that the collector has taken.
    pub exported: u64,
    /// Items that are lost, by [`Dropped`].
    pub dropped: [u64; Dropped::COUNT],
    /// Requests that failed, by [`Failed`].
    pub failed: [u64; Failed::COUNT],
    /// Items that wait.
    pub waiting_items: u64,
    /// Bytes that wait, compressed.
    pub waiting_bytes: u64,
    /// Bytes that may wait.
    pub limit_bytes: u64,
}

static OTLP: Table<Exported> = Table {
    labels: &["signal"],
    sparse: false,
    metrics: &[
        counter(
            "netcause_otlp_exported",
            "Data points (signal: metrics) and log records (findings) that the OpenTelemetry Collector has taken, with otlp_endpoint. One whose answer was lost is sent again, and counts once.",
            |exported: &Exported, to| to.value(exported.exported),
        ),
        counter(
            "netcause_otlp_dropped",
            "Data points and log records that were to be exported and are lost. reason: queue_full, the collector was away for longer than otlp_queue_kib holds, the oldest went first; rejected, it took the request and not these; refused, it refused the request for good.",
            |exported: &Exported, to| to.by(Dropped::LABELS, &exported.dropped),
        )
        .by("reason")
        .lost("data points and findings that no collector has got"),
        counter(
            "netcause_otlp_failures",
            "Requests to the collector that failed. unreachable, tls, timeout, throttled (429), unavailable (502, 503, 504), unconfigured (a file of headers or certificates cannot be used): they are sent again; refused: any other status, they are not; malformed: taken, with an answer that is none of OTLP. The log has the first of each kind.",
            |exported: &Exported, to| to.by(Failed::LABELS, &exported.failed),
        )
        .by("reason"),
        gauge(
            "netcause_otlp_queue_items",
            "Data points and log records that wait to be exported, those included that are being sent.",
            |exported: &Exported, to| to.value(exported.waiting_items),
        ),
        gauge(
            "netcause_otlp_queue_bytes",
            "Compressed bytes of them.",
            |exported: &Exported, to| to.value(exported.waiting_bytes),
        ),
        gauge(
            "netcause_otlp_queue_limit_bytes",
            "Bytes that may wait, otlp_queue_kib, of each signal.",
            |exported: &Exported, to| to.value(exported.limit_bytes),
        ),
    ],
};

pub(super) fn families(agent: &AgentView) -> impl Iterator<Item = Family<'_>> {
    let rows = agent.exports.iter().map(|(signal, read)| (labels![*signal], *read));
    OTLP.families(&Rows::new(rows, last))
}
