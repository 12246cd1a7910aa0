//! MPTCP sockets (RFC 8684), whose traffic and accept queue are those of TCP sockets without a file: their subflows.
//!
//! A socket that was opened for MPTCP has a first subflow, also when it listens, and when the peer speaks TCP only. That one
//! lives as long as the MPTCP socket (`__mptcp_close_ssk`, net/mptcp/protocol.c). Further subflows can be freed while they are
//! read: they are found in the socket map.

use core::ffi::c_void;

use netcause_common::layout::MISSING;

use super::layout::layout;
use super::memory::{Memory, Typed, Untyped};
use super::tcp::TcpSock;

/// `IPPROTO_MPTCP`, include/uapi/linux/in.h.
const IPPROTO_MPTCP: u16 = 262;

impl TcpSock<Untyped> {
    /// The first subflow of a `struct sock *`; `None` when it is not an MPTCP socket.
    #[inline(always)]
    pub fn from_mptcp(socket: *const c_void) -> Option<Self> {
        if layout!(mptcp_first) == MISSING || Typed(socket).read::<u16>(layout!(sk_protocol)) != IPPROTO_MPTCP
        {
            return None;
        }
        Self::first_subflow(Untyped(socket as u64))
    }

    /// As [`Self::from_mptcp`], by the address of a `struct sock`, which may be 0.
    #[inline(always)]
    pub fn from_mptcp_address(socket: u64) -> Option<Self> {
        let memory = Untyped(socket);
        if layout!(mptcp_first) == MISSING
            || socket == 0
            || memory.read::<u16>(layout!(sk_protocol)) != IPPROTO_MPTCP
        {
            return None;
        }
        Self::first_subflow(memory)
    }

    #[inline(always)]
    fn first_subflow(socket: Untyped) -> Option<Self> {
        Self::from_address(socket.read(layout!(mptcp_first)))
    }
}
