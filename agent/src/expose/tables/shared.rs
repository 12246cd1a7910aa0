//! Label names that several tables share, and the value of a workload.

use std::borrow::Cow;

use netcause_core::enrich::Workload;

/// On everything that concerns a pair of workloads: Istio's words.
pub(super) const EDGE_LABELS: [&str; 8] = [
    "reporter",
    "source_namespace",
    "source_workload",
    "destination_namespace",
    "destination_workload",
    "destination_service",
    "destination_port",
    "via",
];

/// On everything that concerns a listening socket: the edge labels of its end.
pub(super) const LISTENER_LABELS: [&str; 3] =
    ["destination_namespace", "destination_workload", "destination_port"];

/// What a workload is called, without its namespace.
pub(super) fn workload(workload: &Workload) -> Cow<'_, str> {
    match workload {
        Workload::Named(name) => name.workload().into(),
        other => other.to_string().into(),
    }
}
