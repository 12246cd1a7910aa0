//! What DNS clients and servers count.

use super::{Kind, LISTENER_LABELS, Metric, SOURCE_LABELS, edge, own};

/// Queries.
pub const DNS_QUERIES: Metric = edge(
    "netcause_dns_queries",
    Kind::Counter,
    &["qtype"],
    "DNS queries that clients here sent, over UDP and TCP, each repetition included, by the type they ask for.",
);
/// Answers.
pub const DNS_RESPONSES: Metric = edge(
    "netcause_dns_responses",
    Kind::Counter,
    &["rcode"],
    "DNS answers that reached clients here, by response code. Answers to nothing that was asked are not in it.",
);
/// Latency.
pub const DNS_QUERY_DURATION: Metric = edge(
    "netcause_dns_query_duration_seconds",
    Kind::Histogram,
    &[],
    "Time from a DNS query to its answer as the client felt it: of a query that was repeated under its id, from the \
     first one on. Late answers are in it.",
);
/// Timeouts.
pub const DNS_TIMEOUTS: Metric = edge(
    "netcause_dns_timeouts",
    Kind::Counter,
    &[],
    "DNS queries that were not answered within the configured time (dns_timeout_seconds).",
);
/// Late answers.
pub const DNS_LATE_RESPONSES: Metric = edge(
    "netcause_dns_late_responses",
    Kind::Counter,
    &[],
    "DNS answers that came after that time and were still seen by the client's socket: each is a timeout and an \
     answer.",
);
/// Repetitions.
pub const DNS_RETRIES: Metric = edge(
    "netcause_dns_retries",
    Kind::Counter,
    &[],
    "DNS queries with a question that the same workload waits for already: under the same id, also to another server \
     or after a failure, or under another id when the first has waited for 0.8 seconds.",
);
/// Truncation.
pub const DNS_TRUNCATED: Metric = edge(
    "netcause_dns_truncated",
    Kind::Counter,
    &[],
    "DNS answers that say that they are cut short, so that the client has to ask again over TCP.",
);
/// Unmatched.
pub const DNS_UNMATCHED_RESPONSES: Metric = edge(
    "netcause_dns_unmatched_responses",
    Kind::Counter,
    &[],
    "DNS answers to nothing that the client asked: duplicates, forgeries, and answers to queries that were sent before \
     the agent started or timed out more than a minute ago.",
);
/// Untracked.
pub const DNS_UNTRACKED_QUERIES: Metric = edge(
    "netcause_dns_untracked_queries",
    Kind::Counter,
    &[],
    "DNS queries that found the table of waiting queries full: they and their answers are counted, without latency \
     and timeout.",
);
/// The server's queries.
pub const DNS_SERVER_QUERIES: Metric = own(
    "netcause_dns_server_queries",
    Kind::Counter,
    &["destination_namespace", "destination_workload", "destination_port", "qtype"],
    "DNS queries that reached a server on this node, of all its clients, by the type they ask for.",
);
/// Its answers.
pub const DNS_SERVER_RESPONSES: Metric = own(
    "netcause_dns_server_responses",
    Kind::Counter,
    &["destination_namespace", "destination_workload", "destination_port", "rcode"],
    "DNS answers that a server on this node sent, by response code.",
);
/// Its latency.
pub const DNS_SERVER_DURATION: Metric = own(
    "netcause_dns_server_duration_seconds",
    Kind::Histogram,
    &LISTENER_LABELS,
    "Time from a DNS query's arrival at a server on this node to the answer's departure: the server's own share of \
     what its clients feel.",
);
/// What it leaves.
pub const DNS_SERVER_UNANSWERED: Metric = own(
    "netcause_dns_server_unanswered",
    Kind::Counter,
    &LISTENER_LABELS,
    "DNS queries that a server on this node did not answer within 30 seconds.",
);
/// What found no room.
pub const DNS_SERVER_UNTRACKED: Metric = own(
    "netcause_dns_server_untracked_queries",
    Kind::Counter,
    &LISTENER_LABELS,
    "DNS queries at a server on this node that found the table of waiting queries full: they and their answers are \
     counted, without duration.",
);
/// Search domains.
pub const DNS_SEARCH_EXPANSIONS: Metric = own(
    "netcause_dns_search_expansions",
    Kind::Counter,
    &SOURCE_LABELS,
    "Lookups that search domains wasted: names made with them that do not exist (NXDOMAIN), before the name that was \
     meant was answered. A and AAAA of one name are one lookup. Found in the details of answers, so what those leave \
     out is not in it.",
);
/// The same in queries.
pub const DNS_SEARCH_WASTED_QUERIES: Metric = own(
    "netcause_dns_search_wasted_queries",
    Kind::Counter,
    &SOURCE_LABELS,
    "The same in queries: to be compared with netcause_dns_queries_total.",
);
/// Garbage.
pub const DNS_MALFORMED: Metric = own(
    "netcause_dns_malformed_messages",
    Kind::Counter,
    &[],
    "Packets at a DNS port that are too short for DNS, or go the wrong way.",
);
/// TCP.
pub const DNS_UNFOLLOWED: Metric = own(
    "netcause_dns_unfollowed_messages",
    Kind::Counter,
    &[],
    "Places where DNS messages could not be followed: in TCP connections where their first octets were cut apart, lost or \
     out of order, and buffers with several datagrams. What is there is not counted as queries and answers.",
);
/// Details.
pub const DNS_DETAILS: Metric = own(
    "netcause_dns_details",
    Kind::Counter,
    &["outcome"],
    "Details of DNS answers, which names come from: received by the daemon, or left_out because there were more than \
     dns_details_per_second. No other metric but those of search domains depends on them.",
);
