//! `netcause why`: what running agents, or a recording, find wrong, in words.

mod merged;
mod several;
mod text;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::cli::{EdgesOutput, WhyArguments};
use crate::client::{Client, ClientError};
use crate::expose::findings::{Answer, Query, Row};
use crate::record::{RecordingError, findings_at};
use crate::telemetry;
use crate::terminal::{Style, print};
use merged::{Merged, Said};
use several::{Agents, Answers};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The agent does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// None of several agents answers.
    #[error("no agent answers:\n{0}")]
    NoAgent(String),
    /// The cluster does not say which agents there are.
    #[error("{0}")]
    Cluster(String),
    /// The recording has nothing to say.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// An answer that cannot be written.
    #[error("cannot write the answer: {0}")]
    Json(#[from] serde_json::Error),
    /// No threads or timers.
    #[error("cannot ask several agents: {0}")]
    Runtime(#[from] io::Error),
}

/// Agents whose errors are said where none answers.
const MOST_ERRORS: usize = 10;
/// How often `--follow` asks.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is said: as JSON, and in parts.
struct Reply {
    body: String,
    merged: Merged,
    /// The time that findings are recent at.
    now: String,
}

impl Reply {
    /// Of one agent, whose answer is passed on as it is.
    fn of_one(agent: &str, body: String, answer: Answer) -> Self {
        let now = answer.generated_at.clone();
        Self { body, merged: Merged::of_one(agent, answer), now }
    }
}

/// Asks, and prints; true when something is wrong that is sure enough.
///
/// # Errors
///
/// When no agent answers, or there is no recording of that time.
pub fn run(arguments: &WhyArguments) -> Result<bool, WhyError> {
    let query = Query { workload: arguments.workload.clone() };
    if let Some(recording) = &arguments.replay {
        let (lately, origin) = findings_at(recording, arguments.at)?;
        if origin.agent != env!("CARGO_PKG_VERSION") {
            telemetry::say(format_args!(
                "netcause: recorded by version {}, and judged by this one, {}: the findings may be others",
                origin.agent,
                env!("CARGO_PKG_VERSION")
            ));
        }
        let answer = Answer::new(&lately, &query);
        let body = serde_json::to_string(&answer)?;
        return Ok(say(arguments, &mut Reply::of_one("the recording", body, answer)));
    }
    let path = format!("/api/v1/findings{query}");
    match (&arguments.kube, &arguments.url[..]) {
        (None, [url]) => {
            let client = Client::new(url, &arguments.access)?;
            follow(arguments, || {
                let body = client.get(&path)?;
                let answer = serde_json::from_str(&body).map_err(|error| client.not_an_agent(&error))?;
                Ok(Reply::of_one(client.url(), body, answer))
            })
        }
        (kube, urls) => {
            let agents = match kube {
                Some(namespace) => {
                    let WhyArguments { kubeconfig, context, access, .. } = arguments;
                    // The API server's proxy keeps `Authorization` for itself.
                    let token = access.token("").map_err(ClientError::Access)?;
                    Agents::of_cluster(namespace, kubeconfig.clone(), context.clone(), token)
                }
                None => {
                    let clients = urls.iter().map(|url| Client::new(url, &arguments.access));
                    Agents::Urls(clients.collect::<Result<_, ClientError>>()?)
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            follow(arguments, || {
                let answers = runtime.block_on(agents.ask(&path)).map_err(WhyError::Cluster)?;
                reply_of_several(answers)
            })
        }
    }
}

fn reply_of_several(answers: Answers) -> Result<Reply, WhyError> {
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        let errors = answers
            .iter()
            .filter_map(|(agent, answer)| answer.as_ref().err().map(|error| format!("  {agent}: {error}")));
        return Err(WhyError::NoAgent(errors.take(MOST_ERRORS).collect::<Vec<_>>().join("\n")));
    }
    let merged = Merged::new(answers);
    let now = merged.agents.iter().filter_map(|agent| agent.generated_at.clone()).max().unwrap_or_default();
    Ok(Reply { body: serde_json::to_string(&merged)?, merged, now })
}

/// Says an answer, and with `--follow` what begins and ends after it; true when something is wrong that is sure enough.
fn follow(arguments: &WhyArguments, ask: impl Fn() -> Result<Reply, WhyError>) -> Result<bool, WhyError> {
    let mut reply = ask()?;
    let is_found = say(arguments, &mut reply);
    if arguments.follow {
        follow_on(reply.merged, arguments.output, &Style::of_output(), ask);
    }
    Ok(is_found)
}

/// Says an answer; true when something is wrong that is sure enough.
fn say(arguments: &WhyArguments, reply: &mut Reply) -> bool {
    let WhyArguments { since, fail_on, output, .. } = arguments;
    let Reply { body, merged, now } = reply;
    let is_sure = |said: &Said| said.confidence().is_some_and(|confidence| confidence >= *fail_on);
    let is_found = merged.findings.iter().any(|said| said.is_active() && is_sure(said));
    let style = Style::of_output();
    if *output == EdgesOutput::Json {
        print(&format!("{body}\n"));
    } else {
        merged.findings.retain(|said| is_within(&said.row, now, since.0));
        print(&text::answer(merged, &style));
    }
    is_found
}

/// Says what begins and ends, until nobody reads it.
fn follow_on(merged: Merged, output: EdgesOutput, style: &Style, ask: impl Fn() -> Result<Reply, WhyError>) {
    let states = |merged: Merged| -> HashMap<(String, String), Said> {
        let states = merged.findings.into_iter();
        states.map(|said| ((said.row.id.clone(), said.row.state.clone()), said)).collect()
    };
    let mut known = states(merged);
    loop {
        std::thread::sleep(INTERVAL);
        let now = match ask() {
            Ok(reply) => states(reply.merged),
            Err(error) => {
                if !print(&format!("{error}\n")) {
                    return;
                }
                continue;
            }
        };
        let mut new: Vec<&Said> =
            now.iter().filter(|(state, _)| !known.contains_key(*state)).map(|(_, said)| said).collect();
        new.sort_by(|a, b| (&a.row.since, &a.row.id).cmp(&(&b.row.since, &b.row.id)));
        for said in new {
            let text = match output {
                EdgesOutput::Json if said.nodes.is_empty() => {
                    serde_json::to_string(&said.row).unwrap_or_default() + "\n"
                }
                EdgesOutput::Json => serde_json::to_string(said).unwrap_or_default() + "\n",
                EdgesOutput::Text => text::finding(said, style) + "\n",
            };
            if !print(&text) {
                return;
            }
        }
        known = now;
    }
}

/// Active, or ended no longer ago than that.
fn is_within(finding: &Row, now: &str, since: Duration) -> bool {
    let Some(until) = &finding.until else { return true };
    let (Ok(until), Ok(now)) = (until.parse::<Timestamp>(), now.parse::<Timestamp>()) else { return true };
    now.as_second().saturating_sub(until.as_second()).unsigned_abs() <= since.as_secs()
}
