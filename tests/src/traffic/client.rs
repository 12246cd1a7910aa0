//! The client: connections one after the other or in parallel, ended in order, by a reset, or held.

mod hidden;
mod hold;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{
        AddressFamily, SocketType, bind, connect, connect_unspec, ipproto, socket,
        sockopt::{
            set_socket_keepalive, set_socket_linger, set_socket_reuseaddr, set_socket_send_buffer_size,
            socket_error,
        },
    },
};
use serde_json::json;

use super::{any_like, as_reached, receive, send};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum End {
    /// Say that nothing more comes, read to the end, close
    Close,
    /// Close with a reset
    Reset,
    /// Close first, without waiting for the server
    Abrupt,
}

/// `netcause-lab traffic client`
#[derive(Args)]
pub(crate) struct Client {
    /// Where to connect to
    #[arg(long)]
    connect: SocketAddr,
    /// Use this many consecutive ports in turn
    #[arg(long, default_value_t = 1)]
    ports: u16,
    /// How many connections to make
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How many at a time
    #[arg(long, default_value_t = 1)]
    parallel: u64,
    /// Bytes to send over each connection
    #[arg(long, default_value_t = 0)]
    send: u64,
    /// Bytes to wait for before ending the connection
    #[arg(long, default_value_t = 0)]
    receive: u64,
    #[arg(long, value_enum, default_value = "close")]
    end: End,
    /// Open all connections, keep them, and carry out the commands of standard input, each over every connection:
    /// `echo N` (send N bytes and read them back), `send N`, `receive N`, `relay N` (a sharer sends them), `end` (say
    /// that nothing more comes), `end-both`, `reconnect` (use the same sockets for new connections),
    /// `repeat N M COMMAND` (N times with M milliseconds between), `hide-in-ring` and `hide-in-message` (leave them to an
    /// io_uring, or to a message that nobody receives, until the end)
    #[arg(long, verbatim_doc_comment)]
    hold: bool,
    /// With --hold, have this many other processes hold each connection open too
    #[arg(long, default_value_t = 0)]
    share: u64,
    /// Keep each connection open for this long before ending it
    #[arg(long, default_value_t = 0)]
    dwell_ms: u64,
    /// Connect in non-blocking mode and poll
    #[arg(long)]
    nonblocking: bool,
    /// Give up a connect after this many milliseconds (implies --nonblocking)
    #[arg(long)]
    connect_timeout_ms: Option<u32>,
    /// Close the socket as soon as the connect has begun
    #[arg(long)]
    abort: bool,
    /// After a connect that failed, connect the same socket to this port, and close it at once
    #[arg(long)]
    then_abort: Option<u16>,
    /// Reach an IPv4 server through an IPv6 socket
    #[arg(long)]
    mapped: bool,
    /// Bind to this source port
    #[arg(long)]
    bind_port: Option<u16>,
    /// Bind to this source address
    #[arg(long)]
    from: Option<IpAddr>,
    /// Ask for a send buffer of this size
    #[arg(long)]
    send_buffer: Option<usize>,
    /// Send keep-alive probes while idle
    #[arg(long)]
    keepalive: bool,
    /// Wait this long after each connection
    #[arg(long, default_value_t = 0)]
    interval_ms: u64,
    /// Speak MPTCP where the server does
    #[arg(long)]
    mptcp: bool,
}

