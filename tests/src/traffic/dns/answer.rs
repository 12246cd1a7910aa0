//! A server whose answers no server of the lab gives: late ones, and errors of their own kind.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;

use super::super::Listen;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// No error, and no record of that type
    Empty,
    /// The version of EDNS is not implemented (RFC 6891 §9)
    Badvers,
    /// A format error that has a header and nothing else (RFC 1035 §4.1.1)
    Bare,
}

/// `netcause-lab traffic dns-answer`
#[derive(Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    listen: Listen,
    #[arg(long, value_enum, default_value = "empty")]
    kind: Kind,
    /// How long each answer takes
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

impl Answer {
    pub(crate) fn run(self) -> Result<()> {
        let address = self.listen.addresses().next().context("no port")?;
        let socket = UdpSocket::bind(address).with_context(|| format!("listening on {address}"))?;
        self.listen.print_ready();
        let stdin = std::io::stdin();
        let mut answers = 0;
        thread::scope(|scope| -> Result<()> {
            loop {
                let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
                poll(&mut fds, None).context("waiting for queries")?;
                if !fds[0].revents().is_empty() {
                    return Ok(());
                }
                let mut query = [0; 2048];
                let (length, client) = socket.recv_from(&mut query).context("receiving a query")?;
                let answer = self.kind.answer(&query[..length]);
                answers += 1;
                let (socket, delay) = (&socket, Duration::from_millis(self.delay_ms));
                scope.spawn(move || {
                    thread::sleep(delay);
                    // A client that is gone has its port closed: that is no error of ours.
                    let _ = socket.send_to(&answer, client);
                });
            }
        })?;
        println!("{}", json!({"answers": answers}));
        Ok(())
    }
}

impl Kind {
    /// Of a query whose record of EDNS has no options.
    fn answer(self, query: &[u8]) -> Vec<u8> {
        const OPT: usize = 11;
        let question = query.get(12..query.len().saturating_sub(OPT)).unwrap_or_default();
        let id = query.get(..2).unwrap_or(&[0, 0]);
        let opt = |code| [0, 0, 41, 4, 208, code, 0, 0, 0, 0, 0];
        match self {
            Self::Empty => [id, &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 1], question, &opt(0)].concat(),
            Self::Badvers => [id, &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 1], question, &opt(1)].concat(),
            Self::Bare => [id, &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
        }
    }
}
