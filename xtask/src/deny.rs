//! Dependencies: their licenses, where they come from, and what is known to be wrong with them; by cargo-deny, as deny.toml says.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{exec, tools, workspace};

/// How long the database of vulnerabilities may take to be fetched and searched.
const LIMIT: Duration = Duration::from_secs(120);
/// What cargo-deny prints when it cannot have the database, or an index that says what was withdrawn.
const NO_DATABASE: [&str; 2] = ["failed to fetch advisory database", "failed to query registry"];

/// Checks all of it. Without the database of vulnerabilities, which is fetched, the rest is checked all the same.
pub(crate) fn check() -> Result<()> {
    let program = tools::deny()?;
    let deny = |checks: &[&str]| -> Result<Command> {
        let mut command = Command::new(&program);
        command.current_dir(workspace::root()?).arg("--locked").arg("check").args(checks);
        Ok(command)
    };
    exec::show(
        &mut deny(&["bans", "licenses", "sources"])?,
        "checking licenses and sources of the dependencies (deny.toml)",
    )?;
    let log = workspace::setup_dir()?.join("advisories.log");
    let has_ended = |output: &str| output.contains("advisories ok") || output.contains("advisories FAILED");
    let what = "looking for known vulnerabilities of the dependencies";
    let Err(error) = exec::quietly_if_it_begins(&mut deny(&["advisories"])?, what, &log, LIMIT, has_ended)
    else {
        return Ok(());
    };
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    if !text.contains("advisories FAILED") && (is_without_database(&text) || !has_ended(&text)) {
        exec::say(format!(
            "NOT CHECKED: known vulnerabilities of the dependencies. Their database cannot be had here: {}",
            text.lines().find(|line| is_without_database(line)).unwrap_or("no answer in time")
        ));
        return Ok(());
    }
    bail!("{error:#}");
}

fn is_without_database(text: &str) -> bool {
    NO_DATABASE.iter().any(|sign| text.contains(sign))
}
