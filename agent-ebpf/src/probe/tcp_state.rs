//! Connections opened, failed and closed.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)   // inet_sock_set_state
//! TP_PROTO(struct sock *sk)                                                 // tcp_destroy_sock
//! ```
//!
//! Kernels: 5.10 on.
//!
//! These run in soft interrupts too: identity comes from the socket, never from the current task.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::flow::{
    CloseReason, ConnectFailure, Counted, FlowKey, ROLE_CLIENT, ROLE_SERVER, RetransmitKind,
};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_state::ConnectFailed;
use netcause_common::socket::{PHASE_CLOSED, PHASE_CONNECTING, PHASE_LISTENING, PHASE_OPEN, SocketState};
use netcause_common::statistics::Statistic;

use crate::emit::{emit, header};
use crate::flow::{Counters, counters, counters_of, of_socket};
use crate::kernel::tcp_state::{CLOSE, ESTABLISHED, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV, SYN_SENT};
use crate::kernel::{TcpSock, Typed};
use crate::maps::{add, count};
use crate::once::{Event, Turn, twins};
use crate::socket::{
    Tracked, accept_queue, client_port, infer_role, insert_listener, insert_or_replace, remove, state_of,
};
use crate::traffic::{is_being_swept, is_fin_acknowledged, is_left_by_sweep, settle};

type Socket = TcpSock<Typed>;

twins!("inet_sock_set_state": tcp_state, tcp_state_again => state_changed);

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy(context: BtfTracePointContext) -> i32 {
    // Not at the close: the reset of an abortive close comes after it, and needs the role.
    let pointer = context.arg::<*mut c_void>(0);
    let Some(state) = state_of(pointer as u64) else {
        return 0;
    };
    match state.phase() {
        // Both programs missed the close. Its previous state is unknown: LAST_ACK is the most likely.
        PHASE_OPEN => {
            if let Some(socket) = TcpSock::from_argument(pointer) {
                closed(socket, Some(state), LAST_ACK);
            }
        }
        // The error and the port are gone by now: no reason is better than a wrong one.
        PHASE_CONNECTING => count(Statistic::ConnectionsMissed),
        // The close left it to the sweep.
        PHASE_CLOSED if !state.is_settled() => {
            // The sweep goes on with the entry when this program, which has interrupted it, ends. What it has not read by now is
            // lost: the last microsecond.
            if !is_left_by_sweep(pointer as u64, state) {
                return 0;
            }
            if let Some(socket) = TcpSock::from_argument(pointer)
                && let Some(counters) = counters(state.flow())
            {
                settle(socket, state.role(), || state.is_fin_acknowledged(), state.counted(), counters);
            }
        }
        _ => {}
    }
    remove(pointer as u64);
    0
}

#[inline(always)]
fn state_changed(context: &BtfTracePointContext, turn: Turn) {
    let (old, new): (u8, u8) = (context.arg(1), context.arg(2));
    // More than half of all changes do not matter here (FIN_WAIT1, CLOSE_WAIT, …): return early.
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
        insert_listener(socket);
        // What it discards is counted from now on.
        let listening = SocketState { phase: PHASE_LISTENING, ..SocketState::default() };
        insert_or_replace(socket.id, state_of(socket.id), &listening);
        return;
    }
    if new == CLOSE && old == CLOSE {
        return;
    }
    let state = state_of(socket.id);
    match (old, new) {
        (LISTEN, CLOSE) => stopped_listening(socket, state),
        (_, SYN_SENT) => connecting(socket, state),
        (SYN_SENT, ESTABLISHED) => opened(socket, state, ROLE_CLIENT, turn),
        (SYN_SENT, CLOSE) => failed(socket, state),
        // A server's socket whose handshake was not completed is not a connection yet.
        (SYN_RECV, CLOSE) if state.is_none() => {}
        (SYN_RECV, CLOSE) => failed(socket, state),
        // Out of SYN_RECV to anywhere but the close: with TCP Fast Open a server may go on to FIN_WAIT1 directly.
        (SYN_RECV, _) => opened(socket, state, ROLE_SERVER, turn),
        (old, CLOSE) => closed(socket, state, old),
        _ => {}
    }
}

/// Counts what the listening socket has discarded since the last sweep. The twin finds that nothing is left to count.
#[inline(always)]
fn stopped_listening(socket: Socket, state: Option<Tracked>) {
    let Some(state) = state else { return };
    let discards = state.take_uncounted_discards(socket.discards());
    if discards != 0
        && let Some(queue) = accept_queue(socket)
    {
        // SAFETY: the pointer comes from a map lookup, checked for NULL; only an address is taken.
        #[expect(unsafe_code, reason = "map value")]
        let counter = unsafe { &raw mut (*queue).discards };
        add(counter, discards.into());
    }
}

