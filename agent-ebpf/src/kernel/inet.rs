//! Sockets that a packet may belong to: of any family, and not always whole.

use core::ffi::c_void;

use netcause_common::endpoint::Address;

use super::layout::layout;
use super::memory::{Memory, Typed};
use super::packet::SkBuff;
use super::sock::{self, SockCommon};
use super::tcp::TcpSock;
use super::tcp::state::{NEW_SYN_RECV, TIME_WAIT};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;

/// A whole stream or datagram socket of IPv4 or IPv6.
#[derive(Clone, Copy)]
pub struct InetSock(Typed);

impl InetSock {
    /// From a `struct sock *` argument. Requests and time-wait sockets, which are not whole, are left out (`sk_fullsock`,
    /// include/net/sock.h), and so are raw sockets: the kernel answers in the name of others with those.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        Self::from(Typed(pointer))
    }

    /// The socket that sent a packet, or that was found to be its receiver early.
    #[inline(always)]
    pub fn of(packet: SkBuff) -> Option<Self> {
        Self::from(packet.0.follow(layout!(skb_sk)))
    }

    #[inline(always)]
    fn from(socket: Typed) -> Option<Self> {
        if socket.0.is_null() {
            return None;
        }
        let common = SockCommon(socket);
        let is_whole = matches!(socket.read::<u16>(layout!(skc_family)), AF_INET | AF_INET6)
            && !matches!(common.state(), TIME_WAIT | NEW_SYN_RECV)
            && matches!(socket.read::<u16>(layout!(sk_type)), SOCK_STREAM | SOCK_DGRAM);
        is_whole.then_some(Self(socket))
    }

    /// Its local end: the cgroup id, or the network namespace when it has no cgroup.
    #[inline(always)]
    pub fn local(self) -> u64 {
        sock::local(self.0)
    }

    /// Inode number of its network namespace.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        sock::namespace(self.0)
    }

    /// Of a TCP socket: whether it has sent a segment that begins at this sequence number before.
    #[inline(always)]
    pub fn has_sent(self, start: u32) -> bool {
        TcpSock::from_address(self.0.0 as u64).is_some_and(|socket| socket.has_sent(start))
    }

    /// Local port, host order; 0 once the socket is unhashed.
    #[inline(always)]
    pub fn port(self) -> u16 {
        SockCommon(self.0).local_port_while_hashed()
    }

    /// The address that it is connected to.
    #[inline(always)]
    pub fn peer(self) -> Address {
        SockCommon(self.0).remote_address()
    }
}
