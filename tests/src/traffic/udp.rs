//! UDP: a server and a client that count the datagrams that they send and receive, without retries.

pub(super) mod client;
pub(super) mod extensions;
pub(super) mod server;

use serde_json::{Value, json};

/// The counts of one program.
#[derive(Default)]
struct Totals {
    datagrams_sent: u64,
    bytes_sent: u64,
    datagrams_received: u64,
    bytes_received: u64,
    /// Answers that did not come.
    lost: u64,
}

impl Totals {
    fn sent(&mut self, bytes: usize) {
        self.datagrams_sent += 1;
        self.bytes_sent += bytes as u64;
    }

    fn received(&mut self, bytes: usize) {
        self.datagrams_received += 1;
        self.bytes_received += bytes as u64;
    }

    fn json(&self) -> Value {
        json!({
            "datagrams_sent": self.datagrams_sent,
            "bytes_sent": self.bytes_sent,
            "datagrams_received": self.datagrams_received,
            "bytes_received": self.bytes_received,
            "lost": self.lost,
        })
    }
}
