//! What is wrong now, whom it hurts, and what shows it.

use super::{
    page::{Page, Row, Variable},
    panel::{Kind, Panel, Unit},
    query::{explaining, explaining_zones, quantile_of, rate, sum_rate, worst},
};

/// What a finding is and what it is of; `instance`, the agent that has it, is left out: both ends say the same. Only what is said of a
/// node keeps the node's name ([`located`]).
const FINDING: &str = "cause, confidence, owner, side, subject, source_namespace, source_workload, \
                       destination_namespace, destination_workload, destination_port, of_node, peer_node, interface";

/// Counters of what hurts: each has a label that the others have not, so that no two have the same labels.
const COUNTERS: &str = "netcause_tcp_connect_failures_total|netcause_tcp_retransmitted_segments_total|netcause_tcp_resets_total|netcause_dns_timeouts_total";

/// What hurts per second: as recorded by the rules of `deploy/prometheus`, or worked out here where these are not installed. Which of the
/// two has series says the variable `failures`.
const HURTS: &str = r#"(netcause:pair_failures:rate5m{cluster=~"$cluster"} or rate({__name__=~"$failures",kind!="tail_loss_probe",cluster=~"$cluster"}[$__rate_interval]))"#;

/// The same of the other node.
const HURTS_NODES: &str = r#"{__name__=~"netcause_peer_node_tcp_connect_failures_total|netcause_peer_node_tcp_retransmitted_segments_total",kind!="tail_loss_probe",cluster=~"$cluster"}"#;

const SERVER: &str = "destination_namespace, destination_workload";

const PAIRS: &str = "source_namespace, source_workload, destination_namespace, destination_workload";

pub(super) fn page() -> Page {
    Page {
        uid: "netcause-incident",
        title: "Netcause / Incident",
        description: "What is wrong now, whom it hurts, who acts, and the evidence beside it.",
        variables: vec![
            Variable::results("namespace", "Namespace", "Of either end.", &ends("namespace", "")),
            Variable::results(
                "workload",
                "Workload",
                "At either end. Findings of nodes have no workload, and are shown for “All” alone.",
                &ends("workload", "_namespace=~\"$namespace\""),
            ),
            Variable::found(
                "failures",
                "The counters of what hurts, for the impact of findings; “none” where the recording rules of deploy/prometheus work it out.",
                &format!(
                    "label_replace(group(netcause:pair_failures:agents{{cluster=~\"$cluster\"}}), \"failures\", \"none\", \"\", \"\") \
                     or on () label_replace(vector(1), \"failures\", \"{COUNTERS}\", \"\", \"\")"
                ),
            ),
            Variable::Text {
                name: "runbooks",
                label: "Runbooks",
                description: "Where the directory docs/runbooks is published. A click on a cause opens its page there.",
                default: "https://netcause.example/docs/runbooks",
            },
        ],
        rows: vec![
            Row { title: "What is wrong", panels: wrong() },
            Row { title: "What explains loss, of all nodes together", panels: explained() },
            Row { title: "Evidence, of the workloads chosen", panels: evidence() },
        ],
    }
}

/// The names of one label of both ends, each once. `with` is a matcher that both ends have.
fn ends(label: &str, with: &str) -> String {
    let end = |end: &str| {
        let with = if with.is_empty() { String::new() } else { format!(",{end}{with}") };
        format!(
            r#"label_join(group by ({end}_{label}) ({{__name__=~"netcause_tcp_sent_segments_total|netcause_udp_sent_datagrams_total|netcause_dns_queries_total|netcause_finding_active",cluster=~"$cluster"{with}}}), "{label}", "", "{end}_{label}")"#
        )
    };
    format!("group by ({label}) ({} or {})", end("source"), end("destination"))
}

/// Series with the chosen workloads at either end.
fn either(selector: impl Fn(&str) -> String) -> String {
    format!("({} or {})", selector("source"), selector("destination"))
}

/// A metric, matched at one end.
fn at(metric: &str, end: &str, more: &str) -> String {
    format!(
        r#"{metric}{{cluster=~"$cluster",{end}_namespace=~"$namespace",{end}_workload=~"$workload"{more}}}"#
    )
}

/// Active findings of the chosen workloads.
fn findings(more: &str) -> String {
    either(|end| at("netcause_finding_active", end, more))
}

