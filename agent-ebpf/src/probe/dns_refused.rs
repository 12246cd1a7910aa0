//! ICMP errors of UDP sockets, and DNS queries that the network refuses: ICMP says that nobody listens at the port, or that the
//! way there is rejected.
//!
//! ```c
//! TP_PROTO(const struct sock *sk)                      // inet_sk_error_report
//! static void sock_def_error_report(struct sock *sk)   // net/core/sock.c
//! ```
//!
//! Kernels: 5.14 on; before, at the beginning of the function, where the kernel can be traced there. The client closes its socket at
//! once, as one that has its answer from another server does. Sockets that are not connected are left out by the kernel itself:
//! their programs wait for the timeout (udp(7), "Error handling").

use core::ffi::c_void;

use aya_ebpf::macros::{btf_tracepoint, fentry};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use netcause_common::flow::{IcmpError, PROTOCOL_UDP};

use crate::dns;
use crate::emit::Unseen;
use crate::flow::{key, udp_counters};
use crate::kernel::UdpSock;
use crate::settings::is_dns_port;
use crate::udp::{role, service_port};

#[btf_tracepoint(function = "inet_sk_error_report")]
fn dns_refused(context: BtfTracePointContext) -> i32 {
    reported(context.arg(0));
    0
}

#[fentry(function = "sock_def_error_report")]
fn dns_refused_older(context: FEntryContext) -> i32 {
    reported(context.arg(0));
    0
}

/// The kernel reports an error to a socket.
#[inline(always)]
fn reported(pointer: *const c_void) {
    let Some(socket) = UdpSock::from_any(pointer) else { return };
    let port = socket.common().remote_port();
    if is_dns_port(port.to_be()) {
        let cookie = socket.cookie();
        // One without has asked nothing.
        if cookie != 0 {
            dns::refused(cookie);
        }
    } else if port != 0 {
        count(socket, port);
    }
}

/// Counts an error of a connected socket. Others get none, unless they ask for the queue of errors.
#[inline(always)]
fn count(socket: UdpSock, port: u16) {
    let error = socket.reported_error();
    // ENOMSG: a timestamp of something sent is in the queue.
    if error == 0 || error == 42 {
        return;
    }
    let (local, own) = (socket.local(), socket.common().local_port_while_hashed());
    let role = role::of_connected(local, own, port);
    let remote = socket.common().remote_address();
    let flow = key(PROTOCOL_UDP, local, remote, service_port(role, own, port), role);
    if let Some(counters) = udp_counters(&flow, Unseen) {
        counters.icmp_error(IcmpError::of(error));
    }
}
