//! Findings: what is wrong.

use std::borrow::Cow;

use netcause_core::diagnose::cause::{Cause, Side};
use netcause_core::diagnose::finding::{Finding, Subject};
use netcause_core::enrich::Workload;

use super::labels;
use super::shared::workload;
use crate::expose::series::{Family, Rows, Table, counter, gauge, last, sum};
use crate::expose::snapshot::FindingsView;

static ACTIVE: Table<u64> = Table {
    labels: &[
        "cause",
        "side",
        "owner",
        "confidence",
        "subject",
        "source_namespace",
        "source_workload",
        "destination_namespace",
        "destination_workload",
        "destination_port",
        "peer_node",
        "interface",
    ],
    sparse: false,
    metrics: &[gauge(
        "netcause_finding_active",
        "1 for each finding that is active: something is wrong with the network or what looks like it. cause: what \
         (docs/findings.md has all); side: where, path, node, server, client, policy or dns; owner: who acts; confidence: low, \
         medium or high. subject: what the finding is of, edge, workload, listener, node, node_pair, interface or dns_server; its names \
         are in the labels that follow, which are empty where they do not belong to it. /api/v1/findings and netcause why have the \
         evidence and the next step. At most 512.",
        |active, to| to.value(*active),
    )],
};

static FOUND: Table<u64> = Table {
    labels: &["cause", "side"],
    sparse: false,
    metrics: &[counter(
        "netcause_findings",
        "Findings that have begun since the agent started.",
        |found, to| {
            to.value(*found);
        },
    )],
};

static EVENTS: Table<u64> = Table {
    labels: &["outcome"],
    sparse: false,
    metrics: &[counter(
        "netcause_kubernetes_events",
        "Kubernetes Events of findings, since the agent started, with kubernetes_events. outcome: written, an Event on a pod; failed, \
         the API server did not take one (the log has why); rate_limited, a finding that was not written, because there were too \
         many.",
        |events, to| to.value(*events),
    )],
};

pub(super) fn families(findings: &FindingsView) -> impl Iterator<Item = Family<'_>> {
    let active = findings.active.iter().map(|finding| (finding_labels(finding), 1));
    let events = findings.events.iter().flatten().map(|(outcome, count)| (labels![*outcome], *count));
    let found = |(cause, side, count): &(Cause, Side, u64)| (labels![cause.label(), side.label()], *count);
    ACTIVE
        .families(&Rows::new(active, last))
        .chain(FOUND.families(&Rows::new(findings.found.iter().map(found), sum)))
        .chain(EVENTS.families(&Rows::new(events, last)))
}

fn finding_labels(finding: &Finding) -> Vec<Cow<'_, str>> {
    let Finding { cause, side, owner, confidence, subject, .. } = finding;
    let mut labels = labels![cause.label(), side.label(), owner.label(), confidence.label(), subject.kind()];
    let (source, destination, port) = match subject {
        Subject::Edge(pair) | Subject::DnsServer(pair) => {
            (Some(&pair.source), Some(&pair.destination), pair.port)
        }
        Subject::Workload(workload) => (None, Some(workload), None),
        Subject::Listener(workload, port) => (None, Some(workload), *port),
        Subject::Node | Subject::NodePair(_) | Subject::Interface(_) => (None, None, None),
    };
    for end in [source, destination] {
        labels.push(end.map_or("", Workload::namespace).into());
        labels.push(end.map_or(Cow::Borrowed(""), workload));
    }
    labels.push(port.map_or(Cow::Borrowed(""), |port| port.to_string().into()));
    let (peer_node, interface) = match subject {
        Subject::NodePair(node) => (node.as_str(), ""),
        Subject::Interface(device) => ("", device.as_str()),
        _ => ("", ""),
    };
    labels.extend([peer_node, interface].map(Cow::Borrowed));
    labels
}
