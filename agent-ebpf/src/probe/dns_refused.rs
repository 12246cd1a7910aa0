//! DNS queries that the network refuses: ICMP says that nobody listens at the port, or that the way there is rejected.
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

use crate::dns;
use crate::kernel::UdpSock;
use crate::settings::is_dns_port;

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
    if let Some(socket) = UdpSock::from_any(pointer)
        && is_dns_port(socket.common().remote_port().to_be())
    {
        let cookie = socket.cookie();
        // One without has asked nothing.
        if cookie != 0 {
            dns::refused(cookie);
        }
    }
}