#[inline(always)]
fn connecting(socket: Socket, state: Option<Tracked>) {
    if state.is_none_or(|state| state.phase() != PHASE_CONNECTING) {
        begin(socket, state, of_socket(socket, ROLE_CLIENT), now(), PHASE_CONNECTING);
    }
}

#[inline(always)]
fn opened(socket: Socket, state: Option<Tracked>, role: u8, turn: Turn) {
    // A socket in phase CONNECTING is a client's, even when it comes from SYN_RECV because both ends connected at the same
    // time (RFC 9293 §3.5).
    if let Some(state) = state
        && state.phase() == PHASE_CONNECTING
    {
        state.enter(PHASE_OPEN);
        if let Some(counters) = counters_of(socket, state.flow()) {
            counters.opened();
            counters.one_more_open();
            if state.started_ns() != 0 {
                counters.connected_after(now() - state.started_ns());
            }
        }
        return;
    }
    if let Some(state) = state
        && state.phase() == PHASE_OPEN
    {
        // The twin finds what the first program did. The first finds an earlier socket whose close both programs missed.
        if turn == Turn::Again {
            return;
        }
        count(Statistic::ConnectionsMissed);
        if let Some(counters) = counters(state.flow()) {
            counters.closed(CloseReason::Other);
            counters.one_less_open();
        }
    } else if role == ROLE_CLIENT {
        count(Statistic::ConnectionsMissed);
    }
    let flow = of_socket(socket, role);
    let is_tracked = begin(socket, state, flow, 0, PHASE_OPEN);
    let Some(counters) = counters_of(socket, &flow) else {
        return;
    };
    counters.opened();
    if is_tracked {
        counters.one_more_open();
    }
}

/// Inserts a socket, in place of an earlier one; false when the map is full.
#[inline(always)]
fn begin(socket: Socket, earlier: Option<Tracked>, flow: FlowKey, started_ns: u64, phase: u8) -> bool {
    // `total_retrans` of an accepted socket starts with the number of retransmitted SYN-ACKs, which `tcp_retransmit_synack`
    // has counted.
    let counted = Counted { retransmits: socket.total_retransmits(), ..Counted::default() };
    insert_or_replace(
        socket.id,
        earlier,
        &SocketState {
            started_ns,
            counted,
            flow,
            phase,
            errors_queued: if phase == PHASE_CONNECTING { socket.queued_errors() } else { 0 },
            ..SocketState::default()
        },
    )
}

#[inline(always)]
fn closed(socket: Socket, state: Option<Tracked>, old: u8) {
    let Some(state) = state else {
        // From before the agent started and without a file, or the socket map was full: its totals count in full.
        let role = infer_role(socket);
        if let Some(counters) = counters_of(socket, &of_socket(socket, role)) {
            let fin_acknowledged = is_fin_acknowledged(socket, old);
            counters.closed(close_reason(socket, old, fin_acknowledged));
            let mut nothing = Counted::default();
            settle(socket, role, || fin_acknowledged, &raw mut nothing, counters);
        }
        return;
    };
    let phase = state.phase();
    let uncounted = state.take_uncounted_retransmits(socket.total_retransmits());
    if phase == PHASE_CLOSED {
        return;
    }
    state.enter(PHASE_CLOSED);
    let Some(counters) = counters(state.flow()) else {
        return;
    };
    if phase == PHASE_OPEN {
        counters.one_less_open();
    } else {
        // Both programs missed the end of the handshake.
        count(Statistic::ConnectionsMissed);
        counters.opened();
    }
    let fin_acknowledged = is_fin_acknowledged(socket, old);
    counters.closed(close_reason(socket, old, fin_acknowledged));
    counters.retransmitted(RetransmitKind::Other, uncounted);
    settle_at_close(socket, state, fin_acknowledged, counters);
}

/// How a connection ended that leaves this state. The numbers are those of `include/uapi/asm-generic/errno.h`.
#[inline(always)]
fn close_reason(socket: Socket, old: u8, fin_acknowledged: bool) -> CloseReason {
    let error = socket.error();
    // EPIPE, ECONNRESET: `tcp_reset`, net/ipv4/tcp_input.c. If it was none, the reset that is sent next corrects that.
    if error == 32 || error == 104 {
        return CloseReason::ResetReceived;
    }
    // A socket goes to TIME_WAIT when the peer's FIN has come, or when the application no longer waits for it; a reset of the
    // application comes while the file still holds the socket (`__tcp_close`, net/ipv4/tcp.c).
    let waits = old == FIN_WAIT2 && !socket.is_fin_received() && socket.has_file();
    if fin_acknowledged && !waits {
        return CloseReason::Fin;
    }
    match error {
        0 => CloseReason::ResetSent,
        // ECONNABORTED: `tcp_abort`, net/ipv4/tcp.c.
        103 => CloseReason::Other,
        // `tcp_write_err`, net/ipv4/tcp_timer.c. Idle connections have nothing unacknowledged; of others the window is probed.
        _ if socket.has_only_probed() && socket.is_all_acknowledged() => CloseReason::KeepAlive,
        _ => CloseReason::TimedOut,
    }
}