/// With the node that a finding of a node is of, in the label `of_node`: by the scrape's label `node`, else by the agent's address.
fn located(findings: &str) -> String {
    format!(
        "label_replace(label_join({findings}, \"of_node\", \";\", \"subject\", \"node\", \"instance\", \"of_node\"), \
         \"of_node\", \"$1\", \"of_node\", \"(?:node|node_pair|interface);;?(.+?);.*|.*\")"
    )
}

/// The ends that a finding names in one label, `ends`, without what it does not name.
fn named(findings: &str) -> String {
    let ends =
        format!("label_join({findings}, \"ends\", \" → \", \"source_workload\", \"destination_workload\")");
    let ends = format!("label_replace({ends}, \"ends\", \"$1\", \"ends\", \" → (.*)\")");
    let ends = format!("label_join({ends}, \"ends\", \":\", \"ends\", \"destination_port\")");
    format!("label_replace({ends}, \"ends\", \"$1\", \"ends\", \"(.*):\")")
}

/// The rate of a metric with the chosen workloads at either end, as the end of the pair sees it that sees more.
fn felt(by: &str, metric: &str, more: &str) -> String {
    let rates = either(|end| rate(&at(metric, end, more)));
    format!("max by ({by}) (sum by ({by}, reporter) {rates}) > 0")
}

/// The 95th percentile of a histogram, as clients see it.
fn p95(histogram: &str) -> String {
    quantile_of(0.95, "", |suffix| {
        either(|end| rate(&at(&format!("{histogram}{suffix}"), end, ",reporter=\"source\"")))
    })
}

/// What hurts per second, of the pairs with these labels, as the end sees it that sees more.
fn hurts(by: &str) -> String {
    format!("max by ({by}) (sum by ({by}, reporter) {HURTS})")
}

/// What the pairs hurt per second that have a workload as their client, with its labels at the place of the server.
fn as_server(clients: &str) -> String {
    format!(
        "label_join(label_join({clients}, \"destination_namespace\", \"\", \"source_namespace\"), \
         \"destination_workload\", \"\", \"source_workload\")"
    )
}

/// Of each finding what its pair counts; of one that has no pair, what its server, its clients or its node do.
fn impact() -> String {
    let of =
        |more: &str, on: &str, what: &str| format!("{} * on ({on}) group_left () {what}", findings(more));
    let (alone, node) = (
        ",source_workload=\"\",destination_workload!=\"\"",
        ",source_workload=\"\",destination_workload=\"\"",
    );
    // A workload may be the client of all its pairs.
    let clients = format!("sum by ({SERVER}) ({})", as_server(&hurts("source_namespace, source_workload")));
    let parts = [
        of(",source_workload!=\"\"", PAIRS, &hurts(PAIRS)),
        of(alone, SERVER, &hurts(SERVER)),
        of(",subject=\"workload\"", SERVER, &clients),
        of(",subject=\"node_pair\"", "instance, peer_node", &sum_rate("instance, peer_node", HURTS_NODES)),
        of(node, "instance", &hurts("instance")),
        format!("0 * {}", findings("")),
    ];
    format!("max by ({FINDING}) ({})", located(&format!("({})", parts.join(" or "))))
}

/// What the pairs hurt per second that findings name: the pair of a finding, or all pairs of its server or its workload.
fn affected() -> String {
    let pairs = hurts(PAIRS);
    let of_pairs = findings(",source_workload!=\"\"");
    let of_servers = findings(",source_workload=\"\",destination_workload!=\"\"");
    let of_workloads = format!(
        "label_join(label_join(group by ({SERVER}) ({}), \"source_namespace\", \"\", \"destination_namespace\"), \
         \"source_workload\", \"\", \"destination_workload\")",
        findings(",subject=\"workload\"")
    );
    let client = "source_namespace, source_workload";
    format!(
        "({pairs} and on ({PAIRS}) {of_pairs}) or ({pairs} and on ({SERVER}) {of_servers}) or ({pairs} and on ({client}) {of_workloads})"
    )
}

