//! Malformed datagrams at a DNS port, such as those that arrive from the internet.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::super::any_like;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Too short for the header of a message
    Short,
    /// Queries with a valid header and a malformed question
    Queries,
    /// The same as answers, to queries that were never sent
    Answers,
    /// Pseudo-random bytes
    Noise,
}

/// `netcause-lab traffic dns-garbage`
#[derive(Args)]
pub(crate) struct Garbage {
    /// Where to send to
    #[arg(long)]
    to: SocketAddr,
    /// Where to send from
    #[arg(long)]
    from: Option<SocketAddr>,
    #[arg(long, value_enum)]
    kind: Kind,
    /// How many times to send every datagram of the kind
    #[arg(long, default_value_t = 1)]
    rounds: u16,
}

impl Garbage {
    pub(crate) fn run(self) -> Result<()> {
        let from = self.from.unwrap_or_else(|| SocketAddr::new(any_like(self.to), 0));
        let socket = UdpSocket::bind(from).with_context(|| format!("binding {from}"))?;
        let (mut sent, mut short, mut answers) = (0, 0, 0);
        for round in 0..self.rounds {
            for datagram in self.kind.datagrams(round) {
                socket.send_to(&datagram, self.to).context("sending")?;
                sent += 1;
                match datagram.get(..HEADER_BYTES) {
                    None => short += 1,
                    // The bit that makes an answer (RFC 1035 §4.1.1).
                    Some(head) if head[2] & 0x80 != 0 => answers += 1,
                    Some(_) => {}
                }
            }
        }
        let queries = sent - short - answers;
        println!(
            "{}",
            json!({"datagrams_sent": sent, "short": short, "queries": queries, "answers": answers})
        );
        Ok(())
    }
}

impl Kind {
    fn datagrams(self, round: u16) -> Vec<Vec<u8>> {
        match self {
            Self::Short => (0..HEADER_BYTES).map(|length| vec![0; length]).collect(),
            Self::Queries => broken(round, 0x01),
            Self::Answers => broken(round, 0x81),
            Self::Noise => noise(round),
        }
    }
}

/// The length of the header of a message (RFC 1035 §4.1.1).
const HEADER_BYTES: usize = 12;

/// Messages with a valid header and malformed questions.
fn broken(round: u16, flags: u8) -> Vec<Vec<u8>> {
    let kind_and_class = [0, 1, 0, 1];
    let bodies: [(u16, Vec<u8>); 8] = [
        // Nothing at all, and a question that is not there.
        (0, Vec::new()),
        (1, Vec::new()),
        // All counts as large as they can be.
        (u16::MAX, b"\x01a\0\0\x01\0\x01".to_vec()),
        // A name that refers to itself, and one that refers beyond the end.
        (1, [&b"\xc0\x0c"[..], &kind_and_class].concat()),
        (1, [&b"\xff\xff"[..], &kind_and_class].concat()),
        // A label longer than what follows, and one of a length that does not exist.
        (1, b"\x3fabc".to_vec()),
        (1, [&b"\x80abc\0"[..], &kind_and_class].concat()),
        // A name of twice the length that a name may have.
        (1, [&b"\x07netcaus".repeat(64), &b"\0"[..], &kind_and_class].concat()),
    ];
    let messages = bodies.into_iter().zip(0u16..);
    messages
        .map(|((questions, body), number)| {
            let id = round.wrapping_mul(16).wrapping_add(number).to_be_bytes();
            let others = if questions == u16::MAX { [0xff; 6] } else { [0; 6] };
            [&id[..], &[flags, 0], &questions.to_be_bytes(), &others, &body].concat()
        })
        .collect()
}

/// Datagrams of every length up to 512 in steps, the same in every run of a round (Knuth's MMIX generator).
fn noise(round: u16) -> Vec<Vec<u8>> {
    let mut state = u64::from(round);
    let mut byte = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..=512).step_by(19).map(|length| (0..length).map(|_| byte()).collect()).collect()
}
