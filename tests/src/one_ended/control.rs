//! The line to one machine: a serial port, as a UNIX socket of the emulator. A request is a line, and so is its answer.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::node::Request;

/// How long a machine may take to boot.
const BOOT: Duration = Duration::from_secs(240);
/// How long anything may take that it is asked for.
const LIMIT: Duration = Duration::from_secs(240);

/// One machine.
pub(super) struct Control {
    name: &'static str,
    reader: BufReader<UnixStream>,
}

impl Control {
    /// Connects to a machine and waits until it listens.
    pub(super) fn connect(name: &'static str, socket: &Path) -> Result<Self> {
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if began.elapsed() > BOOT => {
                    return Err(error).with_context(|| format!("connecting to {}", socket.display()));
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        let mut control = Self { name, reader: BufReader::new(stream) };
        // What is sent before it listens is lost, so an empty line asks again and again.
        control.reader.get_ref().set_read_timeout(Some(Duration::from_secs(1)))?;
        loop {
            writeln!(control.reader.get_mut()).context("asking whether it listens")?;
            match control.line() {
                Ok(line) if line.starts_with("{\"error\"") => break,
                Ok(line) => eprintln!("[{name}] {line}"),
                Err(error) if began.elapsed() > BOOT => return Err(error).context("it does not boot"),
                Err(_) => {}
            }
        }
        control.reader.get_ref().set_read_timeout(Some(LIMIT))?;
        Ok(control)
    }

    /// Asks for something and waits for the answer.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Value> {
        let text = serde_json::to_string(request)?;
        let ask = |control: &mut Self| -> Result<Value> {
            // Those to the empty lines come late.
            writeln!(control.reader.get_mut(), "{text}").context("sending")?;
            loop {
                let line = control.line()?;
                let Ok(answer) = serde_json::from_str::<Value>(&line) else {
                    eprintln!("[{}] {line}", control.name);
                    continue;
                };
                match (answer.get("ok"), answer.get("error").and_then(Value::as_str)) {
                    (Some(value), _) => return Ok(value.clone()),
                    (None, Some(error)) if error.starts_with("EOF while parsing") => {}
                    (None, error) => bail!("{}", error.unwrap_or(&line)),
                }
            }
        };
        ask(self).with_context(|| format!("{}: {}", self.name, &text[..text.len().min(200)]))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => bail!("the machine is gone"),
            Ok(_) => Ok(String::from_utf8_lossy(&line).trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("it does not answer"),
            Err(error) => Err(error).context("listening to it"),
        }
    }
}
