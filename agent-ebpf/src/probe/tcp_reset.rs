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
use netcause_common::flow::{CloseReason, FlowKey, ROLE_SERVER, ResetDirection};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;

use crate::emit::{emit, header};
use crate::flow::{self, counters_of};
use crate::kernel::tcp_state::{CLOSE, FIN_WAIT1, FIN_WAIT2, LISTEN};
use crate::kernel::{SkBuff, TcpSock, Typed};
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
            counters.reset(ResetDirection::Sent);
            return report(flow, client_port(socket, flow.role), ResetDirection::Sent, state);
        }
        listener = socket.local();
    }
    if let Some(buffer) = SkBuff::from_argument(segment)
        && let Some(segment) = buffer.segment()
        && let Some(Counted { flow, counters }) = of_segment(&segment, buffer.namespace(), listener)
    {
        counters.reset(ResetDirection::Sent);
        // Details of what may be a flood would take the place of others.
        if flow.remote != Address::UNKNOWN {
            let client_port =
                if flow.role == ROLE_SERVER { segment.source_port } else { segment.destination_port };
            report(flow, client_port, ResetDirection::Sent, if listener == 0 { 0 } else { LISTEN });
        }
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
        counters.reset(ResetDirection::Received);
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
