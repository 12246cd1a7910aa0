//! A resolver that asks as told: several servers at once, several questions under one id, and no longer than it wants.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::super::{any_like, udp::extensions};

/// `netcause-lab traffic dns-ask`
#[derive(Args)]
pub(crate) struct Ask {
    /// The servers, all asked at once from one socket
    #[arg(long)]
    to: Vec<SocketAddr>,
    /// How many times, each from a new socket and with a name of its own
    #[arg(long)]
    count: u16,
    /// Connect the socket to the first server
    #[arg(long)]
    connected: bool,
    /// Ask for A and AAAA under one id
    #[arg(long)]
    both: bool,
    /// Close the socket after the first answer, instead of after all
    #[arg(long, conflicts_with = "close_after_ms")]
    first: bool,
    /// Close the socket after this time and read nothing
    #[arg(long)]
    close_after_ms: Option<u64>,
    /// How long answers may take that are waited for
    #[arg(long, default_value_t = 60_000)]
    wait_ms: u64,
    /// Wait this long after each time
    #[arg(long, default_value_t = 0)]
    interval_ms: u64,
    /// Put IPv6 extension headers before each query: hop-by-hop options, and so many bytes of destination options
    #[arg(long)]
    options_bytes: Option<usize>,
}

impl Ask {
    pub(crate) fn run(self) -> Result<()> {
        let (mut sent, mut received) = (0, 0);
        for number in 0..self.count {
            let socket = UdpSocket::bind((any_like(self.to[0]), 0)).context("binding")?;
            if let Some(bytes) = self.options_bytes {
                extensions::put(&socket, bytes)?;
            }
            if self.connected {
                socket.connect(self.to[0]).context("connecting")?;
            }
            let kinds: &[u8] = if self.both { &[1, 28] } else { &[1] };
            let mut asked = 0;
            for to in &self.to {
                for kind in kinds {
                    let query = query(number, *kind);
                    if self.connected { socket.send(&query) } else { socket.send_to(&query, to) }?;
                    asked += 1;
                }
            }
            sent += asked;
            received += match self.close_after_ms {
                Some(time) => {
                    thread::sleep(Duration::from_millis(time));
                    0
                }
                None => {
                    let wanted = if self.first { 1 } else { asked };
                    receive(&socket, wanted, Duration::from_millis(self.wait_ms))?
                }
            };
            thread::sleep(Duration::from_millis(self.interval_ms));
        }
        println!("{}", json!({"queries": sent, "answers": received}));
        Ok(())
    }
}

/// Receives so many answers, or as many as come.
fn receive(socket: &UdpSocket, wanted: u64, limit: Duration) -> Result<u64> {
    let (mut received, began) = (0, Instant::now());
    socket.set_read_timeout(Some(limit))?;
    while received < wanted && began.elapsed() < limit {
        match socket.recv(&mut [0; 2048]) {
            Ok(_) => received += 1,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            // Nobody listens there: the next time there may be one.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            Err(error) => return Err(error).context("receiving an answer"),
        }
    }
    Ok(received)
}

/// A query for `nNUMBER.lab.test`, with EDNS (RFC 6891 §6.1.2).
fn query(number: u16, kind: u8) -> Vec<u8> {
    let name = format!("n{number}");
    let mut query = number.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in [&name, "lab", "test", ""] {
        query.push(u8::try_from(label.len()).unwrap_or_default());
        query.extend(label.bytes());
    }
    query.extend([0, kind, 0, 1]);
    query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    query
}
