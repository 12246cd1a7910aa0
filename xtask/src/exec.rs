//! Runs other programs: with progress lines, and with their last output in the error when they fail.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

/// The interval of the lines that say that a silent program still runs.
const STILL_RUNNING_SECONDS: u64 = 15;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How many of its last lines a failure shows.
const TAIL_LINES: usize = 25;

/// Prints one progress line.
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("xtask: {}", line.as_ref());
}

/// Runs a program on our own standard streams; its failure is an error that names `what`.
pub(crate) fn show(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().map_err(|error| cannot_start(command, what, &error))?;
    if status.success() { Ok(()) } else { bail!("{what} failed ({status}); its output is above") }
}

/// Runs a program without input and returns what it printed; its failure is an error with its messages.
pub(crate) fn output(command: &mut Command, what: &str) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, what, &error))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed ({}):\n{}", output.status, tail(&messages, TAIL_LINES));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what}: the output is not UTF-8"))
}

/// Whether a program runs and exits with success; it prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a program of this name is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

/// Where the search path has a program of this name, the administrator's directories included.
pub(crate) fn find_on_path(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Into::into))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A program that failed, with everything it printed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
}

/// Runs a long program with its output in `log`, and prints a progress line every few seconds.
///
/// The outer error is ours (it could not be started or waited for), the inner one is its own failure.
pub(crate) fn logged(command: &mut Command, what: &str, log: &Path) -> Result<Result<(), Failed>> {
    let started = Instant::now();
    let mut child = start_logged(command, what, log)?;
    finish_logged(&mut child, what, log, started)
}

/// As [`quietly`], and ended with an error unless `has_begun` is true of its output within `limit`.
pub(crate) fn quietly_if_it_begins(
    command: &mut Command,
    what: &str,
    log: &Path,
    limit: Duration,
    has_begun: impl Fn(&str) -> bool,
) -> Result<()> {
    let started = Instant::now();
    let mut child = start_logged(command, what, log)?;
    let output = || std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    loop {
        let ended = child.try_wait().with_context(|| format!("{what}: waiting for it"))?.is_some();
        if ended || has_begun(&output().unwrap_or_default()) {
            break;
        }
        if started.elapsed() >= limit {
            drop(child.kill());
            drop(child.wait());
            bail!("{what}: no answer within {} s, stopped", limit.as_secs());
        }
        thread::sleep(POLL);
    }
    finish_logged(&mut child, what, log, started)?.map_err(|failed| failed.into_error(what, log))
}

fn start_logged(command: &mut Command, what: &str, log: &Path) -> Result<Child> {
    say(format!("{what} …"));
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| cannot_start(command, what, &error))
}

fn finish_logged(child: &mut Child, what: &str, log: &Path, started: Instant) -> Result<Result<(), Failed>> {
    let status = wait_aloud(child, what, log, started)?;
    if status.success() {
        say(format!("{what}: done in {}", seconds(started)));
        return Ok(Ok(()));
    }
    let output = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Err(Failed { status, output: String::from_utf8_lossy(&output).into_owned() }))
}

/// As [`logged`], with a failure of the program turned into an error that shows its last lines.
pub(crate) fn quietly(command: &mut Command, what: &str, log: &Path) -> Result<()> {
    logged(command, what, log)?.map_err(|failed| failed.into_error(what, log))
}

impl Failed {
    /// The error to show: what failed, the reason if it is a known one, the last lines, the log with the rest.
    pub(crate) fn into_error(self, what: &str, log: &Path) -> anyhow::Error {
        let reason = explain(&self.output).map(|reason| format!("{reason}\n")).unwrap_or_default();
        anyhow!(
            "{what} failed ({}); {reason}the end of {}:\n{}",
            self.status,
            log.display(),
            tail(&self.output, TAIL_LINES)
        )
    }
}

/// Advice on failures of the machine, not of the project.
fn explain(output: &str) -> Option<&'static str> {
    let known = [
        ("No space left on device", "the disk is full: make room and run this again."),
        ("Could not get lock", "another package manager is running: wait for it to end and run this again."),
        ("unable to lock", "another package manager is running: wait for it to end and run this again."),
        ("Temporary failure resolving", "the package server's name did not resolve: check the network."),
        (
            "Unmet dependencies",
            "packages are half installed: run `apt-get --fix-broken install`, then this again.",
        ),
        (
            "Packages need to be removed",
            "installing would remove other packages, so nothing was done: \
            install these packages by hand where you accept that.",
        ),
    ];
    known.iter().find(|(sign, _)| output.contains(sign)).map(|(_, advice)| *advice)
}

fn wait_aloud(child: &mut Child, what: &str, log: &Path, started: Instant) -> Result<ExitStatus> {
    let mut reported = started;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("{what}: waiting for it"))? {
            return Ok(status);
        }
        if reported.elapsed() >= Duration::from_secs(STILL_RUNNING_SECONDS) {
            reported = Instant::now();
            let last = last_line(log).unwrap_or_default();
            say(format!("{what}: {} so far; {last}", seconds(started)));
        }
        thread::sleep(POLL);
    }
}

/// The last full line of a growing file.
fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(600))).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end).into_owned();
    end.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// The time since `started`, for a person to read.
pub(crate) fn seconds(started: Instant) -> String {
    let elapsed = started.elapsed().as_secs_f64();
    if elapsed < 100.0 { format!("{elapsed:.1} s") } else { format!("{:.1} min", elapsed / 60.0) }
}

/// The last `count` lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn cannot_start(command: &Command, what: &str, error: &std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    if error.kind() == std::io::ErrorKind::NotFound {
        anyhow!("{what}: the program `{program}` is not installed")
    } else {
        anyhow!("{what}: cannot start `{program}`: {error}")
    }
}

/// `true` when we are root.
pub(crate) fn is_root() -> bool {
    // The owner of our own entry in /proc is our effective user.
    std::fs::metadata("/proc/self").is_ok_and(|entry| std::os::unix::fs::MetadataExt::uid(&entry) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_takes_the_last_lines() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("no-such-program-here"), "looking").unwrap_err();
        assert_eq!(error.to_string(), "looking: the program `no-such-program-here` is not installed");
    }

    #[test]
    fn what_does_not_begin_is_stopped() {
        let log = std::env::temp_dir().join(format!("netcause-begin-{}", std::process::id()));
        let run = |script: &str| {
            let mut command = Command::new("sh");
            let limit = Duration::from_millis(300);
            let begun = |output: &str| output.contains("answer");
            quietly_if_it_begins(command.args(["-c", script]), "the test", &log, limit, begun)
        };
        let started = Instant::now();
        let error = run("echo request; exec sleep 60").unwrap_err().to_string();
        assert!(error.contains("no answer") && started.elapsed() < Duration::from_secs(30), "{error}");
        assert!(run("echo request; exit 3").unwrap_err().to_string().contains("request"));
        // What has begun may take longer than the limit.
        run("echo answer; sleep 0.5").unwrap();
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn failures_of_the_machine_are_explained() {
        assert!(explain("E: Could not get lock /var/lib/dpkg/lock").is_some_and(|a| a.contains("another")));
        assert!(explain("write: No space left on device").is_some_and(|a| a.contains("disk is full")));
        assert_eq!(explain("something else"), None);
    }
}
