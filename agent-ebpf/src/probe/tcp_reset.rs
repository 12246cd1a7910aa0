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
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_SERVER, ResetDirection};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;

use crate::emit::{emit, header};
use crate::flow;
use crate::kernel::tcp_state::LISTEN;
use crate::kernel::{SkBuff, TcpSock, Typed};
use crate::once::{Event, Turn, twins};
use crate::socket::{client_port, infer_role, state_of};

twins!("tcp_send_reset": tcp_reset_sent, tcp_reset_sent_again => sent);
twins!("tcp_receive_reset": tcp_reset_received, tcp_reset_received_again => received);

#[inline(always)]
fn sent(context: &BtfTracePointContext, turn: Turn) {
    let (socket, segment) = (context.arg::<*mut c_void>(0), context.arg::<*const c_void>(1));
    let subject = if socket.is_null() { segment } else { socket.cast_const() };
    if !turn.has_to_work(subject, Event::ResetSent) {
        return;
    }
    let mut local = 0;
    if let Some(socket) = TcpSock::from_argument(socket) {
        if socket.common().state() != LISTEN {
            return of_socket(socket, ResetDirection::Sent);
        }
        local = socket.local();
    }
    if let Some(segment) = SkBuff::from_argument(segment) {
        answer(local, segment);
    }
}

#[inline(always)]
fn received(context: &BtfTracePointContext, turn: Turn) {
    let socket = context.arg::<*mut c_void>(0);
    if turn.has_to_work(socket, Event::ResetReceived)
        && let Some(socket) = TcpSock::from_argument(socket)
    {
        of_socket(socket, ResetDirection::Received);
    }
}

#[inline(always)]
fn of_socket(socket: TcpSock<Typed>, direction: ResetDirection) {
    let flow = match state_of(socket.id) {
        Some(state) => *state.flow(),
        None => flow::of_socket(socket, infer_role(socket)),
    };
    report(flow, client_port(socket, flow.role), direction, socket.common().state());
}

/// A reset in answer to a segment without a connection: its sender is the client, the local port the service.
/// `listener` is the local end of the listening socket that refused it, 0 without a socket.
#[inline(always)]
fn answer(listener: u64, buffer: SkBuff) {
    let Some(segment) = buffer.segment() else {
        return;
    };
    let (local, state) = match listener {
        0 => (LOCAL_IS_NAMESPACE | u64::from(buffer.namespace()), 0),
        local => (local, LISTEN),
    };
    let flow = flow::key(PROTOCOL_TCP, local, segment.source, segment.destination_port, ROLE_SERVER);
    report(flow, segment.source_port, ResetDirection::Sent, state);
}

#[inline(always)]
fn report(flow: FlowKey, client_port: u16, direction: ResetDirection, state: u8) {
    if let Some(counters) = flow::counters(&flow) {
        counters.reset(direction);
    }
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
