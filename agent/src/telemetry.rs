//! The agent's own log.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The log target of the Kubernetes client's requests.
const KUBE_CLIENT: &str = "kube_client";

/// Format of the log.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Lines that could not be written.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Log lines that could not be written since the start.
#[must_use]
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// Standard error. A line that cannot be written, because its reader is gone or the disk is full, is counted: no reason for
/// the agent to end.
struct Log;

impl Write for Log {
    /// Takes a line: the subscriber writes each with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line for the user to standard error, where no log is written yet or any more.
pub fn say(line: impl std::fmt::Display) {
    // Without a reader there is nobody to say it to; the exit code remains.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Parses a filter such as `info,tcp_events=debug`.
///
/// # Errors
///
/// When it is not a filter.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    let parsed = EnvFilter::builder().parse(filter)?;
    // It logs every failed request as an error; the sources of names log failures themselves.
    let is_requested = filter.contains(KUBE_CLIENT);
    Ok(if is_requested { parsed } else { parsed.add_directive(format!("{KUBE_CLIENT}=off").parse()?) })
}

/// Starts logging to standard error.
///
/// # Errors
///
/// When `filter` is not a filter.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let builder = tracing_subscriber::fmt().with_env_filter(parse_filter(filter)?).with_writer(|| Log);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
