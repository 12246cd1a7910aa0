//! Who talks to whom: the service map, and TCP and UDP by pairs of workloads.

use super::{
    page::{Page, Row, Variable},
    panel::{Kind, Panel, Unit},
    query::{
        LISTENER, LISTENER_NAME, PAIR, PAIR_LINE, PAIR_NAME, of_clients, quantile, seen, server, share, some,
        sum_rate, top, worst,
    },
};

/// What every pair that talks has one of.
const ANY: &str = r#"{__name__=~"netcause_tcp_sent_segments_total|netcause_udp_sent_datagrams_total|netcause_dns_queries_total",cluster=~"$cluster",reporter="$reporter""#;

pub(super) fn page() -> Page {
    let end = "Of the end that “Seen at” names.";
    Page {
        uid: "netcause-edges",
        title: "Netcause / Edges",
        description: "Who talks to whom, and why it hurts: TCP and UDP by pairs of workloads.",
        variables: vec![
            Variable::Reporter,
            Variable::values("namespace", "Namespace", end, (&format!("{ANY}}}"), "${reporter}_namespace")),
            Variable::values(
                "workload",
                "Workload",
                end,
                (&format!(r#"{ANY},${{reporter}}_namespace=~"$namespace"}}"#), "${reporter}_workload"),
            ),
        ],
        rows: vec![
            Row { title: "Who talks to whom", panels: map() },
            Row { title: "Loss and time", panels: path() },
            Row { title: "Connections", panels: connections() },
            Row { title: "Waiting", panels: waiting() },
            Row { title: "UDP", panels: udp() },
        ],
    }
}

/// The busiest pairs: both ends of each arrow have to have a circle.
fn busiest() -> String {
    let pair = "source_namespace, source_workload, destination_namespace, destination_workload";
    format!("topk(60, {})", sum_rate(pair, &seen("netcause_tcp_sent_bytes_total")))
}

/// The workloads of the busiest pairs, with the labels of a circle; the value is the sum of their arrows.
fn circles() -> String {
    let end = |end: &str| {
        let named = format!(r#"label_join({}, "id", "/", "{end}_namespace", "{end}_workload")"#, busiest());
        format!(
            r#"label_join(label_join({named}, "title", "", "{end}_workload"), "subtitle", "", "{end}_namespace")"#
        )
    };
    format!("sum by (id, title, subtitle) ({} or {})", end("source"), end("destination"))
}

/// The busiest pairs, with the labels of an arrow.
fn arrows() -> String {
    let from = format!(r#"label_join({}, "source", "/", "source_namespace", "source_workload")"#, busiest());
    let to = format!(r#"label_join({from}, "target", "/", "destination_namespace", "destination_workload")"#);
    format!(r#"label_join({to}, "id", " → ", "source", "target")"#)
}

fn map() -> Vec<Panel> {
    let of = |metric: &str| sum_rate(PAIR, &seen(metric));
    vec![
        Panel::new(
            Kind::Graph,
            "Service map",
            Unit::BytesPerSecond,
            "Workloads, and TCP payload that the end that “Seen at” names has sent, per second; the 60 busiest pairs, as more cannot be told apart. Choose a namespace or a workload for less.",
        )
        .query("", circles())
        .query("", arrows()),
        Panel::table(
            "Who talks to whom",
            Unit::BytesPerSecond,
            "Every pair of a client and a server that was active, as seen at the end that “Seen at” names; per second. Retransmitted: TCP \
             segments sent again, of all sent by this end; loss probes at the end of a transfer are left out.",
        )
        .label("source_namespace", "Client namespace")
        .label("source_workload", "Client")
        .label("destination_namespace", "Server namespace")
        .label("destination_workload", "Server")
        .link(
            "What is wrong with it",
            "/d/netcause-incident?${datasource:queryparam}&${cluster:queryparam}&var-workload=${__data.fields[\"Server\"]}&${__url_time_range}",
        )
        .label("destination_service", "Service")
        .label("destination_port", "Port")
        .value("TCP sent", Unit::BytesPerSecond, of("netcause_tcp_sent_bytes_total"))
        .value("TCP received", Unit::BytesPerSecond, of("netcause_tcp_received_bytes_total"))
        .value("Connections", Unit::ConnectionsPerSecond, of("netcause_tcp_connections_opened_total"))
        .value("Failed connects", Unit::ConnectionsPerSecond, of("netcause_tcp_connect_failures_total"))
        .value("Retransmitted", Unit::Share, again(PAIR))
        .limits(0.01, 0.05)
        .value("UDP sent", Unit::BytesPerSecond, of("netcause_udp_sent_bytes_total"))
        .value("UDP received", Unit::BytesPerSecond, of("netcause_udp_received_bytes_total"))
        .sorted("TCP sent"),
    ]
}

fn again(by: &str) -> String {
    let lost = seen("netcause_tcp_retransmitted_segments_total");
    // Tail loss probes are normal on healthy links. The last brace of a selector ends it.
    let lost = lost.strip_suffix('}').unwrap_or(&lost);
    share(by, &format!("{lost},kind!=\"tail_loss_probe\"}}"), &seen("netcause_tcp_sent_segments_total"))
}

/// Median and tail of a histogram.
fn quantiles(panel: Panel, histogram: &str) -> Panel {
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")]
        .into_iter()
        .fold(panel, |panel, (share, name)| panel.query(name, quantile(share, "", histogram)))
}

fn path() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Busiest pairs",
            Unit::BytesPerSecond,
            "TCP payload sent by the end that “Seen at” names, the ten pairs with the most of it.",
        )
        .long_names()
        .query(PAIR_NAME, top(&sum_rate(PAIR_LINE, &seen("netcause_tcp_sent_bytes_total")))),
        Panel::lines(
            "Retransmitted segments",
            Unit::Share,
            "TCP segments sent again, as a share of all that this end sent; the ten worst pairs. Loss probes at the end of a transfer are \
             normal, and left out.",
        )
        .nothing("Nothing was sent again")
        .long_names()
        .limits(0.01, 0.05)
        .query(PAIR_NAME, worst(&again(PAIR_LINE))),
        Panel::lines(
            "Retransmits by kind",
            Unit::PacketsPerSecond,
            "What made the kernel send again. fast: the receiver said that something is missing; timeout: nothing came back; syn and \
             synack: handshakes; tail_loss_probe is normal on healthy links.",
        )
        .nothing("Nothing was sent again")
        .size(6, 8)
        .query("{{kind}}", some(&sum_rate("kind", &seen("netcause_tcp_retransmitted_segments_total")))),
        quantiles(
            Panel::lines(
                "Round-trip time",
                Unit::Seconds,
                "Smoothed round-trip time of TCP connections in use, and the median of the least one: the path without queues. When the two \
                 move apart, queues grow.",
            )
            .size(6, 8),
            &seen("netcause_tcp_rtt_seconds"),
        )
        .query("least, p50", quantile(0.5, "", &seen("netcause_tcp_min_rtt_seconds"))),
        quantiles(
            Panel::lines(
                "Queueing delay",
                Unit::Seconds,
                "By how much the round trip of a connection exceeds the least that was seen of it: queues on the path, or \
                 acknowledgements that are delayed at the peer.",
            )
            .nothing("No connection outlived two sweeps")
            .size(6, 8),
            &seen("netcause_tcp_queueing_delay_seconds"),
        ),
        Panel::lines(
            "What holds senders back",
            Unit::Count,
            "Seconds per second in which connections had data to send and waited. receive_window: the receiver is full; send_buffer: the \
             application's own buffer; network: loss, congestion, the wait for acknowledgements.",
        )
        .nothing("Nothing holds senders back")
        .size(6, 8)
        .query("{{by}}", some(&sum_rate("by", &seen("netcause_tcp_limited_seconds_total")))),
    ]
}

fn connections() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Failed connects by reason",
            Unit::ConnectionsPerSecond,
            "Connection attempts that failed. Seen at clients only. refused: nobody listens; timed_out: nobody answers.",
        )
        .nothing("No connect has failed")
        .size(6, 8)
        .query("{{reason}}", some(&sum_rate("reason", &of_clients("netcause_tcp_connect_failures_total", "")))),
        quantiles(
            Panel::lines(
                "Connect time",
                Unit::Seconds,
                "From the first SYN to the established connection, at clients. Steps at 1, 3 and 7 seconds are repeated SYNs.",
            )
            .size(6, 8),
            &of_clients("netcause_tcp_connect_duration_seconds", ""),
        ),
        Panel::lines(
            "Resets by direction",
            Unit::PacketsPerSecond,
            "TCP resets that the end that “Seen at” names sent and received, those that refuse a connection included.",
        )
        .nothing("No resets")
        .size(6, 8)
        .query("{{direction}}", some(&sum_rate("direction", &seen("netcause_tcp_resets_total")))),
        Panel::lines(
            "How connections end",
            Unit::ConnectionsPerSecond,
            "Connections that ended, by how, at the end that “Seen at” names. timed_out and keepalive are peers that vanished.",
        )
        .nothing("No connection has ended")
        .size(6, 8)
        .query("{{reason}}", sum_rate("reason", &seen("netcause_tcp_connections_closed_total"))),
        Panel::lines(
            "Accept queues: fullest",
            Unit::Share,
            "How full the queues of listening sockets are, the ten fullest. At 1 the next client is dropped.",
        )
        .nothing("No listening socket is known")
        .long_names()
        .limits(0.8, 1.0)
        .query(
            LISTENER_NAME,
            top(&format!(
                "max by ({LISTENER}) ({} / ({} > 0))",
                server("netcause_tcp_accept_queue_length"),
                server("netcause_tcp_accept_queue_limit")
            )),
        ),
        Panel::lines(
            "Listening sockets: dropped handshakes",
            Unit::ConnectionsPerSecond,
            "Handshakes that listening sockets dropped, by reason, as the kernel counts them. accept_queue_full: the application does not \
             accept fast enough; request_queue_full: too many handshakes are incomplete.",
        )
        .nothing("No handshake was dropped")
        .long_names()
        .query(
            &format!("{LISTENER_NAME} {{{{reason}}}}"),
            worst(&sum_rate(&format!("{LISTENER}, reason"), &server("netcause_tcp_listen_drops_total"))),
        ),
    ]
}

