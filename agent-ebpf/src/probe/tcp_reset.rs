//! Resets, sent and received.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb)                                  // tcp_send_reset
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb, const enum sk_rst_reason reason) // newer
//! TP_PROTO(struct sock *sk)                                                                   // tcp_receive_reset
//! ```
//!
//! `sk` of a sent reset is NULL for a closed port, or no full socket (time-wait, request); older kernels do not fire
//! then. `skb` is the segment that is answered, NULL when the application made the reset.

use core::ffi::c_void;

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_SERVER, ResetDirection};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;

use crate::emit::{emit, header};
use crate::flow;
use crate::kernel::tcp_state::LISTEN;
use crate::kernel::{SkBuff, TcpSock, Typed};
use crate::once::{Event, Turn};
use crate::socket::{client_port, infer_role, state_of};

#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_reset_sent(context: BtfTracePointContext) -> i32 {
    sent(&context, Turn::First);
    0
}

/// See [`crate::once`].
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_reset_sent_again(context: BtfTracePointContext) -> i32 {
    sent(&context, Turn::Again);
    0
}

#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_reset_received(context: BtfTracePointContext) -> i32 {
    received(&context, Turn::First);
    0
}

/// See [`crate::once`].
#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_reset_received_again(context: BtfTracePointContext) -> i32 {
    received(&context, Turn::Again);
    0
}

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

/// A segment that no connection wants is answered with a reset: its sender is the client, the port here the service.
/// `listener` is the local end when a listening socket refused it, 0 when there is no socket at all.
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
