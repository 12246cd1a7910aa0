//! A server whose behaviour lines of standard input change: it answers what requests ask for, and late, not at all or with resets when
//! it is told so.
//!
//! A request is its length and the length of its answer, four bytes each, the highest first, and so many bytes.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SocketType, bind, connect_unspec, listen, socket,
        sockopt::{set_ipv6_v6only, set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr},
    },
};
use serde_json::json;

use super::{CHUNK, knobs::Knobs};

/// How often it looks whether something has changed.
const TURN: Duration = Duration::from_millis(20);
/// Memory of a connection for what comes, where it is not squeezed.
const LARGE: f64 = 1e6;

/// `netcause-lab traffic service`
///
/// Lines: `think_ms=300` (time to an answer), `stall=1` (reads nothing more), `reset=0.5` (share of requests that are answered by a
/// reset), `accept=0` (accepts no connections), `accept_ms=200` (time between two
/// that are accepted), `squeeze=4096` (takes the memory that a connection has for what comes away while a request arrives, but for so
/// many bytes), `listen=0` (closes the port and all connections), `crash=1` (resets all connections).
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Service {
    #[arg(long)]
    listen: SocketAddr,
    /// The limit of the queue of connections not yet accepted
    #[arg(long, default_value_t = 1024)]
    backlog: i32,
    /// How long it takes to answer at first
    #[arg(long, default_value_t = 0)]
    think_ms: u32,
    /// Ends a connection when it has answered
    #[arg(long)]
    hangup: bool,
}

struct State {
    knobs: Knobs,
    /// Open connections, each with its number.
    open: Mutex<Vec<(u64, TcpStream)>>,
    accepted: AtomicU64,
    requests: AtomicU64,
    is_ending: AtomicBool,
}

impl Service {
    pub(crate) fn run(self) -> Result<()> {
        let knobs = Knobs::new(&[
            ("think_ms", self.think_ms.into()),
            ("stall", 0.0),
            ("reset", 0.0),
            ("accept", 1.0),
            ("accept_ms", 0.0),
            ("squeeze", 0.0),
            ("listen", 1.0),
            ("crash", 0.0),
        ]);
        let state = State {
            knobs,
            open: Mutex::default(),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        };
        let listener = self.open()?;
        thread::scope(|scope| {
            scope.spawn(|| self.accept(scope, listener, &state));
            let result = state.knobs.follow(|| {
                if !state.knobs.is("listen") {
                    state.close_all(false);
                }
                if state.knobs.is("crash") {
                    state.close_all(true);
                }
            });
            state.is_ending.store(true, Ordering::SeqCst);
            state.close_all(false);
            result
        })?;
        println!("{}", json!({"requests": state.requests.load(Ordering::SeqCst)}));
        Ok(())
    }

    fn open(&self) -> Result<TcpListener> {
        let family = if self.listen.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = socket(family, SocketType::STREAM, None).context("a socket")?;
        set_socket_reuseaddr(&socket, true)?;
        if self.listen.is_ipv6() {
            set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &self.listen).with_context(|| format!("binding {}", self.listen))?;
        listen(&socket, self.backlog)?;
        Ok(TcpListener::from(socket))
    }

    fn accept<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        listener: TcpListener,
        state: &'scope State,
    ) {
        let mut listener = Some(listener);
        while !state.is_ending.load(Ordering::SeqCst) {
            if !state.knobs.is("listen") {
                listener = None;
            } else if listener.is_none() {
                listener = self.open().ok();
            }
            let Some(listening) = listener.as_ref().filter(|_| state.knobs.is("accept")) else {
                thread::sleep(TURN);
                continue;
            };
            let wait = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if poll(&mut [PollFd::new(listening, PollFlags::IN)], Some(&wait)).unwrap_or(0) == 0 {
                continue;
            }
            let Ok((stream, _)) = listening.accept() else { continue };
            thread::sleep(state.knobs.time("accept_ms"));
            let number = state.accepted.fetch_add(1, Ordering::SeqCst);
            if let Ok(copy) = stream.try_clone() {
                state.open().push((number, copy));
            }
            scope.spawn(move || {
                // A client that goes away ends its connection.
                let _ = state.serve(stream, self.hangup);
                state.open().retain(|(other, _)| *other != number);
            });
        }
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<(u64, TcpStream)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections, in order or by a reset.
    fn close_all(&self, by_reset: bool) {
        for (_, stream) in self.open().drain(..) {
            // One that has ended already stays so.
            if by_reset {
                let _ = connect_unspec(&stream);
            } else {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    fn serve(&self, mut stream: TcpStream, hangup: bool) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let mut header = [0; 8];
            self.wait_while("stall");
            stream.read_exact(&mut header)?;
            let memory = self.knobs.get("squeeze");
            if memory > 0.0 {
                squeeze(&stream, memory);
            }
            let [a, b, c, d, e, f, g, h] = header;
            let (mut left, answer) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
            while left > 0 {
                self.wait_while("stall");
                let part = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
                let got = stream.read(&mut buffer[..part])?;
                if got == 0 {
                    return Ok(());
                }
                left = left.saturating_sub(u32::try_from(got).unwrap_or(u32::MAX));
            }
            if memory > 0.0 {
                squeeze(&stream, LARGE);
            }
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let share = self.knobs.get("reset");
            if share > 0.0 && (number % 100) as f64 * 61.0 % 100.0 < 100.0 * share {
                // A linger time of zero makes close(2) send a reset; the copy is closed with it.
                let _ = set_socket_linger(&stream, Some(Duration::ZERO));
                return Ok(());
            }
            self.think();
            let mut left = usize::try_from(answer).unwrap_or(0);
            while left > 0 {
                let part = left.min(CHUNK);
                left -= stream.write(&buffer[..part])?;
            }
            if hangup {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Takes the time that an answer takes, as it is now: what hung goes on when it is over.
    fn think(&self) {
        let began = Instant::now();
        while let Some(left) = self.knobs.time("think_ms").checked_sub(began.elapsed())
            && !left.is_zero()
            && !self.is_ending.load(Ordering::SeqCst)
        {
            // Short times to the millisecond, and long ones in turns.
            thread::sleep(left.min(Duration::from_millis(250)));
        }
    }

    fn wait_while(&self, knob: &str) {
        while self.knobs.is(knob) && !self.is_ending.load(Ordering::SeqCst) {
            thread::sleep(TURN);
        }
    }
}

/// Sets the memory for what comes; a connection that ends does not mind.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 10^12, and as many bits are enough"
)]
fn squeeze(stream: &TcpStream, bytes: f64) {
    let _ = set_socket_recv_buffer_size(stream, bytes as usize);
}
