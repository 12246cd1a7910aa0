//! Connections opened, failed and closed.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)   // inet_sock_set_state
//! TP_PROTO(struct sock *sk)                                                 // tcp_destroy_sock
//! ```
//!
//! These run in soft interrupts too: identity comes from the socket, never from the current task.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::flow::{ConnectFailure, ROLE_CLIENT, ROLE_SERVER, RetransmitKind};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_state::ConnectFailed;
use netcause_common::socket::SocketState;

use crate::emit::{emit, header};
use crate::flow::counters;
use crate::kernel::tcp_state::{CLOSE, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT};
use crate::kernel::{TcpSock, Typed};
use crate::socket::{client_port, flow_of, forget, infer_role, remember, state_of};

type Socket = TcpSock<Typed>;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(context: BtfTracePointContext) -> i32 {
    let (old, new): (u8, u8) = (context.arg(1), context.arg(2));
    // More than half of all changes concern nobody here (FIN_WAIT1, CLOSE_WAIT, …): they leave first.
    if new != SYN_SENT && new != ESTABLISHED && new != CLOSE && old != SYN_RECV {
        return 0;
    }
    let Some(socket) = TcpSock::from_argument(context.arg(0)) else {
        return 0;
    };
    match (old, new) {
        (_, SYN_SENT) => connecting(socket),
        (SYN_SENT, ESTABLISHED) => opened(socket, ROLE_CLIENT),
        (SYN_SENT | SYN_RECV, CLOSE) => failed(socket, old),
        // Out of SYN_RECV to anywhere but the close: with TCP Fast Open a server may go on to FIN_WAIT1 directly.
        (SYN_RECV, _) => opened(socket, ROLE_SERVER),
        (LISTEN | CLOSE, CLOSE) => {}
        (_, CLOSE) => closed(socket),
        _ => {}
    }
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy(context: BtfTracePointContext) -> i32 {
    // Not at the close: the reset that an abortive close sends comes after it, and wants to know the role.
    forget(context.arg::<*const u8>(0) as u64);
    0
}

#[inline(always)]
fn connecting(socket: Socket) {
    remember(socket.id, &beginning(socket, now(), ROLE_CLIENT));
}

#[inline(always)]
fn opened(socket: Socket, role: u8) {
    // A remembered socket connected itself, also when it came through SYN_RECV because both ends connected at once
    // (RFC 9293 §3.5).
    let (role, started_ns) = match state_of(socket.id) {
        Some(state) => (state.role(), state.started_ns()),
        None => {
            if role == ROLE_SERVER {
                // `total_retrans` of an accepted socket starts with the number of repeated SYN-ACKs, which
                // `tcp_retransmit_synack` has counted.
                remember(socket.id, &beginning(socket, 0, role));
            }
            (role, 0)
        }
    };
    let Some(counters) = counters(&flow_of(socket, role)) else {
        return;
    };
    counters.opened();
    if started_ns != 0 {
        counters.connected_after(now() - started_ns);
    }
}

#[inline(always)]
fn closed(socket: Socket) {
    let (role, uncounted) = match state_of(socket.id) {
        Some(state) => (state.role(), state.take_uncounted_retransmits(socket.total_retransmits())),
        None => (infer_role(socket), 0),
    };
    if let Some(counters) = counters(&flow_of(socket, role)) {
        counters.closed();
        counters.retransmitted(RetransmitKind::Other, uncounted);
    }
}

#[inline(always)]
fn failed(socket: Socket, old: u8) {
    let (started_ns, uncounted) = match state_of(socket.id) {
        Some(state) => (state.started_ns(), state.take_uncounted_retransmits(socket.total_retransmits())),
        // A server's socket whose handshake was never completed is nobody's connection yet.
        None if old == SYN_RECV => return,
        None => (0, 0),
    };
    let reason = failure_reason(socket);
    let flow = flow_of(socket, ROLE_CLIENT);
    if let Some(counters) = counters(&flow) {
        counters.connect_failed(reason);
        counters.retransmitted(RetransmitKind::Other, uncounted);
    }
    let header = header(ProbeId::TcpState, flow, client_port(socket, ROLE_CLIENT));
    let duration_ns = if started_ns == 0 { 0 } else { header.timestamp_ns - started_ns };
    emit(
        ProbeId::TcpState,
        &ConnectFailed {
            header,
            duration_ns,
            error: socket.error(),
            syn_retransmits: socket.total_retransmits(),
            reason: reason as u8,
            reserved: [0; 7],
        },
    );
}

/// Why a connection attempt ended. The numbers are those of `include/uapi/asm-generic/errno.h`.
#[inline(always)]
fn failure_reason(socket: Socket) -> ConnectFailure {
    let error = socket.error();
    // Without an error the application closed the socket; what the network said meanwhile is the better reason.
    let error = if error == 0 { socket.soft_error() } else { error };
    match error {
        0 if socket.local_port() == 0 => ConnectFailure::NoLocalPort,
        0 if socket.total_retransmits() == 0 => ConnectFailure::Aborted,
        // Applications mostly give up before the kernel does: a repeated SYN without an answer is a time-out.
        0 | 110 => ConnectFailure::TimedOut,
        1 | 13 => ConnectFailure::Denied,
        99 => ConnectFailure::NoLocalPort,
        104 => ConnectFailure::Reset,
        111 => ConnectFailure::Refused,
        // ENONET, EPROTO, ENOPROTOOPT, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH: what ICMP messages turn into
        // (`icmp_err_convert`, net/ipv4/icmp.c).
        64 | 71 | 92 | 100 | 101 | 112 | 113 => ConnectFailure::Unreachable,
        _ => ConnectFailure::Other,
    }
}

#[inline(always)]
fn beginning(socket: Socket, started_ns: u64, role: u8) -> SocketState {
    SocketState { started_ns, retransmits_counted: socket.total_retransmits(), role, reserved: [0; 3] }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    unsafe {
        bpf_ktime_get_ns()
    }
}