/// Adds the final totals, unless the sweep is at this socket; see [`crate::traffic::sweeping`].
#[inline(always)]
fn settle_at_close(socket: Socket, state: Tracked, fin_acknowledged: bool, counters: Counters) {
    state.set_fin_acknowledged(fin_acknowledged);
    state.set_settled(true);
    if is_being_swept(socket.id, state) {
        state.set_settled(false);
        return;
    }
    settle(socket, state.role(), || fin_acknowledged, state.counted(), counters);
}

#[inline(always)]
fn failed(socket: Socket, state: Option<Tracked>) {
    let (started_ns, uncounted, errors_queued) = match state {
        Some(state) if state.phase() == PHASE_CLOSED => return,
        Some(state) => {
            state.enter(PHASE_CLOSED);
            let uncounted = state.take_uncounted_retransmits(socket.total_retransmits());
            state.set_failed_in_call(socket.is_unconnected());
            (state.started_ns(), uncounted, state.errors_queued())
        }
        None => (0, 0, 0),
    };
    let error = error(socket, errors_queued);
    let reason = failure_reason(socket, error);
    let flow = of_socket(socket, ROLE_CLIENT);
    if let Some(counters) = counters_of(socket, &flow) {
        counters.connect_failed(reason);
        counters.retransmitted(RetransmitKind::Other, uncounted);
        if let Some(state) = state {
            settle_at_close(socket, state, false, counters);
        }
    }
    let header = header(ProbeId::TcpState, flow, client_port(socket, ROLE_CLIENT));
    let duration_ns = if started_ns == 0 { 0 } else { header.timestamp_ns - started_ns };
    emit(
        ProbeId::TcpState,
        &ConnectFailed {
            header,
            duration_ns,
            error,
            syn_retransmits: socket.total_retransmits(),
            reason: reason as u8,
            reserved: [0; 7],
        },
    );
}

/// The error number with which a connection attempt ended; 0 when the application closed the socket, and when connect(2)
/// itself failed.
#[inline(always)]
fn error(socket: Socket, errors_queued: u8) -> i32 {
    match (socket.error(), socket.soft_error()) {
        // getsockopt(SO_ERROR) has taken the error of an ICMP message. The message is still queued: IPv4 queues it whether or
        // not the application asked for that (`tcp_v4_err`, net/ipv4/tcp_ipv4.c), which also is what woke up poll(2).
        (0, 0) if socket.queued_errors() != errors_queued => socket.newest_queued_error(),
        // Without an error the application closed the socket; a soft error before that is the better reason.
        (0, soft) => soft,
        (error, _) => error,
    }
}

/// Why a connection attempt ended. The numbers are those of `include/uapi/asm-generic/errno.h`.
#[inline(always)]
fn failure_reason(socket: Socket, error: i32) -> ConnectFailure {
    match error {
        // connect(2) sets SYN_SENT before it looks for a free combination of addresses and ports (`tcp_v4_connect`,
        // net/ipv4/tcp_ipv4.c), and returns EADDRNOTAVAIL when there is none.
        0 if socket.sent_segments() == 0 && socket.is_unconnected() => ConnectFailure::NoLocalPort,
        0 if socket.total_retransmits() == 0 => ConnectFailure::Aborted,
        // Applications mostly give up before the kernel does: a SYN retransmission without an answer is a timeout.
        0 | 110 => ConnectFailure::TimedOut,
        1 | 13 => ConnectFailure::Denied,
        99 => ConnectFailure::NoLocalPort,
        104 => ConnectFailure::Reset,
        111 => ConnectFailure::Refused,
        // ENONET, EPROTO, ENOPROTOOPT, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH: errors from ICMP
        // messages (`icmp_err_convert`, net/ipv4/icmp.c).
        64 | 71 | 92 | 100 | 101 | 112 | 113 => ConnectFailure::Unreachable,
        _ => ConnectFailure::Other,
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    unsafe {
        bpf_ktime_get_ns()
    }
}
