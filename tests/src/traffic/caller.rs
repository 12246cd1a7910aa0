//! A client of `traffic service`: requests at intervals, over connections that it keeps or over new ones, with the timeouts that clients
//! have.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_linger, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::json;

use super::{CHUNK, knobs::Knobs, path::Chance};

/// How often it looks whether something has changed.
const TURN: Duration = Duration::from_millis(20);
/// Bytes that one who reads slowly takes at a time.
const SLOWLY: usize = 4096;

/// `netcause-lab traffic caller`
///
/// Lines: `run=0` (asks nothing more, and keeps its connections), `stall=1` (reads nothing more), `read_rate=100000` (bytes a
/// second that it reads at most; 0: as many as come), `early=0.5` (share of requests whose
/// connection is reset before the answer is read), `interval_ms=50`.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Caller {
    #[arg(long)]
    connect: SocketAddr,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Bytes of a request
    #[arg(long, default_value_t = 100)]
    send: u32,
    /// Bytes of an answer
    #[arg(long, default_value_t = 100)]
    receive: u32,
    /// The time between two requests of a connection, on average
    #[arg(long, default_value_t = 100)]
    interval_ms: u32,
    /// A new connection for each request
    #[arg(long)]
    fresh: bool,
    /// Gives a request or a connect up after this time; 0 never does
    #[arg(long, default_value_t = 0)]
    timeout_ms: u32,
    /// After so many seconds without data the kernel asks three times, a second apart, whether the peer is there; 0 never does
    #[arg(long, default_value_t = 0)]
    keepalive_s: u64,
    /// The kernel gives up what is not acknowledged for so long; 0: as long as it does by default
    #[arg(long, default_value_t = 0)]
    user_timeout_ms: u32,
    /// Share of requests whose connection is reset before the answer is read, at first
    #[arg(long, default_value_t = 0.0)]
    early: f64,
    /// Every second connection comes from this address
    #[arg(long)]
    also_from: Option<IpAddr>,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

struct State {
    knobs: Knobs,
    is_ending: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    opened: AtomicU64,
    slowest_ms: AtomicU64,
}

impl Caller {
    pub(crate) fn run(self) -> Result<()> {
        let knobs = Knobs::new(&[
            ("run", 1.0),
            ("stall", 0.0),
            ("read_rate", 0.0),
            ("early", self.early),
            ("interval_ms", self.interval_ms.into()),
        ]);
        let state = State {
            knobs,
            is_ending: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            slowest_ms: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            for number in 0..self.connections {
                let chance = Chance::new(self.seed.wrapping_add(u64::from(number)));
                let (caller, state) = (&self, &state);
                scope.spawn(move || caller.work(chance, state));
            }
            let result = state.knobs.follow(|| {});
            state.is_ending.store(true, Ordering::SeqCst);
            result
        })?;
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        println!(
            "{}",
            json!({
                "answered": count(&state.answered),
                "failed": count(&state.failed),
                "slowest_ms": count(&state.slowest_ms),
            })
        );
        Ok(())
    }

    fn work(&self, mut chance: Chance, state: &State) {
        while state.may_go_on() {
            let Ok(mut stream) = self.open(state) else {
                state.failed.fetch_add(1, Ordering::SeqCst);
                self.pause(&mut chance, state);
                continue;
            };
            loop {
                if !state.may_go_on() {
                    break;
                }
                let is_early = chance.is(state.knobs.get("early"));
                let began = Instant::now();
                let asked = self.ask(&mut stream, is_early, state);
                let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                state.slowest_ms.fetch_max(took, Ordering::SeqCst);
                let counter = if asked.is_ok() { &state.answered } else { &state.failed };
                counter.fetch_add(1, Ordering::SeqCst);
                self.pause(&mut chance, state);
                if asked.is_err() || is_early || self.fresh {
                    if asked.is_ok() && !is_early {
                        end(&mut stream);
                    }
                    break;
                }
            }
        }
    }

    fn open(&self, state: &State) -> io::Result<TcpStream> {
        let limit = (self.timeout_ms > 0).then(|| Duration::from_millis(self.timeout_ms.into()));
        let number = state.opened.fetch_add(1, Ordering::SeqCst);
        let stream = match (limit, self.also_from.filter(|_| number % 2 == 1)) {
            (_, Some(from)) => connect_from(from, self.connect)?,
            (Some(limit), _) => TcpStream::connect_timeout(&self.connect, limit)?,
            (None, _) => TcpStream::connect(self.connect)?,
        };
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        if self.keepalive_s > 0 {
            set_socket_keepalive(&stream, true)?;
            set_tcp_keepidle(&stream, Duration::from_secs(self.keepalive_s))?;
            set_tcp_keepintvl(&stream, Duration::from_secs(1))?;
            set_tcp_keepcnt(&stream, 3)?;
        }
        if self.user_timeout_ms > 0 {
            set_tcp_user_timeout(&stream, self.user_timeout_ms)?;
        }
        Ok(stream)
    }

    fn ask(&self, stream: &mut TcpStream, is_early: bool, state: &State) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let [length, answer] = [self.send, self.receive].map(u32::to_be_bytes);
        // A small request is one segment, as those of clients are.
        buffer[..4].copy_from_slice(&length);
        buffer[4..8].copy_from_slice(&answer);
        let mut left = usize::try_from(self.send).unwrap_or(0) + 8;
        let first = left.min(CHUNK);
        stream.write_all(&buffer[..first])?;
        left -= first;
        while left > 0 {
            left -= stream.write(&buffer[..left.min(CHUNK)])?;
        }
        if is_early {
            // A linger time of zero makes close(2) send a reset.
            set_socket_linger(&*stream, Some(Duration::ZERO))?;
            return Ok(());
        }
        let mut left = usize::try_from(self.receive).unwrap_or(0);
        while left > 0 {
            while state.knobs.is("stall") && !state.is_ending.load(Ordering::SeqCst) {
                thread::sleep(TURN);
            }
            let rate = state.knobs.get("read_rate");
            let part = left.min(if rate > 0.0 { SLOWLY } else { CHUNK });
            let got = stream.read(&mut buffer[..part])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if rate > 0.0 {
                thread::sleep(Duration::from_secs_f64(got as f64 / rate));
            }
            left -= got;
        }
        Ok(())
    }

    /// Between requests: half to one and a half times the interval.
    fn pause(&self, chance: &mut Chance, state: &State) {
        let end = Instant::now() + state.knobs.time("interval_ms").mul_f64(0.5 + chance.next());
        while !state.is_ending.load(Ordering::SeqCst) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(TURN * 5));
        }
    }
}

impl State {
    /// Waits while it is not to run; false at the end.
    fn may_go_on(&self) -> bool {
        while !self.is_ending.load(Ordering::SeqCst) {
            if self.knobs.is("run") {
                return true;
            }
            thread::sleep(TURN);
        }
        false
    }
}

/// Connects from one of the addresses of this host.
fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// Says that nothing more comes, and reads to the end.
fn end(stream: &mut TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0; 64]);
}
