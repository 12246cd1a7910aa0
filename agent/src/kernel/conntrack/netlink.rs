//! Requests to the kernel's conntrack. These calls block while the kernel searches its table, so they belong on a thread of
//! their own.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use netcause_core::enrich::conntrack::{Failure, Tracked};
use netcause_core::node::conntrack::Table;

use crate::kernel::netlink;

use super::message::{Message, Messages, ask_for_all, ask_for_counters, ask_for_one, ask_for_size};

/// Limit on entries read in a dump, which takes about two seconds.
const MAX_ENTRIES: u64 = 1 << 20;
/// Time after which a dump is stopped.
const MAX_DURATION: Duration = Duration::from_secs(5);
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
        Errno::MSGSIZE => Failure::Malformed,
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

/// A socket to the conntrack of the network namespace of the thread that opens it.
pub(super) struct Socket {
    socket: netlink::Socket,
    sequence: u32,
}

impl Socket {
    pub(super) fn open() -> Result<Self, Failure> {
        Ok(Self { socket: netlink::Socket::open(Some(netlink::NETFILTER), 0).map_err(failure)?, sequence: 0 })
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
            for message in self.receive()? {
                match message.map_err(|_| Failure::Malformed)? {
                    Message::Connection(tracked) => return Ok(tracked),
                    Message::Malformed => return Err(Failure::Malformed),
                    Message::End(errno) if errno == Errno::NOENT.raw_os_error() => return Ok(None),
                    Message::End(errno) => return Err(failure(Errno::from_raw_os_error(errno))),
                    Message::Table(_) | Message::Cpu(_) | Message::Other => {}
                }
            }
        }
    }

    /// How full the table is, and the sum of what all CPUs have counted.
    pub(super) fn statistics(&mut self) -> Result<Table, Failure> {
        let mut table = Table::default();
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&ask_for_size(self.sequence))?;
        self.until_end(|message| match message {
            Message::Table(found) => {
                table = found;
                true
            }
            _ => false,
        })?;
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&ask_for_counters(self.sequence))?;
        self.until_end(|message| {
            if let Message::Cpu(counters) = message {
                for (sum, counter) in table.counters.iter_mut().zip(counters) {
                    *sum = sum.wrapping_add(counter);
                }
            }
            false
        })?;
        Ok(table)
    }

    /// Receives messages until the answer ends, or `take` returns true.
    fn until_end(&mut self, mut take: impl FnMut(Message) -> bool) -> Result<(), Failure> {
        loop {
            for message in self.receive()? {
                match message.map_err(|_| Failure::Malformed)? {
                    Message::End(0) => return Ok(()),
                    Message::End(errno) => return Err(failure(Errno::from_raw_os_error(errno))),
                    message if take(message) => return Ok(()),
                    _ => {}
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
            for message in self.receive()? {
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
                    Message::Table(_) | Message::Cpu(_) | Message::Other => {}
                }
            }
            if read.entries >= limit || began.elapsed() >= MAX_DURATION {
                read.is_cut = true;
                return Ok(());
            }
        }
    }

    fn send(&self, request: &[u8]) -> Result<(), Failure> {
        self.socket.send(request).map_err(failure)
    }

    /// The next messages of the kernel.
    fn receive(&mut self) -> Result<Messages<'_>, Failure> {
        Ok(Messages::new(self.socket.receive().map_err(failure)?, self.sequence))
    }
}
