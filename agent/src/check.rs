//! `netcause check`: which probes can run on this node, and why others cannot.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::Output;
use crate::kernel::cgroups::find_root;
use crate::kernel::{self, LoadError, Options, ProbeState};

#[derive(Serialize)]
struct Report {
    kernel: String,
    cgroup2: Option<String>,
    probes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    probe: &'static str,
    available: bool,
    measures: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
}

/// Prints the report; true when at least one probe can run.
///
/// # Errors
///
/// When no program can be loaded, whatever the probe.
pub fn run(output: Output) -> Result<bool, LoadError> {
    let root = find_root().ok().flatten();
    let probes = kernel::rehearse(&Options::minimal(root.clone()))?;
    let report = Report {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cgroup2: root.map(|root| root.display().to_string()),
        probes: probes.into_iter().map(row).collect(),
    };
    // The reader of a pipe may have closed it.
    let _ = print(&report, output, &mut io::stdout().lock());
    Ok(report.probes.iter().any(|row| row.available))
}

fn row(state: ProbeState) -> Row {
    Row {
        probe: state.probe.name(),
        available: state.unavailable.is_none(),
        measures: state.probe.about,
        without: state.unavailable.is_some().then_some(state.probe.without),
        reason: state.unavailable.map(|unavailable| unavailable.message),
    }
}

fn print(report: &Report, output: Output, to: &mut impl Write) -> io::Result<()> {
    if output == Output::Json {
        serde_json::to_writer_pretty(&mut *to, report)?;
        return writeln!(to);
    }
    writeln!(to, "kernel   {}", report.kernel)?;
    match &report.cgroup2 {
        Some(mount) => writeln!(to, "cgroup2  {mount}")?,
        None => writeln!(to, "cgroup2  not mounted: workloads are identified by network namespace only")?,
    }
    writeln!(to)?;
    let width = report.probes.iter().map(|row| row.probe.len()).max().unwrap_or_default();
    writeln!(to, "{:width$}  AVAILABLE  WHAT IT MEASURES", "PROBE")?;
    for row in &report.probes {
        let available = if row.available { "yes" } else { "no" };
        writeln!(to, "{:width$}  {available:9}  {}", row.probe, row.measures)?;
        if let Some(reason) = &row.reason {
            writeln!(to, "{:width$}             reason: {reason}", "")?;
        }
        if let Some(without) = row.without {
            writeln!(to, "{:width$}             without it: {without}", "")?;
        }
    }
    Ok(())
}
