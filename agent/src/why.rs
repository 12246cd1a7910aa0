//! `netcause why`: what a running agent finds wrong, in words.

mod text;

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::cli::{Confidence, EdgesOutput, WhyArguments};
use crate::client::{Client, ClientError};
use crate::expose::findings::{Answer, Query, Row};
use crate::terminal::{Style, print};

/// How often `--follow` asks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Asks, and prints; true when something is wrong that is sure enough.
///
/// # Errors
///
/// When the agent does not answer.
pub fn run(arguments: &WhyArguments) -> Result<bool, ClientError> {
    let WhyArguments { workload, since, follow, fail_on, url, output } = arguments;
    let client = Client::new(url)?;
    let query = Query { workload: workload.clone() };
    let ask = || -> Result<(String, Answer), ClientError> {
        let body = client.get(&format!("/api/v1/findings{query}"))?;
        let answer = serde_json::from_str(&body).map_err(|error| client.not_an_agent(&error))?;
        Ok((body, answer))
    };
    let (body, mut answer) = ask()?;
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
    if *follow {
        follow_on(answer, *output, &style, ask)?;
    }
    Ok(is_found)
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
