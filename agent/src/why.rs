//! `netcause why`: what a running agent finds wrong, in words.

mod text;

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::cli::{Confidence, EdgesOutput, WhyArguments};
use crate::client::{Client, ClientError};
use crate::expose::findings::{Answer, Query, Row};
use crate::record::{RecordingError, findings_at};
use crate::telemetry;
use crate::terminal::{Style, print};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The agent does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The recording has nothing to say.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// An answer that cannot be written.
    #[error("cannot write the answer: {0}")]
    Json(serde_json::Error),
}

/// How often `--follow` asks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Asks, and prints; true when something is wrong that is sure enough.
///
/// # Errors
///
/// When the agent does not answer, or there is no recording of that time.
pub fn run(arguments: &WhyArguments) -> Result<bool, WhyError> {
    let WhyArguments { workload, since: _, follow, fail_on: _, replay, at, url, output } = arguments;
    let query = Query { workload: workload.clone() };
    if let Some(recording) = replay {
        let (lately, origin) = findings_at(recording, *at)?;
        if origin.agent != env!("CARGO_PKG_VERSION") {
            telemetry::say(format_args!(
                "netcause: recorded by version {}, and judged by this one, {}: the findings may be others",
                origin.agent,
                env!("CARGO_PKG_VERSION")
            ));
        }
        let answer = Answer::new(&lately, &query);
        let body = serde_json::to_string(&answer).map_err(WhyError::Json)?;
        return Ok(said(arguments, &body, answer).0);
    }
    let client = Client::new(url)?;
    let ask = || -> Result<(String, Answer), ClientError> {
        let body = client.get(&format!("/api/v1/findings{query}"))?;
        let answer = serde_json::from_str(&body).map_err(|error| client.not_an_agent(&error))?;
        Ok((body, answer))
    };
    let (body, answer) = ask()?;
    let (is_found, answer) = said(arguments, &body, answer);
    if *follow {
        follow_on(answer, *output, &Style::of_output(), ask)?;
    }
    Ok(is_found)
}

/// Says an answer; true when something is wrong that is sure enough.
fn said(arguments: &WhyArguments, body: &str, mut answer: Answer) -> (bool, Answer) {
    let WhyArguments { since, fail_on, output, .. } = arguments;
    let is_found = answer.findings.iter().any(|finding| {
        finding.until.is_none() && confidence(finding).is_some_and(|confidence| confidence >= *fail_on)
    });
    let style = Style::of_output();
    if *output == EdgesOutput::Json {
        print(&format!("{body}\n"));
    } else {
        answer.findings.retain(|finding| is_within(finding, &answer.generated_at, since.0));
        print(&text::answer(&answer, &style));
    }
    (is_found, answer)
}

/// Says what begins and ends, until nobody reads it.
fn follow_on(
    answer: Answer,
    output: EdgesOutput,
    style: &Style,
    ask: impl Fn() -> Result<(String, Answer), ClientError>,
) -> Result<(), ClientError> {
    let states = |answer: Answer| -> HashMap<(String, String), Row> {
        answer
            .findings
            .into_iter()
            .map(|finding| ((finding.id.clone(), finding.state.clone()), finding))
            .collect()
    };
    let mut known = states(answer);
    loop {
        std::thread::sleep(INTERVAL);
        let now = match ask() {
            Ok((_, now)) => states(now),
            Err(error) => {
                if !print(&format!("{error}\n")) {
                    return Ok(());
                }
                continue;
            }
        };
        let mut new: Vec<&Row> =
            now.iter().filter(|(state, _)| !known.contains_key(*state)).map(|(_, finding)| finding).collect();
        new.sort_by(|a, b| (&a.since, &a.id).cmp(&(&b.since, &b.id)));
        for finding in new {
            let text = match output {
                EdgesOutput::Json => serde_json::to_string(finding).unwrap_or_default() + "\n",
                EdgesOutput::Text => text::finding(finding, style) + "\n",
            };
            if !print(&text) {
                return Ok(());
            }
        }
        known = now;
    }
}

fn confidence(finding: &Row) -> Option<Confidence> {
    clap::ValueEnum::from_str(&finding.confidence, true).ok()
}

/// Active, or ended no longer ago than that.
fn is_within(finding: &Row, now: &str, since: Duration) -> bool {
    let Some(until) = &finding.until else { return true };
    let (Ok(until), Ok(now)) = (until.parse::<Timestamp>(), now.parse::<Timestamp>()) else { return true };
    now.as_second().saturating_sub(until.as_second()).unsigned_abs() <= since.as_secs()
}
