//! A recording: what an agent found, a command finds again without it, to the byte.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{
    agent::{self, Agent, Options},
    eventually, eventually_within,
    findings::{self, Wanted},
    process::{Finished, Process},
    scaled,
    topology::Net,
};

/// A directory that goes with its scenario.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // In the temporary directory: a leftover does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an agent answered, `why --replay` answers to the byte: while it records, after kill -9 in the middle, and for both of its
/// lives after a second one. A part without names has the same finding.
pub(super) fn replayed(name: &str) -> Result<()> {
    let directory = Directory(std::env::temp_dir().join(format!("{name}-recording").replace("::", "-")));
    let text = directory.0.to_str().context("a path that is no text")?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let args = ["--count", "1000000", "--send", "10", "--interval-ms", "100"];
    let _traffic = client.start_client(server.at(8080), &args)?;
    let args = ["--record", text, "--record-minutes", "1", "--node-name", "lab-node"];
    let mut bodies = Vec::new();
    for life in ["first", "second"] {
        let options = Options { args: &args, without_dns: true, ..Options::default() };
        let agent = Agent::start(name, life, &options)?;
        let wanted = Wanted {
            cause: "connection_refused",
            side: "server",
            kind: "edge",
            client: Some(&client),
            server: Some(&server),
        };
        findings::expect(&agent, &wanted, &[&client, &server], Duration::from_secs(scaled(60, 120)))?;
        let body = agent.get("/api/v1/findings", "*/*")?.body;
        ensure!(body.contains("connection_refused"), "{body}");
        // It is written on a thread of its own.
        eventually("the recording has what was answered", || same(&directory.0, &body))?;
        agent.until("windows are recorded, and none is lost", |metrics| {
            ensure!(metrics.sum("netcause_record_windows_total", &[]) >= 2.0, "none");
            ensure!(metrics.sum("netcause_record_windows_lost_total", &[]) == 0.0, "some are lost");
            Ok(())
        })?;
        agent.signal(Signal::KILL)?;
        bodies.push(body);
        eventually_within(Duration::from_secs(5), "it is dead, and what it said can be read", || {
            ensure!(agent.get("/readyz", "*/*").is_err(), "it still answers");
            bodies.iter().try_for_each(|body| same(&directory.0, body))
        })?;
    }
    let part = Directory(directory.0.with_extension("part"));
    let out = part.0.to_str().context("a path that is no text")?;
    let trimmed = netcause(&["record", "trim", "--from", "-20s", "--strip-names", text, out])?;
    ensure!(trimmed.status.success(), "{}{}", trimmed.stdout, trimmed.stderr);
    let stripped = netcause(&["why", "--replay", out, "-o", "json"])?;
    ensure!(
        stripped.stdout.contains("\"connection_refused\"")
            && ![client.workload(), server.workload(), "lab-node"]
                .iter()
                .any(|name| stripped.stdout.contains(name)),
        "{}",
        stripped.stdout
    );
    let outside = netcause(&["why", "--replay", text, "--at", "2020-01-01T00:00:00Z"])?;
    ensure!(
        outside.status.code() == Some(1) && outside.stderr.contains("the recording has 20"),
        "{}: {}",
        outside.status,
        outside.stderr
    );
    let shown = netcause(&["record", "show", text])?;
    ensure!(
        shown.stdout.contains("node: lab-node") && shown.stdout.matches("span: ").count() == 2,
        "{}",
        shown.stdout
    );
    Ok(())
}

/// A replay at the time of the body prints the body.
fn same(directory: &Path, body: &str) -> Result<()> {
    let answer: Value = serde_json::from_str(body).context("/api/v1/findings")?;
    let at = answer.get("generated_at").and_then(Value::as_str).context("no time")?;
    let directory = directory.to_str().context("a path that is no text")?;
    let replayed = netcause(&["why", "--replay", directory, "--at", at, "-o", "json"])?;
    ensure!(
        replayed.stdout.trim_end() == body,
        "at {at}, the agent:\n{body}\nthe recording:\n{}{}",
        replayed.stdout,
        replayed.stderr
    );
    Ok(())
}

fn netcause(args: &[&str]) -> Result<Finished> {
    let mut command = agent::command(None, false)?;
    command.args(args);
    Process::run("netcause", &mut command, "")
}
