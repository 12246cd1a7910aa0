//! Child processes of the lab: output collected, bounded waits, killed on drop.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::timeout;

/// One output stream of a child, line by line, readable while the child still runs.
#[derive(Default)]
struct Stream {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    closed: bool,
}

impl Stream {
    fn collect(source: impl Read + Send + 'static) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        let writer = Arc::clone(&stream);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { break };
                writer.lock().text.push(String::from_utf8_lossy(&line).into_owned());
                writer.changed.notify_all();
            }
            writer.lock().closed = true;
            writer.changed.notify_all();
        });
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first thing `find` makes of a line, waiting for lines to come; `None` at the end of the stream or in time.
    fn find<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut seen = 0;
        let mut lines = self.lock();
        loop {
            if let Some(found) = lines.text.iter().skip(seen).find_map(|line| find(line)) {
                return Some(found);
            }
            seen = lines.text.len();
            let left = limit.checked_sub(start.elapsed())?;
            if lines.closed {
                return None;
            }
            (lines, _) = self.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Everything until the end of the stream, which a killed or finished child closes.
    fn rest(&self) -> String {
        let start = Instant::now();
        let mut lines = self.lock();
        while !lines.closed && start.elapsed() < Duration::from_secs(2) {
            (lines, _) = self
                .changed
                .wait_timeout(lines, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner);
        }
        lines.text.join("\n")
    }
}

/// A running child. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    stdin: Option<ChildStdin>,
    stdout: Arc<Stream>,
    stderr: Arc<Stream>,
}

/// The exit status and the output of a finished child.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The standard output, if the child succeeded.
    pub(crate) fn success(self) -> Result<String> {
        ensure!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

impl Process {
    /// Starts `command`; `name` is for messages.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("{name}: no pipes to its output");
        };
        Ok(Self {
            name: name.to_owned(),
            pid: child.id(),
            stdin: child.stdin.take(),
            child: Mutex::new(child),
            stdout: Stream::collect(stdout),
            stderr: Stream::collect(stderr),
        })
    }

    /// Runs `command` to its end, with `input` on its standard input.
    pub(crate) fn run(name: &str, command: &mut Command, input: &str) -> Result<Finished> {
        Self::run_within(timeout(), name, command, input)
    }

    /// As [`Process::run`], with a deadline of its own.
    pub(crate) fn run_within(
        limit: Duration,
        name: &str,
        command: &mut Command,
        input: &str,
    ) -> Result<Finished> {
        let mut process = Self::spawn(name, command)?;
        if let Some(mut stdin) = process.stdin.take() {
            // A child that ends without reading its input has closed the pipe: its exit status says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        process.finish_within(limit)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The first thing `find` makes of a line of standard output.
    pub(crate) fn wait_stdout<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.stdout
            .find(timeout(), find)
            .with_context(|| format!("{}: waited for {what}; it said:\n{}", self.name, self.said()))
    }

    /// The `n`-th thing that `find` makes of lines of standard output.
    pub(crate) fn wait_nth_stdout<T>(
        &self,
        what: &str,
        n: usize,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let left = std::cell::Cell::new(n);
        self.wait_stdout(what, |line| {
            let found = find(line)?;
            left.set(left.get().saturating_sub(1));
            (left.get() == 0).then_some(found)
        })
    }

    /// The first thing `find` makes of a line of standard error.
    pub(crate) fn wait_stderr<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.stderr
            .find(timeout(), find)
            .with_context(|| format!("{}: waited for {what}; it said:\n{}", self.name, self.said()))
    }

    /// The last 60 lines that it has written to each stream, for error messages.
    pub(crate) fn said(&self) -> String {
        let mut said = String::new();
        for stream in [&self.stdout, &self.stderr] {
            let lines = stream.lock();
            for line in lines.text.iter().skip(lines.text.len().saturating_sub(60)) {
                said.push_str("    | ");
                said.push_str(line);
                said.push('\n');
            }
        }
        said
    }

    /// Writes one line to its standard input.
    pub(crate) fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{}: its input is closed", self.name))?;
        writeln!(stdin, "{line}").with_context(|| format!("writing to {}", self.name))
    }

    /// Sends a signal to this child, and to nothing else.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.raw_pid()?, signal).with_context(|| format!("signalling {}", self.name))
    }

    fn raw_pid(&self) -> Result<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a pid out of range")
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end without closing its input.
    pub(crate) fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let waiting = || format!("waiting for {}", self.name);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child().try_wait().with_context(waiting)? {
                return Ok(status);
            }
            let left = limit.saturating_sub(start.elapsed());
            ensure!(!left.is_zero(), "{} did not end within {limit:?}:\n{}", self.name, self.said());
            // Only `try_wait` reaps the child, so its number is still its own.
            let end = pidfd_open(self.raw_pid()?, PidfdFlags::empty()).with_context(waiting)?;
            match poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&left.try_into()?)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(waiting),
            }
        }
    }

    /// Closes its input and waits for its end.
    pub(crate) fn finish(self) -> Result<Finished> {
        self.finish_within(timeout())
    }

    /// As [`Process::finish`], with a deadline of its own.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Result<Finished> {
        drop(self.stdin.take());
        let status = self.wait(limit)?;
        Ok(Finished { status, stdout: self.stdout.rest(), stderr: self.stderr.rest() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only a child that has already ended cannot be killed, and then there is nothing to do.
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}