#[derive(Default)]
struct Totals {
    next: AtomicU64,
    connected: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Connections that broke after they had been established.
    broken: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Client {
    pub(crate) fn run(self) -> Result<()> {
        let totals = Totals::default();
        if self.hold {
            self.hold(&totals)?;
        } else {
            thread::scope(|scope| {
                for _ in 0..self.parallel {
                    scope.spawn(|| self.work(&totals));
                }
            });
        }
        let failures = totals.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        println!(
            "{}",
            json!({
                "connected": totals.connected.load(Ordering::SeqCst),
                "broken": totals.broken.load(Ordering::SeqCst),
                "bytes_sent": totals.sent.load(Ordering::SeqCst),
                "bytes_received": totals.received.load(Ordering::SeqCst),
                "failures": failures,
            })
        );
        Ok(())
    }

    fn work(&self, totals: &Totals) {
        loop {
            let number = totals.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.count {
                return;
            }
            if let Some(stream) = self.try_open(number, totals)
                && self.exchange(stream, totals).is_err()
            {
                totals.broken.fetch_add(1, Ordering::SeqCst);
            }
            thread::sleep(Duration::from_millis(self.interval_ms));
        }
    }

    fn try_open(&self, number: u64, totals: &Totals) -> Option<TcpStream> {
        match self.open(number) {
            Ok(stream) => {
                totals.connected.fetch_add(1, Ordering::SeqCst);
                Some(stream)
            }
            Err(failure) => {
                let mut failures = totals.failures.lock().unwrap_or_else(PoisonError::into_inner);
                *failures.entry(failure).or_default() += 1;
                None
            }
        }
    }

    /// A connected stream, or the name of what went wrong.
    fn open(&self, number: u64) -> Result<TcpStream, String> {
        let to = as_reached(self.connect, number, self.ports, self.mapped);
        let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket =
            socket(family, SocketType::STREAM, self.mptcp.then_some(ipproto::MPTCP)).map_err(name)?;
        if let Some(bytes) = self.send_buffer {
            set_socket_send_buffer_size(&socket, bytes).map_err(name)?;
        }
        set_socket_keepalive(&socket, self.keepalive).map_err(name)?;
        if self.bind_port.is_some() || self.from.is_some() {
            set_socket_reuseaddr(&socket, true).map_err(name)?;
            let from = self.from.unwrap_or_else(|| any_like(to));
            bind(&socket, &SocketAddr::new(from, self.bind_port.unwrap_or(0))).map_err(name)?;
        }
        if self.abort || self.nonblocking || self.connect_timeout_ms.is_some() {
            self.connect_polling(&socket, to).map_err(|failure| match self.then_abort {
                None => failure,
                Some(port) => {
                    let to = SocketAddr::new(to.ip(), port);
                    match connect_unspec(&socket).and_then(|()| connect(&socket, &to)) {
                        Err(Errno::INPROGRESS) => "aborted".to_owned(),
                        other => format!("{other:?} after {failure}"),
                    }
                }
            })?;
        } else {
            connect(&socket, &to).map_err(name)?;
        }
        Ok(TcpStream::from(socket))
    }

    fn connect_polling(&self, socket: &OwnedFd, to: SocketAddr) -> Result<(), String> {
        let flags = fcntl_getfl(socket).map_err(name)?;
        fcntl_setfl(socket, flags | OFlags::NONBLOCK).map_err(name)?;
        match connect(socket, &to) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {
                if self.abort {
                    return Err("aborted".to_owned());
                }
                let limit = self.connect_timeout_ms.map(|ms| Timespec {
                    tv_sec: i64::from(ms / 1000),
                    tv_nsec: i64::from(ms % 1000) * 1_000_000,
                });
                let mut fds = [PollFd::new(socket, PollFlags::OUT)];
                if poll(&mut fds, limit.as_ref()).map_err(name)? == 0 {
                    return Err("gave_up".to_owned());
                }
                socket_error(socket).map_err(name)?.map_err(name)?;
            }
            Err(errno) => return Err(name(errno)),
        }
        fcntl_setfl(socket, flags).map_err(name)
    }

    fn exchange(&self, mut stream: TcpStream, totals: &Totals) -> std::io::Result<()> {
        totals.send(&mut stream, self.send)?;
        totals.receive(&mut stream, self.receive)?;
        thread::sleep(Duration::from_millis(self.dwell_ms));
        self.finish(stream, totals)
    }

    fn finish(&self, mut stream: TcpStream, totals: &Totals) -> std::io::Result<()> {
        match self.end {
            End::Abrupt => Ok(()),
            End::Reset => {
                // A linger time of zero makes close(2) send a reset.
                set_socket_linger(&stream, Some(Duration::ZERO))?;
                Ok(())
            }
            End::Close => {
                stream.shutdown(Shutdown::Write)?;
                receive(&mut stream, u64::MAX, &totals.received).map(drop)
            }
        }
    }
}

impl Totals {
    fn send(&self, stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
        send(stream, bytes, &self.sent)
    }

    /// Receives exactly so many bytes.
    fn receive(&self, stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
        let got = receive(stream, bytes, &self.received)?;
        if got == bytes { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// The errno's name, for those that a scenario asks about.
fn name(errno: Errno) -> String {
    match errno {
        Errno::CONNREFUSED => "ECONNREFUSED".to_owned(),
        Errno::CONNRESET => "ECONNRESET".to_owned(),
        Errno::TIMEDOUT => "ETIMEDOUT".to_owned(),
        Errno::HOSTUNREACH => "EHOSTUNREACH".to_owned(),
        Errno::NETUNREACH => "ENETUNREACH".to_owned(),
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL".to_owned(),
        Errno::ADDRINUSE => "EADDRINUSE".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::PERM => "EPERM".to_owned(),
        Errno::INVAL => "EINVAL".to_owned(),
        other => format!("{other:?}"),
    }
}
