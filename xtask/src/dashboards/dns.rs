//! DNS as its clients feel it, and what its servers do.

use super::{
    page::{Page, Row, Variable},
    panel::{Panel, Unit},
    query::{client, of_clients, quantile, rate, server, share, some, sum_rate, top, worst},
};

/// The labels of a server that clients see.
const SERVER: &str = "destination_namespace, destination_workload";

/// The labels of a client.
const CLIENT: &str = "source_namespace, source_workload";

pub(super) fn page() -> Page {
    // Clients and servers, each at the end that has an agent.
    let ends = |label: &str, with: &str| {
        let end = |end: &str, metric: &str| {
            let with = if with.is_empty() { String::new() } else { format!(",{end}{with}") };
            format!(
                r#"label_join(group by ({end}_{label}) ({metric}{{cluster=~"$cluster"{with}}}), "{label}", "", "{end}_{label}")"#
            )
        };
        format!(
            "group by ({label}) ({} or {})",
            end("source", "netcause_dns_queries_total"),
            end("destination", "netcause_dns_server_queries_total")
        )
    };
    Page {
        uid: "netcause-dns",
        title: "Netcause / DNS",
        description: "DNS as its clients feel it, and what its servers do.",
        variables: vec![
            Variable::results(
                "namespace",
                "Namespace",
                "Of the clients, and in the row of servers of these.",
                &ends("namespace", ""),
            ),
            Variable::results(
                "workload",
                "Workload",
                "The clients, and in the row of servers these.",
                &ends("workload", "_namespace=~\"$namespace\""),
            ),
        ],
        rows: vec![
            Row { title: "What clients feel", panels: felt() },
            Row { title: "What clients ask", panels: asked() },
            Row { title: "Servers on nodes with an agent", panels: servers() },
        ],
    }
}

fn felt() -> Vec<Panel> {
    let (queries, timeouts) =
        (of_clients("netcause_dns_queries_total", ""), of_clients("netcause_dns_timeouts_total", ""));
    let durations = of_clients("netcause_dns_query_duration_seconds", "");
    vec![
        Panel::lines(
            "Query time at clients",
            Unit::Seconds,
            "From a query to its answer as the client felt it, repetitions included.",
        )
        .nothing("No query was answered")
        .query("p50", quantile(0.5, "", &durations))
        .query("p95", quantile(0.95, "", &durations))
        .query("p99", quantile(0.99, "", &durations)),
        Panel::lines(
            "Timeouts and repetitions",
            Unit::RequestsPerSecond,
            "Queries that nobody answered in time, and questions that were asked again while the first waited.",
        )
        .nothing("No queries")
        .query("timeouts", sum_rate("", &timeouts))
        .query("repetitions", sum_rate("", &of_clients("netcause_dns_retries_total", ""))),
        Panel::lines(
            "Failures by code",
            Unit::RequestsPerSecond,
            "Answers that are no success. NXDOMAIN is a name that does not exist, mostly a search domain that was tried in vain; SERVFAIL \
             and REFUSED are faults of the server.",
        )
        .nothing("No failures")
        .query("{{rcode}}", some(&sum_rate("rcode", &of_clients("netcause_dns_responses_total", ",rcode!=\"NOERROR\"")))),
        Panel::lines(
            "Slowest servers",
            Unit::Seconds,
            "95th percentile of the query time at clients, by server; the ten slowest.",
        )
        .nothing("No query was answered")
        .long_names()
        .query("{{destination_namespace}} {{destination_workload}}", top(&quantile(0.95, SERVER, &durations))),
        Panel::lines(
            "Queries without an answer",
            Unit::Share,
            "Share of the queries of each server that had no answer in time, the ten worst. Any lasting value above zero is felt as pauses \
             of whole seconds.",
        )
        .nothing("Every query was answered")
        .long_names()
        .query("{{destination_namespace}} {{destination_workload}}", worst(&share(SERVER, &timeouts, &queries))),
        Panel::lines(
            "Timeouts by client and server",
            Unit::RequestsPerSecond,
            "Who waits for whom in vain, the ten worst pairs.",
        )
        .nothing("Every query was answered")
        .long_names()
        .size(24, 8)
        .query(
            "{{source_namespace}} {{source_workload}} → {{destination_namespace}} {{destination_workload}}",
            worst(&sum_rate(&format!("{CLIENT}, {SERVER}"), &timeouts)),
        ),
    ]
}

