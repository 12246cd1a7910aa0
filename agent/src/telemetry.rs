//! The agent's own log.

use std::io;

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
    let builder = tracing_subscriber::fmt().with_env_filter(parse_filter(filter)?).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