fn wrong() -> Vec<Panel> {
    let edges = |reporter: &str, end: &str| {
        format!(
            "/d/netcause-edges?${{datasource:queryparam}}&${{cluster:queryparam}}&var-reporter={reporter}&var-workload=${{__data.fields[\"{end}\"]}}&${{__url_time_range}}"
        )
    };
    let now = |title, owner: &str, description| {
        Panel::new(Kind::Stat, title, Unit::Count, description)
            .query(
                title,
                format!(
                    "count(max by ({FINDING}) ({})) or vector(0)",
                    located(&findings(&format!(",owner=~\"{owner}\"")))
                ),
            )
            .limits(1.0, 10.0)
    };
    vec![
        now("Findings", ".*", "Findings that are active, each once, however many agents see it."),
        now(
            "For the network and the nodes",
            "network|node",
            "Those that the owners of the network or of the nodes act on.",
        ),
        now("For the platform and DNS", "platform|dns", "Those that the owners of policies, services and DNS act on."),
        now("For applications", "client|server", "Those that the developers of a client or a server act on."),
        Panel::table(
            "Active findings",
            Unit::Text,
            "What is wrong, what hurts most first. Impact: connects that fail, resets, DNS queries without an answer and segments sent \
             again (tail loss probes left out), all per second; of the pair, or where a finding is of a server, a workload, a node or its interface, of all its pairs; of two nodes, of the pairs between them. Agents: how many see it. A click on a cause opens its runbook, one on a workload its \
             edges; netcause why has the evidence in words.",
        )
        .label("cause", "Cause")
        .width(170)
        .link("Runbook", "${runbooks}/${__data.fields[\"Cause\"]}.md")
        .value("Impact/s", Unit::Count, impact())
        .limits(0.1, 10.0)
        .width(75)
        .label("source_namespace", "Client in")
        .width(115)
        .label("source_workload", "Client")
        .width(190)
        .link("Its edges", edges("source", "Client"))
        .label("destination_namespace", "Server in")
        .width(115)
        .label("destination_workload", "Server or workload")
        .width(190)
        .link("Its edges", edges("destination", "Server or workload"))
        .label("destination_port", "Port")
        .width(55)
        .label("of_node", "Node")
        .width(180)
        .link("Nodes", "/d/netcause-nodes?${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}")
        .label("peer_node", "Other node")
        .width(180)
        .label("interface", "Interface")
        .width(80)
        .label("owner", "Who acts")
        .width(85)
        .label("confidence", "Confidence")
        .width(90)
        // Beyond the right edge of most screens.
        .value("Agents", Unit::Count, format!("count by ({FINDING}) ({})", located(&findings(""))))
        .width(70)
        .label("side", "Side")
        .width(70)
        .label("subject", "Of what")
        .width(90)
        .sorted("Impact/s")
        .nothing("Nothing is wrong that the agents can name")
        .size(24, 9),
        Panel::new(
            Kind::Timeline,
            "When",
            Unit::Count,
            "When each cause was active, on any agent. What began first is often what the others come from.",
        )
        .query(
            "{{cause}} {{ends}} {{of_node}} {{peer_node}} {{interface}}",
            format!(
                "max by (cause, ends, of_node, peer_node, interface) ({})",
                named(&located(&findings("")))
            ),
        )
        .nothing("Nothing was wrong that the agents can name"),
        Panel::table(
            "What they affect",
            Unit::Text,
            "Pairs with one of the workloads that a finding is of, and what each feels per second: that is what a finding of a server or a \
             workload affects.",
        )
        .label("source_namespace", "Client in")
        .label("source_workload", "Client")
        .link("Its edges", edges("source", "Client"))
        .label("destination_namespace", "Server in")
        .label("destination_workload", "Server")
        .link("Its edges", edges("destination", "Server"))
        .value("Impact/s", Unit::Count, affected())
        .limits(0.1, 10.0)
        .width(90)
        .sorted("Impact/s")
        .nothing("No pair that a finding names")
        .size(24, 7),
    ]
}

