//! Connections that are held, and what can be done with them: the commands of `client --hold`.

use std::{
    io::{BufRead as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fd::OwnedFd,
    net::{connect, connect_unspec},
};
use serde_json::json;

use super::{Client, Totals, hidden::Hidden};
use crate::traffic::{CHUNK, as_reached};

/// A connection, and the other processes that hold it: a socket is closed when the last of them has closed it.
struct Held {
    number: u64,
    /// None when it is hidden.
    stream: Option<TcpStream>,
    hidden: Option<Hidden>,
    sharers: Vec<Child>,
}

impl Client {
    pub(super) fn hold(&self, totals: &Totals) -> Result<()> {
        let mut all = Vec::new();
        for number in 0..self.count {
            if let Some(stream) = self.try_open(number, totals) {
                let sharers = (0..self.share).map(|_| share(&stream)).collect::<Result<_>>()?;
                all.push(Held { number, stream: Some(stream), hidden: None, sharers });
            }
        }
        println!("{}", json!({"open": all.len()}));
        let mut done = 0_u64;
        for line in std::io::stdin().lock().lines() {
            let line = line.context("reading a command")?;
            let (times, pause, command) = repeated(&line)?;
            for _ in 0..times {
                for held in &mut all {
                    self.carry_out(command, held, totals).with_context(|| line.clone())?;
                }
                thread::sleep(pause);
            }
            done += 1;
            println!("{}", json!({"done": done}));
        }
        for Held { stream, sharers, .. } in all {
            if stream.is_some_and(|stream| self.finish(stream, totals).is_err()) {
                totals.broken.fetch_add(1, Ordering::SeqCst);
            }
            for mut sharer in sharers {
                drop(sharer.stdin.take());
                sharer.wait().context("waiting for a sharer")?;
            }
        }
        Ok(())
    }

    fn carry_out(&self, line: &str, held: &mut Held, totals: &Totals) -> Result<()> {
        let (verb, number) = line.split_once(' ').unwrap_or((line, "0"));
        let bytes: u64 = number.parse().context("reading the number")?;
        let stream = held.stream.as_mut().context("it is hidden")?;
        match verb {
            "send" => totals.send(stream, bytes)?,
            "receive" => totals.receive(stream, bytes)?,
            // In pieces small enough for the buffers of both directions.
            "echo" => {
                let mut left = bytes;
                while left > 0 {
                    let part = left.min(CHUNK as u64);
                    totals.send(stream, part)?;
                    totals.receive(stream, part)?;
                    left -= part;
                }
            }
            "relay" => {
                let sharer = held.sharers.first_mut().and_then(|sharer| sharer.stdin.as_mut());
                let sharer = sharer.context("no sharer to send through")?;
                let payload = vec![0; usize::try_from(bytes)?];
                sharer.write_all(&payload).and_then(|()| sharer.flush())?;
                totals.sent.fetch_add(bytes, Ordering::SeqCst);
            }
            "end" => stream.shutdown(Shutdown::Write)?,
            "end-both" => stream.shutdown(Shutdown::Both)?,
            "reconnect" => {
                connect_unspec(&*stream).context("disconnecting")?;
                let to = as_reached(self.connect, held.number, self.ports, self.mapped);
                connect(&*stream, &to).context("connecting again")?;
                totals.connected.fetch_add(1, Ordering::SeqCst);
            }
            "hide-in-ring" => {
                held.hidden = Some(Hidden::in_ring(stream)?);
                held.stream = None;
            }
            "hide-in-message" => {
                held.hidden = Some(Hidden::in_message(stream)?);
                held.stream = None;
            }
            _ => bail!("no such command"),
        }
        Ok(())
    }
}

/// What `repeat TIMES MILLISECONDS COMMAND` says, or a command alone.
fn repeated(line: &str) -> Result<(u64, Duration, &str)> {
    let Some(rest) = line.strip_prefix("repeat ") else { return Ok((1, Duration::ZERO, line)) };
    let mut words = rest.splitn(3, ' ');
    let mut next = || words.next().with_context(|| format!("{line}: repeat TIMES MILLISECONDS COMMAND"));
    let (times, pause) = (next()?.parse().context("times")?, next()?.parse().context("milliseconds")?);
    Ok((times, Duration::from_millis(pause), next()?))
}

/// Another process that holds the connection open until its input closes, and sends over it what it is given: `cat`,
/// with the connection as its standard output.
fn share(stream: &TcpStream) -> Result<Child> {
    let socket = OwnedFd::from(stream.try_clone().context("sharing a connection")?);
    Command::new("cat").stdin(Stdio::piped()).stdout(socket).spawn().context("starting a sharer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_may_be_repeated() {
        assert_eq!(repeated("echo 5").unwrap(), (1, Duration::ZERO, "echo 5"));
        assert_eq!(repeated("repeat 3 20 echo 5").unwrap(), (3, Duration::from_millis(20), "echo 5"));
        assert!(repeated("repeat 3").is_err());
    }
}
