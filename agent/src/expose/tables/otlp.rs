//! The export by OTLP, where there is one.

use super::labels;
use crate::expose::series::{Family, Rows, Table, counter, gauge, last};
use crate::expose::snapshot::AgentView;
use crate::otlp::{Dropped, Failed, Read};

static OTLP: Table<Read> = Table {
    labels: &["signal"],
    sparse: false,
    metrics: &[
        counter(
            "netcause_otlp_exported",
            "Data points (signal: metrics) and log records (findings) that the OpenTelemetry Collector has taken, with otlp_endpoint. One              whose answer was lost is sent again, and counts once.",
            |read: &Read, to| to.value(read.exported),
        ),
        counter(
            "netcause_otlp_dropped",
            "Data points and log records that were to be exported and are lost. reason: queue_full, the collector was away for longer              than otlp_queue_kib holds, the oldest went first; rejected, it took the request and not these; refused, it refused the              request for good.",
            |read: &Read, to| to.by(Dropped::LABELS, &read.dropped),
        )
        .by("reason")
        .lost("data points and findings that no collector has got"),
        counter(
            "netcause_otlp_failures",
            "Requests to the collector that failed. unreachable, tls, timeout, throttled (429), unavailable (502, 503, 504), unconfigured (a              file of headers or certificates cannot be used): they are sent again; refused: any other status, they are not; malformed:              taken, with an answer that is none of OTLP. The log has the first of each kind.",
            |read: &Read, to| to.by(Failed::LABELS, &read.failed),
        )
        .by("reason"),
        gauge(
            "netcause_otlp_queue_items",
            "Data points and log records that wait to be exported, those included that are being sent.",
            |read: &Read, to| to.value(read.waiting_items),
        ),
        gauge(
            "netcause_otlp_queue_bytes",
            "Compressed bytes of them. The limit is otlp_queue_kib, of each signal.",
            |read: &Read, to| to.value(read.waiting_bytes),
        ),
    ],
};

pub(super) fn families(agent: &AgentView) -> impl Iterator<Item = Family<'_>> {
    let rows = agent.exports.iter().map(|(signal, read)| (labels![*signal], *read));
    OTLP.families(&Rows::new(rows, last))
}
