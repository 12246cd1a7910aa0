//! Netlink (RFC 3549): a socket to the kernel, and its messages.
//!
//! # Why no netlink crate
//!
//! `netlink-packet-route` 0.34 with `netlink-packet-core` 0.9 has every message that is read of links, queueing disciplines
//! and neighbours. It was weighed for `sources/node` and left out: 4 packages and 31 500 lines, which take 27 s to compile,
//! for a dozen attributes; it decodes all attributes of a message or none, so one that it does not know how to read (an
//! interface alias that is no UTF-8, options of a queueing discipline of a newer kernel) loses the counters of that device,
//! and each message becomes some sixty owned values, where a node has hundreds of devices every five seconds. The socket
//! would stay ours: its buffer, timeout and check for truncated messages. Those for conntrack: `conntrack/message.rs`.

pub mod attributes;

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

pub use rustix::net::netlink::NETFILTER;

use attributes::Malformed;

/// Receive timeout; the kernel answers at once or never.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the receive buffer: small, because the kernel handles no packet on that CPU while it fills the buffer; large
/// enough for any one message, and for the first part of a dump, before the kernel knows our size: 8 KiB (NLMSG_GOODSIZE).
const BUFFER: usize = 16 * 1024;
/// Bytes of memory for notifications that wait: those of a thousand.
const NOTIFICATIONS: usize = 1 << 20;
/// `struct nlmsghdr`: length, type, flags, sequence number, port.
pub const HEADER: usize = 16;

/// Messages that any protocol has.
pub const NLMSG_ERROR: u16 = 2;
/// The end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// Data was lost.
pub const NLMSG_OVERRUN: u16 = 4;
/// Every request has it.
pub const NLM_F_REQUEST: u16 = 0x1;
/// All objects, not one.
pub const NLM_F_DUMP: u16 = 0x300;

/// A socket to the kernel, in the network namespace of the thread that opens it.
pub struct Socket {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Socket {
    /// Opens one that gets the notifications of these groups: bit 0 is that of group 1. Without a protocol it is rtnetlink,
    /// NETLINK_ROUTE being 0.
    pub fn open(protocol: Option<Protocol>, groups: u32) -> Result<Self, Errno> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(TIMEOUT))?;
        if groups != 0 {
            // As many as the kernel grants: what does not fit is lost.
            let _ = set_socket_recv_buffer_size(&fd, NOTIFICATIONS);
        }
        Ok(Self { fd, buffer: vec![0; BUFFER].into_boxed_slice() })
    }

    /// Sends a request.
    pub fn send(&self, request: &[u8]) -> Result<(), Errno> {
        sendto(&self.fd, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map(drop)
    }

    /// Receives a datagram of the kernel; those of other processes are dropped. EMSGSIZE if it is longer than the buffer.
    pub fn receive(&mut self) -> Result<&[u8], Errno> {
        self.receive_with(RecvFlags::empty())
    }

    /// As [`Self::receive`]; EAGAIN if none waits, ENOBUFS if some were lost.
    pub fn receive_waiting(&mut self) -> Result<&[u8], Errno> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    fn receive_with(&mut self, flags: RecvFlags) -> Result<&[u8], Errno> {
        loop {
            // With MSG_TRUNC the length is that of the datagram, even if the buffer is shorter.
            let received = recvfrom(&self.fd, &mut *self.buffer, flags | RecvFlags::TRUNC);
            let (_, length, sender) = match received {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_some_and(|sender| sender.pid() == 0) {
                return self.buffer.get(..length).ok_or(Errno::MSGSIZE);
            }
        }
    }
}

/// A request: its header, and what follows it.
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// A message, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its type.
    pub kind: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of one datagram. Ends with an error where the bytes are no messages.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Raw<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_err() {
            self.0 = &[];
        }
        Some(message)
    }
}

impl<'a> Messages<'a> {
    fn read(&mut self) -> Result<Raw<'a>, Malformed> {
        let header: [u8; HEADER] = *self.0.first_chunk().ok_or(Malformed)?;
        let [l0, l1, l2, l3, t0, t1, _, _, s0, s1, s2, s3, ..] = header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(|_| Malformed)?;
        let body = self.0.get(HEADER..length).ok_or(Malformed)?;
        // The last one may lack its padding.
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let (kind, sequence) = (u16::from_ne_bytes([t0, t1]), u32::from_ne_bytes([s0, s1, s2, s3]));
        Ok(Raw { kind, sequence, body })
    }
}

/// The error number of NLMSG_ERROR and NLMSG_DONE, which the kernel sends negated.
pub fn errno(body: &[u8]) -> Result<i32, Malformed> {
    let number = i32::from_ne_bytes(*body.first_chunk().ok_or(Malformed)?);
    Ok(number.saturating_neg())
}
