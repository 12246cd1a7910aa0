//! The programs that run inside the pods: real processes with real sockets, which count exactly what they did and print
//! it as JSON, so that a scenario compares the agent's counts with the truth.

mod ask;
mod caller;
mod client;
mod dns;
mod flood;
mod knobs;
pub(crate) mod path;
mod relay;
mod server;
mod service;
mod udp;

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Subcommand)]
pub(crate) enum Traffic {
    /// Accept connections until standard input closes
    Server(server::Server),
    /// Proxy connections until standard input closes
    Relay(relay::Relay),
    /// Make connections
    Client(client::Client),
    /// Ask a server that was not written for the lab
    Ask(ask::Ask),
    /// Answer requests as lines of standard input say, until it closes
    Service(service::Service),
    /// Ask `service` at intervals until standard input closes
    Caller(caller::Caller),
    /// Ask a server that was not written for the lab at intervals, until standard input closes
    AskOften(ask::often::AskOften),
    /// Send TCP segments without a connection
    Flood(flood::Flood),
    /// Pass frames between two network namespaces, treated as lines of standard input say, until it closes
    Path(path::PathBetween),
    /// Receive datagrams until standard input closes
    UdpServer(udp::server::Server),
    /// Send datagrams
    UdpClient(udp::client::Client),
    /// Ask the C library for the addresses of names
    DnsResolve(dns::resolve::Resolve),
    /// Ask DNS servers, and wait as long as told
    DnsAsk(dns::ask::Ask),
    /// Answer DNS queries oddly until standard input closes
    DnsAnswer(dns::answer::Answer),
    /// Answer DNS queries as lines of standard input say, until it closes
    DnsService(dns::service::Service),
    /// Look names up at intervals until standard input closes
    DnsCaller(dns::caller::Caller),
    /// Send datagrams that are not DNS, or answers to queries that were never sent
    DnsGarbage(dns::garbage::Garbage),
}

impl Traffic {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Server(server) => server.run(),
            Self::Relay(relay) => relay.run(),
            Self::Client(client) => client.run(),
            Self::Ask(ask) => ask.run(),
            Self::Service(service) => service.run(),
            Self::Caller(caller) => caller.run(),
            Self::AskOften(ask) => ask.run(),
            Self::Flood(flood) => flood.run(),
            Self::Path(path) => path.run(),
            Self::UdpServer(server) => server.run(),
            Self::UdpClient(client) => client.run(),
            Self::DnsResolve(resolve) => resolve.run(),
            Self::DnsAsk(ask) => ask.run(),
            Self::DnsAnswer(answer) => answer.run(),
            Self::DnsService(service) => service.run(),
            Self::DnsCaller(caller) => caller.run(),
            Self::DnsGarbage(garbage) => garbage.run(),
        }
    }
}

/// The sockets of a server.
#[derive(Args)]
struct Listen {
    /// Where to listen; [::] takes IPv4 clients as v4-mapped addresses too
    #[arg(long)]
    listen: SocketAddr,
    /// How many consecutive ports to listen on
    #[arg(long, default_value_t = 1)]
    ports: u16,
    /// Ask for receive buffers of this size; the kernel doubles it
    #[arg(long)]
    receive_buffer: Option<usize>,
}

impl Listen {
    /// The address of each port.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        (0..self.ports).map(|offset| SocketAddr::new(self.listen.ip(), self.listen.port() + offset))
    }

    /// Prints the line that the lab waits for.
    fn print_ready(&self) {
        println!("{}", json!({"listening": self.listen.to_string()}));
    }
}

/// The chunk in which bytes are written and read.
const CHUNK: usize = 64 * 1024;

/// Sends so many bytes and counts them.
fn send(stream: &mut TcpStream, bytes: u64, sent: &AtomicU64) -> io::Result<()> {
    let buffer = [0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let taken = stream.write(&buffer[..part])? as u64;
        sent.fetch_add(taken, Ordering::SeqCst);
        left -= taken;
    }
    Ok(())
}

/// Receives so many bytes, or fewer if the stream ends before, and counts them.
fn receive(stream: &mut TcpStream, most: u64, received: &AtomicU64) -> io::Result<u64> {
    let mut buffer = [0; CHUNK];
    let mut left = most;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let got = stream.read(&mut buffer[..part])? as u64;
        if got == 0 {
            break;
        }
        received.fetch_add(got, Ordering::SeqCst);
        left -= got;
    }
    Ok(most - left)
}

/// Where the `number`-th connection or datagram of a client goes, which uses `ports` consecutive ports in turn and may
/// reach an IPv4 server through an IPv6 socket.
fn as_reached(first: SocketAddr, number: u64, ports: u16, mapped: bool) -> SocketAddr {
    let offset = u16::try_from(number % u64::from(ports)).unwrap_or(0);
    let ip = match first.ip() {
        IpAddr::V4(v4) if mapped => IpAddr::V6(v4.to_ipv6_mapped()),
        ip => ip,
    };
    SocketAddr::new(ip, first.port() + offset)
}

/// Any local address of the family of `to`.
fn any_like(to: SocketAddr) -> IpAddr {
    if to.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}
