//! The client of the server that takes as long as it is asked to.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use super::{PUSH, Word, raise_file_limit, start, truth::Truth};

/// How a client talks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// One request after the other, over a connection that is kept alive
    KeptAlive,
    /// A new connection for each request, which the client closes after the answer
    Closing,
    /// The same, with the client's side ended after the request
    HalfClosed,
    /// Four requests at once, which are answered one after the other
    Pipelined,
    /// Asks once; then the server speaks unasked
    Pushed,
    /// The same, and the client has a word for each of the server's
    PushedAcknowledged,
}

/// How long requests take.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    /// All the same
    Fixed,
    /// Exponential with this mean
    Exponential,
    /// Nine of ten take 10 ms, the others this
    Rarely,
}

/// Requests that are sent at once ([`Style::Pipelined`]).
const PIPELINED: usize = 4;

/// `netcause-lab bench generate ask`
#[derive(Args, Clone)]
pub(crate) struct Ask {
    /// The server
    to: SocketAddr,
    #[arg(long, value_enum)]
    style: Style,
    #[arg(long, value_enum)]
    distribution: Distribution,
    /// How long the server is to take for each request
    #[arg(long)]
    think_ms: u32,
    /// The longest pause before a request; they are as likely from none on
    #[arg(long)]
    pause_ms: u32,
    #[arg(long)]
    connections: u32,
}

impl Ask {
    /// Asks until the end of the input, and prints the sums for each line of it.
    pub(crate) fn run(self) -> Result<()> {
        raise_file_limit()?;
        let truth = Arc::new(Truth::new());
        for number in 0..self.connections {
            let (ask, truth) = (self.clone(), Arc::clone(&truth));
            start(move || {
                let mut random = Random(u64::from(number) + 1);
                // Not all at the same time.
                thread::sleep(ask.pause(&mut random));
                if let Err(error) = ask.talk(&truth, &mut random) {
                    eprintln!("{}: {error:#}", ask.to);
                    std::process::exit(1);
                }
            });
        }
        println!("ready");
        for line in std::io::stdin().lock().lines() {
            line.context("reading a command")?;
            println!("{}", truth.sums());
        }
        Ok(())
    }

    fn talk(&self, truth: &Truth, random: &mut Random) -> Result<()> {
        let is_kept = !matches!(self.style, Style::Closing | Style::HalfClosed);
        loop {
            let stream = TcpStream::connect(self.to).context("connecting")?;
            stream.set_nodelay(true)?;
            let opened = truth.opened();
            self.exchange(&stream, truth, random)?;
            if is_kept {
                loop {
                    thread::sleep(self.pause(random));
                    self.exchange(&stream, truth, random)?;
                }
            }
            truth.closes(opened);
            drop(stream);
            thread::sleep(self.pause(random));
        }
    }

    fn exchange(&self, mut stream: &TcpStream, truth: &Truth, random: &mut Random) -> Result<()> {
        let mut word = Word::default();
        if matches!(self.style, Style::Pushed | Style::PushedAcknowledged) {
            let time = u64::try_from(self.think(random).as_micros())?;
            stream.write_all(&(time | PUSH).to_le_bytes())?;
            loop {
                stream.read_exact(&mut word)?;
                if self.style == Style::PushedAcknowledged {
                    stream.write_all(&word)?;
                }
            }
        }
        let requests = if self.style == Style::Pipelined { PIPELINED } else { 1 };
        let mut said = Vec::new();
        for _ in 0..requests {
            said.extend(u64::try_from(self.think(random).as_micros())?.to_le_bytes());
        }
        let asked = truth.asked();
        stream.write_all(&said)?;
        if self.style == Style::HalfClosed {
            stream.shutdown(Shutdown::Write)?;
        }
        for _ in 0..requests {
            stream.read_exact(&mut word).context("reading an answer")?;
        }
        truth.answered(asked);
        if self.style == Style::HalfClosed {
            ensure!(stream.read(&mut word)? == 0, "more than an answer");
        }
        Ok(())
    }

    fn pause(&self, random: &mut Random) -> Duration {
        Duration::from_millis(self.pause_ms.into()).mul_f64(random.fraction())
    }

    fn think(&self, random: &mut Random) -> Duration {
        let time = Duration::from_millis(self.think_ms.into());
        match self.distribution {
            Distribution::Fixed => time,
            // `1 - fraction` is above zero.
            Distribution::Exponential => time.mul_f64(-(1.0 - random.fraction()).ln()),
            Distribution::Rarely if random.fraction() < 0.9 => Duration::from_millis(10),
            Distribution::Rarely => time,
        }
    }
}

/// Numbers that are the same in each run (SplitMix64).
struct Random(u64);

impl Random {
    /// From 0 on, below 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or_default();
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}
