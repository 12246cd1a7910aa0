//! A DNS server whose behaviour lines of standard input change, over UDP and TCP.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::super::knobs::Knobs;

/// The domain without names, as it is written in queries.
const ABSENT: &[u8] = b"\x07cluster\x05local\0";

/// `netcause-lab traffic dns-service`
///
/// Lines: `delay_ms=300`, `silent=1` (answers nothing), `code=2` (the code of its answers, RFC 1035 §4.1.1), `share=0.5` (of the queries
/// that the code is for), `truncated=0.5` (share of its answers over UDP that say that they are too long for it).
///
/// No name of `cluster.local` exists: search domains are tried in vain.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Service {
    #[arg(long)]
    listen: SocketAddr,
    /// The share of answers that are too long for UDP, at first
    #[arg(long, default_value_t = 0.0)]
    truncated: f64,
}

impl Service {
    pub(crate) fn run(self) -> Result<()> {
        let socket = UdpSocket::bind(self.listen).with_context(|| format!("listening on {}", self.listen))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let listener =
            TcpListener::bind(self.listen).with_context(|| format!("listening on {}", self.listen))?;
        listener.set_nonblocking(true)?;
        let knobs = Knobs::new(&[
            ("delay_ms", 0.0),
            ("silent", 0.0),
            ("code", 0.0),
            ("share", 1.0),
            ("truncated", self.truncated),
        ]);
        let (is_ending, queries) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_ending.load(Ordering::SeqCst) {
                    match listener.accept() {
                        Ok((stream, _)) => drop(scope.spawn(move || answer_over_tcp(stream))),
                        Err(_) => thread::sleep(Duration::from_millis(5)),
                    }
                }
            });
            scope.spawn(|| {
                while !is_ending.load(Ordering::SeqCst) {
                    let mut query = [0; 1024];
                    let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                    let number = queries.fetch_add(1, Ordering::SeqCst);
                    if knobs.is("silent") || length < 12 {
                        continue;
                    }
                    let is_hit = |name| (number % 10) as f64 * 7.0 % 10.0 < 10.0 * knobs.get(name);
                    let code = if is_hit("share") { knobs.get("code") } else { 0.0 };
                    let code = [0, 1, 2, 3, 4, 5].into_iter().find(|known| f64::from(*known) == code);
                    let answer = answer(&query[..length], code.unwrap_or(0), is_hit("truncated"));
                    let (socket, delay) = (&socket, knobs.time("delay_ms"));
                    scope.spawn(move || {
                        thread::sleep(delay);
                        // A client that is gone has its port closed: that is no error of ours.
                        let _ = socket.send_to(&answer, client);
                    });
                }
            });
            let result = knobs.follow(|| {});
            is_ending.store(true, Ordering::SeqCst);
            result
        })?;
        println!("{}", json!({"queries": queries.load(Ordering::SeqCst)}));
        Ok(())
    }
}

/// An answer, with recursion; no records (RFC 1035 §4.1.1).
fn answer(query: &[u8], code: u8, is_truncated: bool) -> Vec<u8> {
    let mut answer = query.to_vec();
    let is_nowhere = query.windows(ABSENT.len()).any(|part| part == ABSENT);
    answer[2] = 0x81 | if is_truncated { 2 } else { 0 };
    answer[3] = 0x80 | if is_nowhere && code == 0 { 3 } else { code };
    answer
}

/// Two bytes of length come before each message (RFC 1035 §4.2.2).
fn answer_over_tcp(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length)).max(12)];
    stream.read_exact(&mut query)?;
    stream.write_all(&[&length[..], &answer(&query, 0, false)].concat())
}
