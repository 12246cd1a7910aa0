//! The agent's own log.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// The log target of the Kubernetes client's requests.
const KUBE_CLIENT: &str = "kube_client";

/// Reads a filter such as `info,tcp_events=debug`.
///
/// # Errors
///
/// When it is none.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    let parsed = EnvFilter::builder().parse(filter)?;
    // It says every failed request as an error; what matters of them is said where names come from.
    let is_asked_for = filter.contains(KUBE_CLIENT);
    Ok(if is_asked_for { parsed } else { parsed.add_directive(format!("{KUBE_CLIENT}=off").parse()?) })
}

/// Starts logging to standard error.
///
/// # Errors
///
/// When the filter is none.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let builder = tracing_subscriber::fmt().with_env_filter(parse_filter(filter)?).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