fn waiting() -> Vec<Panel> {
    vec![
        Panel::lines(
            "What connections wait for",
            Unit::Count,
            "Open connections on average by what they wait for, at the end that “Seen at” names; idle ones are among them.",
        )
        .nothing("No connection outlived two sweeps")
        .size(6, 8)
        .query("{{on}}", sum_rate("on", &seen("netcause_tcp_waited_seconds_total"))),
        quantiles(
            Panel::lines(
                "Time to answer",
                Unit::Seconds,
                "From the last data of a request to the last data of its answer: at clients with the round trip, at servers without.",
            )
            .size(6, 8),
            &seen("netcause_tcp_response_duration_seconds"),
        ),
        Panel::lines(
            "Open connections: most",
            Unit::Count,
            "TCP connections open now, the ten pairs with the most. One that only grows is a leak.",
        )
        .long_names()
        .query(PAIR_NAME, top(&format!("sum by ({PAIR_LINE}) ({})", seen("netcause_tcp_connections_open")))),
    ]
}

fn udp() -> Vec<Panel> {
    vec![
        Panel::lines(
            "UDP datagrams",
            Unit::PacketsPerSecond,
            "Datagrams that the end that “Seen at” names sent and received.",
        )
        .nothing("No UDP")
        .size(6, 8)
        .query("sent", sum_rate("", &seen("netcause_udp_sent_datagrams_total")))
        .query("received", sum_rate("", &seen("netcause_udp_received_datagrams_total"))),
        Panel::lines(
            "UDP receive drops",
            Unit::PacketsPerSecond,
            "Datagrams that found the receiver's buffer full, the ten receivers with the most.",
        )
        .nothing("No datagram was dropped")
        .long_names()
        .query(LISTENER_NAME, worst(&sum_rate(LISTENER, &server("netcause_udp_receive_drops_total")))),
        Panel::lines(
            "UDP errors",
            Unit::PacketsPerSecond,
            "ICMP errors that connected UDP sockets got, by kind: nobody listens, or the way there is closed.",
        )
        .nothing("No errors")
        .size(6, 8)
        .query("{{kind}}", some(&sum_rate("kind", &seen("netcause_udp_icmp_errors_total")))),
    ]
}
