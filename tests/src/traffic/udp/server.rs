//! The UDP server: one thread for all its ports.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, SocketFlags, SocketType,
        sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr},
    },
};

use super::{
    super::{CHUNK, Listen},
    Totals,
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Send back what comes
    Echo,
    /// Read
    Sink,
    /// Send back what comes, from a socket of its own for each client
    EchoEach,
    /// Read nothing until standard input closes, then what is left
    ReadLate,
}

/// `netcause-lab traffic udp-server`
#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    listen: Listen,
    #[arg(long, value_enum, default_value = "echo")]
    mode: Mode,
}

impl Server {
    pub(crate) fn run(self) -> Result<()> {
        let mut sockets = Vec::new();
        for address in self.listen.addresses() {
            let socket = bound(address).with_context(|| format!("listening on {address}"))?;
            if let Some(bytes) = self.listen.receive_buffer {
                set_socket_recv_buffer_size(&socket, bytes)?;
            }
            sockets.push(socket);
        }
        self.listen.print_ready();
        let mut totals = Totals::default();
        let stdin = std::io::stdin();
        loop {
            let watched: &[UdpSocket] = if self.mode == Mode::ReadLate { &[] } else { &sockets };
            let mut fds = vec![PollFd::new(&stdin, PollFlags::IN)];
            fds.extend(watched.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
            poll(&mut fds, None).context("waiting for datagrams")?;
            let ended = !fds.remove(0).revents().is_empty();
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let mut own = Vec::new();
            for (socket, _) in watched.iter().zip(ready).filter(|(_, ready)| *ready) {
                own.extend(self.empty(socket, &mut totals)?);
            }
            sockets.extend(own);
            if ended {
                break;
            }
        }
        for socket in &sockets {
            self.empty(socket, &mut totals)?;
        }
        println!("{}", totals.json());
        Ok(())
    }

    /// Takes all that has arrived; returns the sockets that were made for new clients.
    fn empty(&self, socket: &UdpSocket, totals: &mut Totals) -> Result<Vec<UdpSocket>> {
        let (mut buffer, mut own) = (vec![0; CHUNK], Vec::new());
        loop {
            let (bytes, from) = match socket.recv_from(&mut buffer) {
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(own),
                Err(error) => return Err(error).context("receiving"),
            };
            totals.received(bytes);
            let answer = &buffer[..bytes];
            let sent = match self.mode {
                Mode::Sink | Mode::ReadLate => continue,
                Mode::Echo => socket.send_to(answer, from),
                Mode::EchoEach if socket.peer_addr().is_ok() => socket.send(answer),
                Mode::EchoEach => {
                    let one = bound(socket.local_addr()?).context("binding the same port again")?;
                    one.connect(from).with_context(|| format!("connecting to {from}"))?;
                    own.push(one);
                    own[own.len() - 1].send(answer)
                }
            };
            totals.sent(sent.context("answering")?);
        }
    }
}

/// A socket at an address that others may share.
fn bound(address: SocketAddr) -> Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(
        family,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket.into())
}
