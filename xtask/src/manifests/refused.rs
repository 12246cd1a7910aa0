//! Values that the chart must refuse, with the name of the key.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::{RELEASES, chart};
use crate::tools::Validator;

/// Values, and what the message says of them.
const WRONG: [(&str, &str); 17] = [
    // Keys that there are not.
    ("configs: {log: debug}", "additional properties 'configs' not allowed"),
    ("config: {max_flow: 5}", "at '/config': additional properties 'max_flow' not allowed"),
    ("config: {node_name: a}", "at '/config': additional properties 'node_name' not allowed"),
    ("updateStrategy: {rollingUpdate: {maxSurge: 1}}", "additional properties 'maxSurge' not allowed"),
    // Other types.
    ("config: {max_series: many}", "at '/config/max_series': got string, want integer"),
    ("config: {max_series: 10.5}", "at '/config/max_series': got number, want integer"),
    ("podMonitor: {interval: 15}", "at '/podMonitor/interval': got number, want string"),
    ("tolerations: {operator: Exists}", "at '/tolerations': got object, want array"),
    ("oldKernels: \"yes\"", "at '/oldKernels': got string, want boolean"),
    // Out of bounds.
    ("config: {max_tcp_flows: 2}", "at '/config/max_tcp_flows': minimum: got 2, want 3"),
    ("config: {sweep_cpu_percent: 101}", "at '/config/sweep_cpu_percent': maximum: got 101, want 100"),
    ("config: {dns_ports: [53, 0]}", "at '/config/dns_ports/1': minimum: got 0, want 1"),
    // Not among those that are allowed.
    ("config: {event_ring_bytes: 5000}", "at '/config/event_ring_bytes': value must be one of"),
    ("config: {log_format: xml}", "at '/config/log_format': value must be one of"),
    // YAML reads this as false.
    ("config: {kubernetes: off}", "at '/config/kubernetes': value must be one of"),
    // Of another form: there the kubelet and Prometheus do not reach it.
    ("config: {listen: \"127.0.0.1:9779\"}", "at '/config/listen': '127.0.0.1:9779' does not match pattern"),
    ("image: {digest: \"sha256:abc\"}", "at '/image/digest': 'sha256:abc' does not match pattern"),
];

/// Fails unless Helm refuses each of them and names the key. Says how many there are.
pub(super) fn check(validator: &Validator, directory: &Path) -> Result<usize> {
    let file = directory.join("wrong-values.yaml");
    let values = ["--values".to_owned(), file.to_string_lossy().into_owned()];
    for (wrong, expected) in WRONG {
        fs::write(&file, wrong).with_context(|| format!("cannot write {}", file.display()))?;
        is_refused(validator, &values, RELEASES[1], wrong, expected)?;
    }
    is_refused(validator, &[], "1.29.0", "Kubernetes 1.29", "which is incompatible with Kubernetes v1.29.0")?;
    Ok(WRONG.len() + 1)
}

fn is_refused(
    validator: &Validator,
    arguments: &[String],
    release: &str,
    what: &str,
    expected: &str,
) -> Result<()> {
    let output = chart::template(validator, arguments, release)?.output().context("cannot start helm")?;
    let message = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !message.contains(expected) {
        bail!(
            "the chart does not refuse {what} with {expected:?}, but ends with {}:\n{message}",
            output.status
        );
    }
    Ok(())
}
