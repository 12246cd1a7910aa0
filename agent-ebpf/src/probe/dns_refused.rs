//! DNS queries that the network refuses: ICMP says that nobody listens at the port, or that the way there is rejected.
//!
//! ```c
//! TP_PROTO(const struct sock *sk)     // inet_sk_error_report
//! ```
//!
//! Kernels: 5.14 on. The client closes its socket at once, as one that has its answer from another server does. Sockets that
//! are not connected are left out by the kernel itself: their programs wait for the timeout (udp(7), "Error handling").

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::dns;
use crate::kernel::UdpSock;
use crate::settings::is_dns_port;

#[btf_tracepoint(function = "inet_sk_error_report")]
fn dns_refused(context: BtfTracePointContext) -> i32 {
    let pointer: *const c_void = context.arg(0);
    if let Some(socket) = UdpSock::from_any(pointer)
        && is_dns_port(socket.common().remote_port().to_be())
    {
        // SAFETY: the pointer is the tracepoint's own argument, a socket, as the helper wants it.
        #[expect(unsafe_code, reason = "call of a kernel helper")]
        let cookie = unsafe { bpf_get_socket_cookie(pointer.cast_mut()) };
        dns::refused(cookie);
    }
    0
}
