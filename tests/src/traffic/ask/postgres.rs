//! PostgreSQL's protocol 3.0, as much as a statement needs ("Frontend/Backend Protocol" in its documentation).

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Protocol, Stream};

const SSL_REQUEST: u32 = 80_877_103;
const VERSION: u32 = 196_608;
/// Longer messages are not expected.
const MOST: usize = 1 << 20;

pub(super) struct Postgres(Stream);

impl Postgres {
    /// Begins a session as its clients do: asks for TLS, which the server does not have, then greets it.
    pub(super) fn begin(stream: Stream) -> Result<Self> {
        let mut session = Self(stream);
        session.say(None, &SSL_REQUEST.to_be_bytes())?;
        let mut answer = [0];
        session.0.reads.read_exact(&mut answer).context("the answer about TLS")?;
        ensure!(answer == *b"N", "the server has TLS");
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        session.say(None, &[&VERSION.to_be_bytes(), &parameters[..]].concat())?;
        session.hear().context("beginning a session")?;
        Ok(session)
    }

    /// Sends a message: its kind, but for the first ones, its length with that number, and its content.
    fn say(&mut self, kind: Option<u8>, content: &[u8]) -> Result<()> {
        let length = u32::try_from(content.len() + 4)?;
        let message: Vec<u8> =
            kind.into_iter().chain(length.to_be_bytes()).chain(content.iter().copied()).collect();
        self.0.writes.write_all(&message).context("sending a message")
    }
}

impl Protocol for Postgres {
    fn ask(&mut self, request: &str) -> Result<()> {
        self.say(Some(b'Q'), &[request.as_bytes(), b"\0"].concat())
    }

    /// Up to the message that the server is ready, or notifies.
    fn hear(&mut self) -> Result<()> {
        loop {
            let mut head = [0; 5];
            self.0.reads.read_exact(&mut head).context("reading a message")?;
            let [kind, length @ ..] = head;
            let length = (u32::from_be_bytes(length) as usize).checked_sub(4).context("a short message")?;
            ensure!(length <= MOST, "a message of {length} bytes");
            let mut content = vec![0; length];
            self.0.reads.read_exact(&mut content).context("reading what a message says")?;
            match kind {
                b'Z' | b'A' => return Ok(()),
                b'E' => bail!("{}", String::from_utf8_lossy(&content).replace('\0', " ")),
                _ => {}
            }
        }
    }
}