fn asked() -> Vec<Panel> {
    let queries = of_clients("netcause_dns_queries_total", "");
    vec![
        Panel::lines(
            "Queries by type",
            Unit::RequestsPerSecond,
            "Queries that clients sent, each repetition included.",
        )
        .size(12, 8)
        .query("{{qtype}}", sum_rate("qtype", &queries)),
        Panel::lines(
            "Refused, abandoned, cut off",
            Unit::RequestsPerSecond,
            "Timeouts that were refused at once, because nobody listens or the way is closed; queries whose client closed its socket \
             before an answer came; and answers that did not fit, after which the client asks again over TCP.",
        )
        .nothing("None")
        .size(12, 8)
        .query("refused", some(&sum_rate("", &of_clients("netcause_dns_refused_total", ""))))
        .query("abandoned", some(&sum_rate("", &of_clients("netcause_dns_abandoned_total", ""))))
        .query("cut off", some(&sum_rate("", &of_clients("netcause_dns_truncated_total", "")))),
        Panel::lines("Busiest clients", Unit::RequestsPerSecond, "Queries per second, the ten clients with the most.")
        .long_names()
            .query("{{source_namespace}} {{source_workload}}", top(&sum_rate(CLIENT, &queries))),
        Panel::lines(
            "Queries wasted by search domains",
            Unit::Share,
            "Share of a workload's queries for names that its search domains made and that do not exist, the ten worst. A dot at the end of \
             the name, or a smaller ndots, ends it.",
        )
        .nothing("No query was wasted")
        .long_names()
        .query(
            "{{source_namespace}} {{source_workload}}",
            worst(&share(CLIENT, &client("netcause_dns_search_wasted_queries_total"), &queries)),
        ),
        Panel::table(
            "Clients and servers",
            Unit::RequestsPerSecond,
            "Who asks whom, per second. Unanswered: queries without an answer in time, of all.",
        )
        .label("source_namespace", "Client namespace")
        .label("source_workload", "Client")
        .label("destination_namespace", "Server namespace")
        .label("destination_workload", "Server")
        .value(
            "Queries",
            Unit::RequestsPerSecond,
            sum_rate(&format!("{CLIENT}, {SERVER}"), &queries),
        )
        .value(
            "Unanswered",
            Unit::Share,
            share(&format!("{CLIENT}, {SERVER}"), &of_clients("netcause_dns_timeouts_total", ""), &queries),
        )
        .limits(0.001, 0.01)
        .value(
            "p95",
            Unit::Seconds,
            quantile(
                0.95,
                &format!("{CLIENT}, {SERVER}"),
                &of_clients("netcause_dns_query_duration_seconds", ""),
            ),
        )
        .sorted("Queries"),
    ]
}

fn servers() -> Vec<Panel> {
    let durations = server("netcause_dns_server_duration_seconds");
    vec![
        Panel::lines(
            "Answer time of servers",
            Unit::Seconds,
            "From a query's arrival at a server on a node with an agent to the answer's departure: the server's own share. What clients \
             feel beyond that is the network, or a full receive buffer.",
        )
        .query("p50", quantile(0.5, "", &durations))
        .query("p95", quantile(0.95, "", &durations))
        .query("p99", quantile(0.99, "", &durations)),
        Panel::lines(
            "Servers: queries and answers",
            Unit::RequestsPerSecond,
            "What reached servers on nodes with an agent, and what they answered. The difference is what they leave unanswered.",
        )
        .query("queries", sum_rate("", &server("netcause_dns_server_queries_total")))
        .query("answers", sum_rate("", &server("netcause_dns_server_responses_total"))),
        Panel::lines(
            "Servers: queries dropped or left",
            Unit::RequestsPerSecond,
            "Queries that a server did not answer within 30 seconds, and datagrams that found the buffer of a server full: the server is too slow.",
        )
        .nothing("Every query was answered")
        .query("{{destination_namespace}} {{destination_workload}} unanswered", worst(&sum_rate(SERVER, &server("netcause_dns_server_unanswered_total"))))
        .query(
            "{{destination_namespace}} {{destination_workload}} dropped",
            worst(&format!(
                "sum by ({SERVER}) ({} and on ({SERVER}, destination_port) {})",
                rate(&server("netcause_udp_receive_drops_total")),
                server("netcause_dns_server_queries_total")
            )),
        ),
    ]
}
