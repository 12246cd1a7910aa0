//! Connections opened, failed and closed.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)   // inet_sock_set_state
//! TP_PROTO(struct sock *sk)                                                 // tcp_destroy_sock
//! ```
//!
//! These run in soft interrupts too: identity comes from the socket, never from the current task.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::flow::{ConnectFailure, ROLE_CLIENT, ROLE_SERVER, RetransmitKind};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_state::ConnectFailed;
use netcause_common::socket::{PHASE_CLOSED, PHASE_CONNECTING, PHASE_OPEN, SocketState};
use netcause_common::statistics::Statistic;

use crate::emit::{emit, header};
use crate::flow::counters;
use crate::kernel::tcp_state::{CLOSE, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT};
use crate::kernel::{TcpSock, Typed};
use crate::maps::count;
use crate::once::{Event, Turn};
use crate::socket::{
    Remembered, client_port, flow_of, forget, infer_role, insert, listens, remember, state_of,
};

type Socket = TcpSock<Typed>;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(context: BtfTracePointContext) -> i32 {
    state_changed(&context, Turn::First);
    0
}

/// See [`crate::once`].
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state_again(context: BtfTracePointContext) -> i32 {
    state_changed(&context, Turn::Again);
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy(context: BtfTracePointContext) -> i32 {
    // Not at the close: the reset that an abortive close sends comes after it, and wants to know the role.
    let pointer = context.arg::<*mut c_void>(0);
    let Some(state) = state_of(pointer as u64) else {
        return 0;
    };
    // Both programs missed the close.
    match state.phase() {
        PHASE_OPEN => {
            if let Some(socket) = TcpSock::from_argument(pointer) {
                closed(socket, Some(state));
            }
        }
        // The error and the port are gone by now: saying nothing is better than a wrong reason.
        PHASE_CONNECTING => count(Statistic::ConnectionsMissed),
        _ => {}
    }
    forget(pointer as u64);
    0
}

#[inline(always)]
fn state_changed(context: &BtfTracePointContext, turn: Turn) {
    let (old, new): (u8, u8) = (context.arg(1), context.arg(2));
    // More than half of all changes concern nobody here (FIN_WAIT1, CLOSE_WAIT, …): they leave first.
    if new != SYN_SENT && new != ESTABLISHED && new != CLOSE && new != LISTEN && old != SYN_RECV {
        return;
    }
    let pointer = context.arg::<*mut c_void>(0);
    if !turn.has_to_work(pointer, Event::State(new)) {
        return;
    }
    let Some(socket) = TcpSock::from_argument(pointer) else {
        return;
    };
    if new == LISTEN {
        return listens(socket);
    }
    if new == CLOSE && (old == LISTEN || old == CLOSE) {
        return;
    }
    let state = state_of(socket.id);
    match (old, new) {
        (_, SYN_SENT) => connecting(socket, state),
        (SYN_SENT, ESTABLISHED) => opened(socket, state, ROLE_CLIENT),
        (SYN_SENT, CLOSE) => failed(socket, state),
        // A server's socket whose handshake was never completed is nobody's connection yet.
        (SYN_RECV, CLOSE) if state.is_none() => {}
        (SYN_RECV, CLOSE) => failed(socket, state),
        // Out of SYN_RECV to anywhere but the close: with TCP Fast Open a server may go on to FIN_WAIT1 directly.
        (SYN_RECV, _) => opened(socket, state, ROLE_SERVER),
        (_, CLOSE) => closed(socket, state),
        _ => {}
    }
}

#[inline(always)]
fn connecting(socket: Socket, state: Option<Remembered>) {
    if state.is_none_or(|state| state.phase() != PHASE_CONNECTING) {
        remember(socket.id, beginning(socket, now(), ROLE_CLIENT, PHASE_CONNECTING));
    }
}

#[inline(always)]
fn opened(socket: Socket, state: Option<Remembered>, role: u8) {
    let (role, started_ns) = match state {
        // A remembered socket connected itself, also when it came through SYN_RECV because both ends connected at once
        // (RFC 9293 §3.5).
        Some(state) if state.phase() == PHASE_CONNECTING => {
            state.enter(PHASE_OPEN);
            (state.role(), state.started_ns())
        }
        Some(state) if state.phase() == PHASE_OPEN => return,
        // `total_retrans` of an accepted socket starts with the number of repeated SYN-ACKs, which
        // `tcp_retransmit_synack` has counted.
        Some(state) => {
            state.replace(beginning(socket, 0, role, PHASE_OPEN));
            (role, 0)
        }
        None => {
            if role == ROLE_CLIENT {
                count(Statistic::ConnectionsMissed);
            }
            insert(socket.id, beginning(socket, 0, role, PHASE_OPEN));
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
fn closed(socket: Socket, state: Option<Remembered>) {
    let (role, phase, uncounted) = match state {
        Some(state) => {
            let uncounted = state.take_uncounted_retransmits(socket.total_retransmits());
            (state.role(), state.phase(), uncounted)
        }
        None => (infer_role(socket), PHASE_OPEN, 0),
    };
    if phase == PHASE_CLOSED {
        return;
    }
    if let Some(state) = state {
        state.enter(PHASE_CLOSED);
    }
    if let Some(counters) = counters(&flow_of(socket, role)) {
        // Both programs missed that it was established.
        if phase == PHASE_CONNECTING {
            count(Statistic::ConnectionsMissed);
            counters.opened();
        }
        counters.closed();
        counters.retransmitted(RetransmitKind::Other, uncounted);
    }
}

#[inline(always)]
fn failed(socket: Socket, state: Option<Remembered>) {
    let (started_ns, uncounted) = match state {
        Some(state) if state.phase() == PHASE_CLOSED => return,
        Some(state) => {
            state.enter(PHASE_CLOSED);
            (state.started_ns(), state.take_uncounted_retransmits(socket.total_retransmits()))
        }
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
fn beginning(socket: Socket, started_ns: u64, role: u8, phase: u8) -> SocketState {
    SocketState { started_ns, retransmits_counted: socket.total_retransmits(), role, phase, reserved: [0; 2] }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    unsafe {
        bpf_ktime_get_ns()
    }
}
