//! DNS clients, DNS servers and search domains.

use netcause_common::dns::{QueryType, ResponseCode};
use netcause_common::histogram::{DNS_BOUNDS_NS, DNS_FIRST, DnsDuration};
use netcause_core::aggregate::totals::Totals;

use super::labels;
use super::shared::{EDGE_LABELS, LISTENER_LABELS, workload};
use crate::expose::series::{Family, Rows, Samples, Scale, Table, counter, histogram};
use crate::expose::snapshot::SearchRow;

/// Every bound but two; resolvers ask again after 1, 2 or 5 s.
static DURATION: Scale = Scale::new(
    DNS_FIRST,
    DNS_BOUNDS_NS.len(),
    &[-13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -2, -1, 0, 1, 2, 3, 5],
);

/// Edges at the client.
pub(super) static CLIENTS: Table<Totals> = Table {
    labels: &EDGE_LABELS,
    sparse: true,
    metrics: &[
        counter(
            "netcause_dns_queries",
            "DNS queries sent by clients on this node over UDP and TCP, including retries, by query type.",
            |totals: &Totals, to| to.by(QueryType::LABELS, &totals.dns.queries),
        )
        .by("qtype"),
        counter(
            "netcause_dns_responses",
            "DNS responses received by clients on this node, by response code. Responses that match no query are not \
             counted.",
            |totals: &Totals, to| to.by(ResponseCode::LABELS, &totals.dns.responses),
        )
        .by("rcode"),
        histogram(
            "netcause_dns_query_duration_seconds",
            "Time from a DNS query to its response, at the client; of a query retried under the same id, from the first \
             one. Late responses are included.",
            |totals: &Totals, to| durations(&totals.dns.duration, to),
        ),
        counter(
            "netcause_dns_timeouts",
            "DNS queries without a response within the configured time (dns_timeout_seconds), but for abandoned ones.",
            |totals, to| to.value(totals.dns.timeouts),
        ),
        counter(
            "netcause_dns_refused",
            "Those of netcause_dns_timeouts_total that were refused at once: ICMP told the client that nobody listens at the \
             port, or that the way there is rejected. The rest is silence. Of TCP, and of sockets that are not connected, none \
             is known.",
            |totals, to| to.value(totals.dns.refused),
        ),
        counter(
            "netcause_dns_abandoned",
            "DNS queries whose client closed its socket within 0.8 seconds, before a response came: another server was \
             faster, or it gave up sooner than any resolver does. Counted when the configured time is over; not among the \
             timeouts.",
            |totals, to| to.value(totals.dns.abandoned),
        ),
        counter(
            "netcause_dns_late_responses",
            "DNS responses that arrived after that time while the socket of the client was still open: each is counted \
             as a timeout and as a response.",
            |totals, to| to.value(totals.dns.late),
        ),
        counter(
            "netcause_dns_retries",
            "DNS queries with a question that the same workload is already waiting for: under the same id, also to \
             another server or after a failure, or under another id once the first has waited for 0.8 seconds.",
            |totals, to| to.value(totals.dns.retries),
        ),
        counter(
            "netcause_dns_truncated",
            "DNS responses with the truncation flag (TC), after which the client has to ask again over TCP.",
            |totals, to| to.value(totals.dns.truncated),
        ),
        counter(
            "netcause_dns_unmatched_responses",
            "DNS responses that match no query of the client: duplicates, forgeries, and responses to queries that were \
             sent before the agent started or timed out more than a minute ago.",
            |totals, to| to.value(totals.dns.unmatched),
        ),
        counter(
            "netcause_dns_untracked_queries",
            "DNS queries sent while the table of pending queries was full: they and their responses are counted, without \
             duration and timeout.",
            |totals: &Totals, to| to.value(totals.dns.untracked),
        ).lost("DNS queries without duration, beyond max_pending_dns_queries"),
    ],
};

/// Edges at the server, whose clients are shown as one.
pub(super) static SERVERS: Table<Totals> = Table {
    labels: &LISTENER_LABELS,
    sparse: true,
    metrics: &[
        counter(
            "netcause_dns_server_queries",
            "DNS queries received by a server on this node from all its clients, by query type.",
            |totals: &Totals, to| to.by(QueryType::LABELS, &totals.dns.queries),
        )
        .by("qtype"),
        counter(
            "netcause_dns_server_responses",
            "DNS responses sent by a server on this node, by response code.",
            |totals: &Totals, to| to.by(ResponseCode::LABELS, &totals.dns.responses),
        )
        .by("rcode"),
        histogram(
            "netcause_dns_server_duration_seconds",
            "Time from the arrival of a DNS query at a server on this node to the departure of its response: the share of \
             the server in what its clients measure.",
            |totals: &Totals, to| durations(&totals.dns.duration, to),
        ),
        counter(
            "netcause_dns_server_unanswered",
            "DNS queries that a server on this node did not answer within 30 seconds.",
            |totals, to| to.value(totals.dns.timeouts),
        ),
        counter(
            "netcause_dns_server_untracked_queries",
            "DNS queries received by a server on this node while the table of pending queries was full: they and their \
             responses are counted, without duration.",
            |totals: &Totals, to| to.value(totals.dns.untracked),
        ).lost("queries to DNS servers here without duration, beyond the table"),
    ],
};

static SEARCHES: Table<SearchRow> = Table {
    labels: &["source_namespace", "source_workload"],
    sparse: false,
    metrics: &[
        counter(
            "netcause_dns_search_expansions",
            "Lookups wasted by search domains: names made with them that do not exist (NXDOMAIN), before the intended \
             name was answered. A and AAAA of one name are one lookup. Derived from DNS events, so lookups whose events \
             were lost or rate limited are not counted.",
            |row: &SearchRow, to| to.value(row.expansions),
        ),
        counter(
            "netcause_dns_search_wasted_queries",
            "DNS queries of the lookups in netcause_dns_search_expansions_total; compare with netcause_dns_queries_total.",
            |row, to| to.value(row.wasted_queries),
        ),
    ],
};

/// The families of search domains.
pub(super) fn search_families(rows: &[SearchRow]) -> impl Iterator<Item = Family<'_>> {
    let rows = rows.iter().map(|row| {
        let SearchRow { workload: client, expansions, wasted_queries } = row;
        let row =
            SearchRow { workload: client.clone(), expansions: *expansions, wasted_queries: *wasted_queries };
        (labels![client.namespace(), workload(client)], row)
    });
    let rows = Rows::new(rows, |row, other| {
        row.expansions += other.expansions;
        row.wasted_queries += other.wasted_queries;
    });
    SEARCHES.families(&rows)
}

fn durations(durations: &DnsDuration, to: &mut Samples<'_>) {
    to.distribution(&DURATION, &durations.buckets, durations.sum as f64 / 1e9);
}
