//! A server that takes as long as each request says, and a client that knows for how long it has waited.

mod asker;
mod truth;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{raise_file_limit, serve_commands};

pub(crate) use asker::{Ask, Distribution, Style};

/// A request is a time in microseconds, with this bit when the server is to say something so often unasked; so is an answer.
const PUSH: u64 = 1 << 63;
/// A request, an answer.
type Word = [u8; 8];
/// There are thousands of threads, and none does much.
const STACK: usize = 64 * 1024;

/// `netcause-lab bench generate think`
#[derive(Args)]
pub(crate) struct Think {
    /// Where to listen
    listen: SocketAddr,
    /// How many ports from there on
    #[arg(long, default_value_t = 1)]
    ports: u16,
}

impl Think {
    pub(super) fn run(self) -> Result<()> {
        raise_file_limit()?;
        for offset in 0..self.ports {
            let at = SocketAddr::new(self.listen.ip(), self.listen.port() + offset);
            let listener = TcpListener::bind(at).with_context(|| format!("listening on {at}"))?;
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    // A client that goes away ends its connection.
                    start(move || drop(serve(stream)));
                }
            });
        }
        serve_commands(|command| bail!("{command}: this server has no commands"))
    }
}

/// Starts a thread with a small stack.
fn start(work: impl FnOnce() + Send + 'static) {
    // Without threads nothing is measured: its place in the table shows it.
    drop(thread::Builder::new().stack_size(STACK).spawn(work));
}

/// Answers one request after the other, until the client has ended its side.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut word = Word::default();
    loop {
        stream.read_exact(&mut word)?;
        let said = u64::from_le_bytes(word);
        let time = Duration::from_micros(said & !PUSH);
        if said & PUSH == 0 {
            thread::sleep(time);
            stream.write_all(&word)?;
            continue;
        }
        // What the client says meanwhile is read, and means nothing.
        let mut reads = stream.try_clone()?;
        start(move || while reads.read(&mut [0; 64]).is_ok_and(|got| got > 0) {});
        loop {
            thread::sleep(time);
            stream.write_all(&word)?;
        }
    }
}