fn explained() -> Vec<Panel> {
    vec![
        Panel::explained(
            "Zones",
            "Zones that explain loss, and pairs of zones where neither of both does, with its mean. The recording rules of deploy/prometheus \
             have to be installed, and the scrape has to add the label node; empty where nothing is lost.",
            explaining_zones(),
        )
        .label("zone", "Zone")
        .label("peer_zone", "To zone")
        .label("direction", "Lost is what it")
        .size(10, 6),
        Panel::explained(
            "Nodes",
            "Nodes that explain loss with most others, with its mean, and whether what they send or what they receive is lost. The \
             recording rules of deploy/prometheus have to be installed; empty where nothing is lost.",
            explaining("node, direction", "netcause:node_loss:named"),
        )
        .label("node", "Node")
        .label("direction", "Lost is what it")
        .size(7, 6),
        Panel::explained(
            "Pairs of nodes",
            "Pairs of nodes whose loss neither a node nor a zone explains. The recording rules of deploy/prometheus have to be installed; \
             empty where nothing is lost.",
            explaining("node, peer_node", "netcause:node_pair_loss:named"),
        )
        .label("node", "Node")
        .label("peer_node", "To node")
        .size(7, 6),
    ]
}

fn evidence() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Segments sent again, by kind",
            Unit::PacketsPerSecond,
            "What made the kernel send again. fast: the receiver said that something is missing; timeout: nothing came back; syn and \
             synack: handshakes; tail_loss_probe is normal on healthy links.",
        )
        .nothing("No segment was sent again")
        .query("{{kind}}", felt("kind", "netcause_tcp_retransmitted_segments_total", "")),
        Panel::lines(
            "Packets dropped on nodes, by reason",
            Unit::PacketsPerSecond,
            "Packets from or to the workloads that the kernel of a node has dropped itself. What is sent again and not dropped here was lost on \
             the way.",
        )
        .nothing("Nothing was dropped")
        .query(
            "{{reason}} {{direction}}",
            r#"sum by (reason, direction) (rate(netcause_packet_drops_total{cluster=~"$cluster",namespace=~"$namespace",workload=~"$workload"}[$__rate_interval]) or rate(netcause_packet_drops_total{cluster=~"$cluster",peer_namespace=~"$namespace",peer_workload=~"$workload"}[$__rate_interval]))"#,
        ),
        Panel::lines(
            "Failed connects, by reason",
            Unit::ConnectionsPerSecond,
            "Connection attempts that failed. refused: nobody listens; timed_out: nobody answers.",
        )
        .nothing("No connect has failed")
        .query("{{reason}}", felt("reason", "netcause_tcp_connect_failures_total", "")),
        Panel::lines(
            "What connections wait for",
            Unit::Count,
            "Open connections on average by what they wait for. network: data is not acknowledged; peer_application and local_application: a \
             request is not answered; local_reader: data is not read. Idle ones are left out.",
        )
        .nothing("No connection waits")
        .query("{{on}}", felt("on", "netcause_tcp_waited_seconds_total", ",on!=\"idle\"")),
        Panel::lines("Resets, by direction", Unit::PacketsPerSecond, "TCP resets that either end sent and received.")
        .nothing("No resets")
            .query("{{direction}}", felt("direction", "netcause_tcp_resets_total", "")),
        Panel::lines(
            "DNS without success",
            Unit::RequestsPerSecond,
            "DNS queries without an answer in time, and answers that are failures of the server.",
        )
        .nothing("Every query was answered")
        .query("no answer", felt("cluster", "netcause_dns_timeouts_total", ""))
        .query("{{rcode}}", felt("rcode", "netcause_dns_responses_total", ",rcode!~\"NOERROR|NXDOMAIN\"")),
        Panel::lines(
            "Handshakes dropped by listening sockets",
            Unit::ConnectionsPerSecond,
            "accept_queue_full: the application does not accept fast enough; request_queue_full: too many handshakes are incomplete.",
        )
        .nothing("No handshake was dropped")
        .query(
            "{{destination_namespace}} {{destination_workload}}:{{destination_port}} {{reason}}",
            worst(&sum_rate(
                "destination_namespace, destination_workload, destination_port, reason",
                &at("netcause_tcp_listen_drops_total", "destination", ""),
            )),
        ),
        Panel::lines(
            "Time to answer, p95",
            Unit::Seconds,
            "95th percentile of the time from a request to its answer, as the client sees it: slower together with a fast round trip is \
             the server's application.",
        )
        .nothing("No answers")
        .query(
            "p95",
            p95("netcause_tcp_response_duration_seconds"),
        ),
        Panel::lines(
            "Queueing delay, p95",
            Unit::Seconds,
            "By how much the round trip exceeds the least of the same connection: queues on the path.",
        )
        .nothing("No connection outlived two sweeps")
        .query(
            "p95",
            p95("netcause_tcp_queueing_delay_seconds"),
        ),
    ]
}
