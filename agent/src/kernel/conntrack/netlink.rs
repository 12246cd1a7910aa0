//! Requests to the kernel's conntrack. These calls block while the kernel searches its table, so they belong on a thread of
//! their own.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
};

use netcause_core::enrich::conntrack::{Failure, Tracked};

use super::message::{Message, Messages, ask_for_all, ask_for_one};

/// Limit on entries read in a dump, which takes about two seconds.
const MAX_ENTRIES: u64 = 1 << 20;
/// Time after which a dump is stopped.
const MAX_DURATION: Duration = Duration::from_secs(5);
/// Receive timeout; the kernel answers at once or never.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the receive buffer: small, because the kernel handles no packet on that CPU while it fills the buffer; large
/// enough for any one message, and for the first part of a dump, before the kernel knows our size: 8 KiB (NLMSG_GOODSIZE).
const BUFFER: usize = 16 * 1024;

/// The failure for an error number of the kernel.
fn failure(errno: Errno) -> Failure {
    let code = errno.raw_os_error();
    match errno {
        Errno::PERM | Errno::ACCESS => Failure::Forbidden,
        // Without ctnetlink EINVAL, without nfnetlink EPROTONOSUPPORT, without netlink EAFNOSUPPORT.
        Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
            Failure::Unsupported(code)
        }
        Errno::AGAIN => Failure::Timeout,
        _ => Failure::Other(code),
    }
}

/// The outcome of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Entries that were read.
    pub(super) entries: u64,
    /// Entries that could not be parsed.
    pub(super) malformed: u64,
    /// The dump was stopped before its end.
    pub(super) is_cut: bool,
}

/// A socket to the kernel, in the network namespace of the thread that opens it.
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Socket {
    pub(super) fn open() -> Result<Self, Failure> {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))
            .map_err(failure)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(failure)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(TIMEOUT)).map_err(failure)?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER].into_boxed_slice() })
    }

    /// Looks up one connection; `None` when it is not in the table.
    pub(super) fn one(
        &mut self,
        protocol: u8,
        client: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Option<Tracked>, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&ask_for_one(self.sequence, protocol, client, destination))?;
        loop {
            let length = self.receive()?;
            for message in Messages::new(self.buffer.get(..length).unwrap_or_default(), self.sequence) {
                match message.map_err(|_| Failure::Malformed)? {
                    Message::Connection(tracked) => return Ok(tracked),
                    Message::Malformed => return Err(Failure::Malformed),
                    Message::End(errno) if errno == Errno::NOENT.raw_os_error() => return Ok(None),
                    Message::End(errno) => return Err(failure(Errno::from_raw_os_error(errno))),
                    Message::Other => {}
                }
            }
        }
    }

    /// Dumps the table and calls `visit` with every connection that has ports, also with those before a failure. It consumes
    /// the socket, on which the rest of a stopped dump would follow.
    pub(super) fn all(mut self, mut visit: impl FnMut(&Tracked)) -> (Read, Option<Failure>) {
        let mut read = Read::default();
        let result = self.read_all(&mut read, MAX_ENTRIES, &mut visit);
        (read, result.err())
    }

    fn read_all(
        &mut self,
        read: &mut Read,
        limit: u64,
        visit: &mut impl FnMut(&Tracked),
    ) -> Result<(), Failure> {
        let began = Instant::now();
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&ask_for_all(self.sequence))?;
        loop {
            let length = self.receive()?;
            for message in Messages::new(self.buffer.get(..length).unwrap_or_default(), self.sequence) {
                match message.map_err(|_| Failure::Malformed)? {
                    Message::End(0) => return Ok(()),
                    Message::End(errno) => return Err(failure(Errno::from_raw_os_error(errno))),
                    Message::Connection(tracked) => {
                        read.entries += 1;
                        tracked.iter().for_each(&mut *visit);
                    }
                    Message::Malformed => {
                        read.entries += 1;
                        read.malformed += 1;
                    }
                    Message::Other => {}
                }
            }
            if read.entries >= limit || began.elapsed() >= MAX_DURATION {
                read.is_cut = true;
                return Ok(());
            }
        }
    }

    fn send(&self, request: &[u8]) -> Result<(), Failure> {
        sendto(&self.fd, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map_err(failure)?;
        Ok(())
    }

    /// Receives a datagram of the kernel; those of other processes are dropped.
    fn receive(&mut self) -> Result<usize, Failure> {
        loop {
            // With MSG_TRUNC the length is that of the datagram, even if the buffer is shorter.
            let received = recvfrom(&self.fd, &mut *self.buffer, RecvFlags::TRUNC);
            let (_, length, sender) = match received {
                Err(Errno::INTR) => continue,
                other => other.map_err(failure)?,
            };
            if length > self.buffer.len() {
                return Err(Failure::Malformed);
            }
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_some_and(|sender| sender.pid() == 0) {
                return Ok(length);
            }
        }
    }
}
