//! `netcause check`: which probes and readers can run on this node, and why others cannot.

use std::io::{self, Write};
use std::path::PathBuf;

use netcause_core::node::Reader;
use serde::Serialize;

use crate::cli::Output;
use crate::kernel::cgroups::find_root;
use crate::kernel::{self, LoadError, Options, ProbeState};
use crate::sources::node::Readers;

#[derive(Serialize)]
struct Report {
    kernel: String,
    cgroup2: Option<String>,
    probes: Vec<Row>,
    node_readers: Vec<Reading>,
}

#[derive(Serialize)]
struct Row {
    probe: &'static str,
    #[serde(flatten)]
    state: State,
}

/// Whether something can run.
#[derive(Serialize)]
struct State {
    available: bool,
    measures: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
}

#[derive(Serialize)]
struct Reading {
    reader: &'static str,
    #[serde(flatten)]
    state: State,
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
        cgroup2: root.as_ref().map(|root| root.display().to_string()),
        probes: probes.into_iter().map(row).collect(),
        node_readers: readers(root),
    };
    // The reader of a pipe may have closed it.
    let _ = print(&report, output, &mut io::stdout().lock());
    Ok(report.probes.iter().any(|row| row.state.available))
}

fn row(state: ProbeState) -> Row {
    let ProbeState { probe, unavailable, .. } = state;
    Row {
        probe: probe.name(),
        state: State::new(probe.about, probe.without, unavailable.map(|unavailable| unavailable.message)),
    }
}

/// Every reader of the node, by reading once.
fn readers(cgroup_root: Option<PathBuf>) -> Vec<Reading> {
    let reading = Readers::new(cgroup_root).read();
    let failure = |reader| {
        reading.failures().find(|(failed, _)| *failed == reader).map(|(_, failure)| failure.message.clone())
    };
    let row = |reader: Reader| Reading {
        reader: reader.label(),
        state: State::new(reader.about(), reader.without(), failure(reader)),
    };
    Reader::ALL.map(row).into()
}

impl State {
    fn new(measures: &'static str, without: &'static str, reason: Option<String>) -> Self {
        Self { available: reason.is_none(), measures, without: reason.is_some().then_some(without), reason }
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
    let probes: Vec<_> = report.probes.iter().map(|row| (row.probe, &row.state)).collect();
    print_table("PROBE", &probes, to)?;
    writeln!(to)?;
    let readers: Vec<_> = report.node_readers.iter().map(|row| (row.reader, &row.state)).collect();
    print_table("NODE READER", &readers, to)
}

fn print_table(title: &str, rows: &[(&str, &State)], to: &mut impl Write) -> io::Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).chain([title.len()]).max().unwrap_or_default();
    writeln!(to, "{title:width$}  AVAILABLE  WHAT IT MEASURES")?;
    for (name, State { available, measures, reason, without }) in rows {
        let available = if *available { "yes" } else { "no" };
        writeln!(to, "{name:width$}  {available:9}  {measures}")?;
        if let Some(reason) = reason {
            writeln!(to, "{:width$}             reason: {reason}", "")?;
        }
        if let Some(without) = without {
            writeln!(to, "{:width$}             without it: {without}", "")?;
        }
    }
    Ok(())
}
