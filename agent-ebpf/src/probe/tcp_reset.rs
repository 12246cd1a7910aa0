//! Resets, sent and received.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb)                                  // tcp_send_reset
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb, const enum sk_rst_reason reason) // newer
//! TP_PROTO(struct sock *sk)                                                                   // tcp_receive_reset
//! ```
//!
//! Kernels: 5.10 on; resets for a closed port, which have no socket, are reported on 6.12 and later, not on 6.1 and 5.10.
//!
//! `sk` of a sent reset is NULL for a closed port, or not a full socket (time-wait, request); older kernels do not fire
//! then. `skb` is the segment that the reset answers, or NULL when the application caused the reset.

use core::ffi::c_void;

use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::endpoint::Address;
use netcause_common::flow::{CloseReason, FlowKey, ROLE_SERVER, ResetDirection, ResetReason};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;

use crate::emit::{emit, header};
use crate::flow::{self, counters_of};
use crate::kernel::tcp_state::{CLOSE, FIN_WAIT1, FIN_WAIT2, LISTEN, TIME_WAIT};
use crate::kernel::{SkBuff, SockCommon, TcpSock, Typed};
use crate::once::{Event, Turn, twins};
use crate::socket::{client_port, infer_role, state_of};
use crate::stray::{Counted, of_segment};

twins!("tcp_send_reset": tcp_reset_sent, tcp_reset_sent_again => sent);
twins!("tcp_receive_reset": tcp_reset_received, tcp_reset_received_again => received);

#[inline(always)]
fn sent(context: &BtfTracePointContext, turn: Turn) {
    let (socket, segment) = (context.arg::<*mut c_void>(0), context.arg::<*const c_void>(1));
    let subject = if socket.is_null() { segment } else { socket.cast_const() };
    if !turn.has_to_work(subject, Event::ResetSent) {
        return;
    }
    let mut listener = 0;
    let mut reason_without = ResetReason::NoSocket;
    if let Some(socket) = TcpSock::from_argument(socket) {
        let state = socket.common().state();
        if state != LISTEN {
            let flow = flow_of(socket);
            let Some(counters) = counters_of(socket, &flow) else {
                return;
            };
            // A connection that has just ended and answers a segment: data came that nobody wants any more, and ended it.
            if state == CLOSE && !segment.is_null() {
                if socket.error() == 0 {
                    counters.closed_by_reset(CloseReason::Fin);
                } else {
                    // No reset came (see `received`).
                    counters.take_back_reset(ResetDirection::Received);
                    counters.closed_by_reset(CloseReason::ResetReceived);
                }
            }
            counters.reset_sent(reason(socket, state, !segment.is_null()));
            return report(flow, client_port(socket, flow.role), ResetDirection::Sent, state);
        }
        listener = socket.local();
        reason_without = ResetReason::Other;
    } else if let Some(socket) = SockCommon::from_argument(socket) {
        // The socket of a connection that the application has closed waits for the peer's FIN as a time-wait socket.
        let is_closed = socket.state() == TIME_WAIT;
        reason_without = if is_closed { ResetReason::DataAfterClose } else { ResetReason::Other };
    }
    if let Some(buffer) = SkBuff::from_argument(segment)
        && let Some(segment) = buffer.segment()
        && let Some(Counted { flow, counters }) = of_segment(&segment, buffer.namespace(), listener)
    {
        counters.reset_sent(reason_without);
        // Details of what may be a flood would take the place of others.
        if flow.remote != Address::UNKNOWN {
            let client_port =
                if flow.role == ROLE_SERVER { segment.source_port } else { segment.destination_port };
            report(flow, client_port, ResetDirection::Sent, if listener == 0 { 0 } else { LISTEN });
        }
    }
}

/// Why this socket sends a reset, as an answer to a segment or by itself. The kernel's own reason, which newer ones pass as the third
/// argument, is the same for several of these, and not for all of one: it passes `SK_RST_REASON_TCP_STATE` for a lingering of 0.
#[inline(always)]
fn reason(socket: TcpSock<Typed>, state: u8, answers: bool) -> ResetReason {
    match state {
        CLOSE if answers => ResetReason::DataAfterClose,
        // `__tcp_close` (net/ipv4/tcp.c) shuts the socket down and throws away what is unread, but does not count it as read.
        CLOSE if socket.is_receive_shut_down() && socket.is_unread() => ResetReason::UnreadData,
        CLOSE => ResetReason::Aborted,
        // `tcp_keepalive_timer`, net/ipv4/tcp_timer.c.
        _ if !answers && socket.has_only_probed() => ResetReason::TimedOut,
        _ => ResetReason::Other,
    }
}

#[inline(always)]
fn received(context: &BtfTracePointContext, turn: Turn) {
    let socket = context.arg::<*mut c_void>(0);
    if !turn.has_to_work(socket, Event::ResetReceived) {
        return;
    }
    let Some(socket) = TcpSock::from_argument(socket) else {
        return;
    };
    let (flow, state) = (flow_of(socket), socket.common().state());
    if let Some(counters) = counters_of(socket, &flow) {
        counters.reset_received();
    }
    // `tcp_reset` also ends a connection when data comes that nobody can read any more (`tcp_rcv_state_process`,
    // net/ipv4/tcp_input.c); then the kernel sends a reset next, and the count is taken back.
    let may_be_data = matches!(state, FIN_WAIT1 | FIN_WAIT2) && socket.is_receive_shut_down();
    if !may_be_data {
        report(flow, client_port(socket, flow.role), ResetDirection::Received, state);
    }
}

#[inline(always)]
fn flow_of(socket: TcpSock<Typed>) -> FlowKey {
    match state_of(socket.id) {
        Some(state) => *state.flow(),
        None => flow::of_socket(socket, infer_role(socket)),
    }
}

#[inline(always)]
fn report(flow: FlowKey, client_port: u16, direction: ResetDirection, state: u8) {
    emit(
        ProbeId::TcpReset,
        &Reset {
            header: header(ProbeId::TcpReset, flow, client_port),
            direction: direction as u8,
            tcp_state: state,
            reserved: [0; 6],
        },
    );
}
