//! `netcause check`: can each probe run here, and why not.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::Output;
use crate::kernel::{self, LoadError, Options, ProbeState};
use netcause_core::enrich::cgroup;

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
    tells: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
}

/// Prints the report; true when anything can run.
///
/// # Errors
///
/// When nothing can be loaded at all, whatever the probe.
pub fn run(output: Output) -> Result<bool, LoadError> {
    let root = cgroup::find_root().ok().flatten();
    let probes = kernel::rehearse(&Options::minimal(root.clone()))?;
    let report = Report {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cgroup2: root.map(|root| root.display().to_string()),
        probes: probes.into_iter().map(row).collect(),
    };
    // A reader that has gone away has seen enough.
    let _ = print(&report, output, &mut io::stdout().lock());
    Ok(report.probes.iter().any(|row| row.available))
}

fn row(state: ProbeState) -> Row {
    Row {
        probe: state.probe.name,
        available: state.unavailable.is_none(),
        tells: state.probe.about,
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
        None => writeln!(to, "cgroup2  not mounted: workloads are told apart by network namespace only")?,
    }
    writeln!(to)?;
    let width = report.probes.iter().map(|row| row.probe.len()).max().unwrap_or_default();
    writeln!(to, "{:width$}  RUNS  TELLS", "PROBE")?;
    for row in &report.probes {
        writeln!(to, "{:width$}  {:4}  {}", row.probe, if row.available { "yes" } else { "NO" }, row.tells)?;
        if let Some(reason) = &row.reason {
            writeln!(to, "{:width$}        why not: {reason}", "")?;
        }
        if let Some(without) = row.without {
            writeln!(to, "{:width$}        without it: {without}", "")?;
        }
    }
    Ok(())
}
