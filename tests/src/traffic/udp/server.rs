//! The UDP server: one thread for all its ports.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
    /// Let a process in this cgroup have the sockets too
    #[arg(long)]
    share_with: Option<PathBuf>,
    /// Serve at the socket that is standard input, without an end
    #[arg(long)]
    inherited: bool,
}

impl Server {
    pub(crate) fn run(self) -> Result<()> {
        if self.inherited {
            return self.serve_inherited();
        }
        let mut sockets = Vec::new();
        for address in self.listen.addresses() {
            let socket = bound(address).with_context(|| format!("listening on {address}"))?;
            if let Some(bytes) = self.listen.receive_buffer {
                set_socket_recv_buffer_size(&socket, bytes)?;
            }
            sockets.push(socket);
        }
        let mut shared = Vec::new();
        if let Some(cgroup) = &self.share_with {
            for socket in &sockets {
                shared.push(share(socket, cgroup)?);
            }
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
        for mut child in shared {
            child.kill().and_then(|()| child.wait()).context("ending who has the sockets too")?;
        }
        println!("{}", totals.json());
        Ok(())
    }

    fn serve_inherited(&self) -> Result<()> {
        let socket = UdpSocket::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let mut totals = Totals::default();
        loop {
            poll(&mut [PollFd::new(&socket, PollFlags::IN)], None).context("waiting for datagrams")?;
            self.empty(&socket, &mut totals)?;
        }
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

/// Starts a process in another cgroup that has this socket, and does nothing.
fn share(socket: &UdpSocket, cgroup: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0\" && exec sleep 600"]).arg(cgroup.join("cgroup.procs"));
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone()?)));
    command.spawn().context("starting who has the socket too")
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
