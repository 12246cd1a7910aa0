//! A client of real servers: asks what comes on standard input, a request a line, and measures itself how long each answer took.

mod http;
pub(super) mod often;
mod postgres;
mod redis;

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::json;

use http::Http;
use postgres::Postgres;
use redis::Redis;

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    /// A request is a statement of SQL
    Postgres,
    /// A request is a command
    Redis,
    /// A request is a path, over a connection that is kept alive
    Http,
}

/// `netcause-lab traffic ask`
#[derive(Args)]
pub(crate) struct Ask {
    #[arg(long)]
    connect: SocketAddr,
    #[arg(long, value_enum)]
    language: Language,
}

/// What a server speaks.
trait Protocol {
    /// Sends a request.
    fn ask(&mut self, request: &str) -> Result<()>;

    /// Receives an answer to its end.
    fn hear(&mut self) -> Result<()>;
}

/// Both directions of a connection.
struct Stream {
    reads: BufReader<TcpStream>,
    writes: TcpStream,
}

impl Stream {
    fn open(to: SocketAddr) -> Result<Self> {
        let writes = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
        Ok(Self { reads: BufReader::new(writes.try_clone()?), writes })
    }

    /// A line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reads.read_line(&mut line).context("reading a line")?;
        Ok(line.strip_suffix("\r\n").context("a line without an end")?.to_owned())
    }
}

/// Opens a connection, and begins what a session begins with.
fn begin(language: Language, to: SocketAddr) -> Result<Box<dyn Protocol>> {
    let stream = Stream::open(to)?;
    Ok(match language {
        Language::Postgres => Box::new(Postgres::begin(stream)?),
        Language::Redis => Box::new(Redis(stream)),
        Language::Http => Box::new(Http(stream)),
    })
}

impl Ask {
    pub(crate) fn run(self) -> Result<()> {
        let mut protocol = begin(self.language, self.connect)?;
        println!("{}", json!({"open": 1}));
        let (mut done, mut waited) = (0_u64, Duration::ZERO);
        for line in std::io::stdin().lock().lines() {
            let line = line.context("reading a request")?;
            let began = Instant::now();
            // An empty one waits for what the server says unasked.
            if !line.is_empty() {
                protocol.ask(&line).with_context(|| line.clone())?;
            }
            protocol.hear().with_context(|| line.clone())?;
            if !line.is_empty() {
                waited += began.elapsed();
            }
            done += 1;
            println!("{}", json!({"done": done}));
        }
        println!("{}", json!({"answers": done, "waited_us": u64::try_from(waited.as_micros())?}));
        Ok(())
    }
}
