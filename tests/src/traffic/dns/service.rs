//! A DNS server whose behaviour lines of standard input change.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::super::knobs::Knobs;

/// `netcause-lab traffic dns-service`
///
/// Lines: `delay_ms=300`, `silent=1` (answers nothing), `code=2` (the code of its answers, RFC 1035 §4.1.1), `share=0.5` (of the queries
/// that the code is for).
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Service {
    #[arg(long)]
    listen: SocketAddr,
}

impl Service {
    pub(crate) fn run(self) -> Result<()> {
        let socket = UdpSocket::bind(self.listen).with_context(|| format!("listening on {}", self.listen))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let knobs = Knobs::new(&[("delay_ms", 0.0), ("silent", 0.0), ("code", 0.0), ("share", 1.0)]);
        let (is_ending, queries) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_ending.load(Ordering::SeqCst) {
                    let mut query = [0; 1024];
                    let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                    let number = queries.fetch_add(1, Ordering::SeqCst);
                    if knobs.is("silent") || length < 12 {
                        continue;
                    }
                    let is_hit = (number % 10) as f64 * 7.0 % 10.0 < 10.0 * knobs.get("share");
                    let code = if is_hit { knobs.get("code") } else { 0.0 };
                    let mut answer = query[..length].to_vec();
                    // An answer, with recursion; no records (RFC 1035 §4.1.1).
                    answer[2] = 0x81;
                    answer[3] = 0x80
                        | [0, 1, 2, 3, 4, 5].into_iter().find(|known| f64::from(*known) == code).unwrap_or(0);
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
