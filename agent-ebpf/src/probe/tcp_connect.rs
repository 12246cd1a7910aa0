//! Connects that fail before a SYN is sent: there is no route, or a policy denies it.
//!
//! ```c
//! int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)       // net/ipv4/tcp_ipv4.c
//! int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)       // net/ipv6/tcp_ipv6.c
//! int tcp_v4_pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
//! int tcp_v6_pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
//! ```
//!
//! Newer kernels have a `struct sockaddr_unsized`. The last two run only where a BPF program is attached to a cgroup's connects, which
//! may deny them.
//!
//! Kernels: 5.10 on, where the end of functions can be traced (`fexit`); else by [`kprobes`], where those can be had.
//!
//! `tcp_state` does not see these: the socket never leaves the state CLOSE. What fails after SYN_SENT, it has counted.
//!
//! Programs at the cgroup's own hooks (`connect4`, `connect6`) are no way to do this. They do not see the error, and must be attached at
//! the root, where others have theirs: one that attaches without `BPF_F_ALLOW_MULTI` is refused, and one that wants to clear the hook
//! cannot detach a program of a link. Cilium has done both, and does not start then.

mod kprobes;

use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;
use netcause_common::endpoint::Address;
use netcause_common::flow::{ConnectFailure, PROTOCOL_TCP, ROLE_CLIENT};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_state::ConnectFailed;

use crate::emit::{emit, header};
use crate::flow::{counters_of, key};
use crate::kernel::{Memory, SocketAddress, TcpSock};
use crate::socket::{Tracked, state_of};

// Errors, from `include/uapi/asm-generic/errno.h`.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const EAFNOSUPPORT: i32 = 97;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

#[fexit(function = "tcp_v4_connect")]
fn tcp_connect_v4(context: FExitContext) -> i32 {
    returned(&context)
}

#[fexit(function = "tcp_v6_connect")]
fn tcp_connect_v6(context: FExitContext) -> i32 {
    returned(&context)
}

#[fexit(function = "tcp_v4_pre_connect")]
fn tcp_connect_denied_v4(context: FExitContext) -> i32 {
    policy_returned(&context)
}

#[fexit(function = "tcp_v6_pre_connect")]
fn tcp_connect_denied_v6(context: FExitContext) -> i32 {
    policy_returned(&context)
}

/// Every connection comes here.
#[inline(always)]
fn returned(context: &FExitContext) -> i32 {
    let error = -context.arg::<i32>(3);
    if error != 0
        && let Some(socket) = TcpSock::from_argument(context.arg(0))
    {
        failed(socket, context.arg(1), context.arg(2), error);
    }
    0
}

#[inline(always)]
fn policy_returned(context: &FExitContext) -> i32 {
    let error = -context.arg::<i32>(3);
    if error != 0
        && let Some(socket) = TcpSock::from_argument(context.arg(0))
    {
        denied(socket, context.arg(1), context.arg(2), error);
    }
    0
}

/// A connect has failed with this error number; the address is where the kernel has a copy of what the application passed.
#[inline(always)]
fn failed<M: Memory>(socket: TcpSock<M>, address: u64, length: i32, error: i32) {
    // A socket that did not fit into the map has no entry: if it fails after SYN_SENT, it counts here as well.
    if state_of(socket.id).is_some_and(Tracked::take_failed_in_call) {
        return;
    }
    let Some(to) = SocketAddress::of_tcp(address, length) else { return };
    // `tcp_v6_connect` calls `tcp_v4_connect` for IPv4, unless the socket is for IPv6 alone: the application's mistake.
    if to.is_mapped {
        return;
    }
    let reason = match error {
        EPERM | EACCES => ConnectFailure::Denied,
        ENETDOWN | ENETUNREACH | EHOSTUNREACH => ConnectFailure::Unreachable,
        // The application's own mistakes: a link-local address without its device, an address of another family.
        EINVAL if to.is_link_local() => return,
        EAFNOSUPPORT => return,
        // A route of type blackhole (`fib_props`, net/ipv4/fib_semantics.c).
        EINVAL => ConnectFailure::Unreachable,
        // Among these EADDRNOTAVAIL: there is no address to send from. Without a local port it fails after SYN_SENT.
        _ => ConnectFailure::Other,
    };
    count(socket, &to, error, reason);
}

/// A program at the cgroup's connects does not let it pass.
#[inline(always)]
fn denied<M: Memory>(socket: TcpSock<M>, address: u64, length: i32, error: i32) {
    // The address is too short.
    if error == EINVAL {
        return;
    }
    let Some(to) = SocketAddress::of_tcp(address, length) else { return };
    // It may set another error than EPERM (`bpf_set_retval`), as where a service has no server.
    let reason = match error {
        ENETDOWN | ENETUNREACH | EHOSTUNREACH => ConnectFailure::Unreachable,
        _ => ConnectFailure::Denied,
    };
    count(socket, &to, error, reason);
}

#[inline(always)]
fn count<M: Memory>(socket: TcpSock<M>, to: &SocketAddress, error: i32, reason: ConnectFailure) {
    // TCP has no such destinations, whatever the error: not the network's fault.
    if to.is_multicast() || to.address == Address::default() {
        return;
    }
    let flow = key(PROTOCOL_TCP, socket.local(), to.address, to.port, ROLE_CLIENT);
    if let Some(counters) = counters_of(socket, &flow) {
        counters.connect_failed(reason);
    }
    emit(
        ProbeId::TcpConnect,
        &ConnectFailed {
            header: header(ProbeId::TcpConnect, flow, socket.local_port()),
            duration_ns: 0,
            error,
            syn_retransmits: 0,
            reason: reason as u8,
            reserved: [0; 7],
        },
    );
}
