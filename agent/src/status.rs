//! `netcause status`: how a running agent is: what is down and why, what was lost, and how full its tables are.

mod text;

use crate::cli::{EdgesOutput, StatusArguments};
use crate::client::{Client, ClientError};
use crate::expose::status::Answer;
use crate::terminal::{Style, print};

/// Asks, and prints; true when something is down or was lost.
///
/// # Errors
///
/// When the agent does not answer.
pub fn run(arguments: &StatusArguments) -> Result<bool, ClientError> {
    let StatusArguments { url, access, output } = arguments;
    let client = Client::new(url, access)?;
    let body = client.get("/api/v1/status")?;
    let answer: Answer = serde_json::from_str(&body).map_err(|error| client.not_an_agent(&error))?;
    print(&match output {
        EdgesOutput::Json => format!("{body}\n"),
        EdgesOutput::Text => text::answer(&answer, Style::of_output()),
    });
    Ok(!answer.impaired.is_empty())
}
