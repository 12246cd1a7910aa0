//! Load for as long as the command says, on one connection or with one connection after the other.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use super::{dns, serve_commands};

/// Bytes of one write of the bulk load.
const CHUNK: usize = 256 * 1024;
/// Datagrams under way: they fit into a receive buffer of default size.
const BURST: usize = 32;
/// A datagram without an answer after this is lost.
pub(super) const LOST: Duration = Duration::from_millis(100);

/// The load, and the operations that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// Bytes over one connection, to a server that reads
    Bulk,
    /// One byte there and back, over one connection
    RoundTrips,
    /// Connections, each closed by the server at once
    Connects,
    /// Datagrams sent and answered
    Datagrams,
    /// The same from a socket that is not connected
    UnconnectedDatagrams,
    /// DNS queries answered, over UDP from one socket
    Dns,
    /// DNS queries answered, over UDP, each from a socket and a port of its own
    DnsNewPorts,
    /// DNS queries answered, over one TCP connection
    DnsTcp,
}

/// `netcause-lab bench generate drive`
#[derive(Args)]
pub(crate) struct Drive {
    #[arg(value_enum)]
    load: Load,
    /// The server
    to: SocketAddr,
}

impl Drive {
    pub(super) fn run(self) -> Result<()> {
        match self.load {
            Load::Bulk => {
                let (mut stream, chunk) = (self.connect()?, vec![0; CHUNK]);
                repeat(|| {
                    stream.write_all(&chunk)?;
                    Ok(CHUNK as u64)
                })
            }
            Load::RoundTrips => {
                let (mut stream, mut byte) = (self.connect()?, [0]);
                stream.set_nodelay(true)?;
                repeat(|| {
                    stream.write_all(&byte)?;
                    stream.read_exact(&mut byte)?;
                    Ok(1)
                })
            }
            Load::Connects => repeat(|| {
                let got = self.connect()?.read(&mut [0])?;
                ensure!(got == 0, "the server does not close");
                Ok(1)
            }),
            Load::Datagrams | Load::UnconnectedDatagrams => self.datagrams(),
            Load::Dns | Load::DnsNewPorts => dns::ask(self.to, self.load == Load::DnsNewPorts),
            Load::DnsTcp => dns::ask_over_tcp(self.connect()?),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        TcpStream::connect(self.to).with_context(|| format!("connecting to {}", self.to))
    }

    fn datagrams(&self) -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0").context("binding")?;
        socket.set_read_timeout(Some(LOST))?;
        let connected = self.load == Load::Datagrams;
        if connected {
            socket.connect(self.to)?;
        }
        let (payload, mut answer) = ([0; 100], [0; 100]);
        repeat(|| {
            for _ in 0..BURST {
                if connected { socket.send(&payload) } else { socket.send_to(&payload, self.to) }?;
            }
            let mut done = 0;
            for _ in 0..BURST {
                match socket.recv_from(&mut answer) {
                    // One there and one back.
                    Ok(_) => done += 2,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(done)
        })
    }
}

/// Operates for as many milliseconds as each command says; `operate` returns how much it did.
pub(super) fn repeat(mut operate: impl FnMut() -> Result<u64>) -> Result<()> {
    serve_commands(|milliseconds| {
        let limit = Duration::from_millis(milliseconds.parse().context("milliseconds")?);
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < limit {
            done += operate()?;
        }
        Ok(done)
    })
}
