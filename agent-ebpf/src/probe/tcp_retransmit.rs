//! Retransmitted segments, by what made the kernel retransmit.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb)            // tcp_retransmit_skb, before 6.18
//! TP_PROTO(const struct sock *sk, const struct sk_buff *skb, int err)   // from then on, and on failure as well
//! ```
//!
//! Kernels: 5.10 on; failed transmissions are reported from 6.18 on.
//!
//! A hit is a buffer, not a segment. The kernel adds the buffer's segments to `total_retrans` and to the namespace's
//! `RetransSegs` before it transmits (`__tcp_retransmit_skb`, net/ipv4/tcp_output.c), and before 6.18 a failed
//! transmission has no hit. So what counts is what `total_retrans` has grown by since the last reading.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::flow::{Counted, RetransmitKind, Timeouts};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_retransmit::Retransmitted;
use netcause_common::socket::{PHASE_OPEN, SocketState};

use crate::emit::{emit, header};
use crate::flow::{Counters, counters, of_socket};
use crate::kernel::tcp_state::SYN_SENT;
use crate::kernel::{SkBuff, TcpSock, Typed, long_idle_ticks, retransmit_has_error};
use crate::lost;
use crate::socket::{client_port, infer_role, insert, state_of};

/// `enum tcp_ca_state`, include/uapi/linux/tcp.h.
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;
/// `ICSK_TIME_LOSS_PROBE`, include/net/inet_connection_sock.h.
const TIMER_LOSS_PROBE: u8 = 5;

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit(context: BtfTracePointContext) -> i32 {
    let (Some(socket), Some(buffer)) =
        (TcpSock::from_argument(context.arg(0)), SkBuff::from_argument(context.arg(1)))
    else {
        return 0;
    };
    let transmitted = !retransmit_has_error() || context.arg::<i32>(2) == 0;
    let total = socket.total_retransmits();
    let segments = buffer.tcp_segments();
    let state = state_of(socket.id);
    let (flow, moved) = match state {
        Some(state) => (*state.flow(), state.take_uncounted_retransmits(total)),
        None => (of_socket(socket, infer_role(socket)), segments),
    };
    let kind = if transmitted { kind(socket) } else { RetransmitKind::Other };
    let segments = segments.min(moved);
    let dropped = lost::retransmitted(socket, buffer, segments);
    if let Some(counters) = counters(&flow) {
        counters.retransmitted_after_drop(dropped.cause(), dropped.segments);
        if state.is_none() {
            let counted = Counted { retransmits: total, ..Counted::default() };
            let state = SocketState { counted, flow, phase: PHASE_OPEN, ..SocketState::default() };
            if insert(socket.id, &state) {
                counters.one_more_open();
            }
        }
        counters.retransmitted(kind, segments);
        // Transmissions that failed since the last hit.
        counters.retransmitted(RetransmitKind::Other, moved - segments);
        counters.retransmitted_full_size(full_size_segments(socket, buffer).min(segments));
        if kind != RetransmitKind::TailLossProbe
            && let Some(state) = state
        {
            state.set_retransmitted();
        }
        if kind == RetransmitKind::Timeout {
            timed_out(socket, counters);
        }
    }
    emit(
        ProbeId::TcpRetransmit,
        &Retransmitted {
            header: header(ProbeId::TcpRetransmit, flow, client_port(socket, flow.role)),
            segments,
            kind: kind as u8,
            tcp_state: socket.common().state(),
            congestion_state: socket.congestion_state(),
            consecutive_timeouts: socket.consecutive_timeouts(),
            dropped_segments: dropped.segments,
            dropped_reason: dropped.reason,
            reserved: [0; 3],
        },
    );
    0
}

/// How many of a buffer's segments are as large as the connection's maximum. Selective acknowledgements that a segment carries
/// take up to 40 bytes of options from its payload (RFC 9293 §3.1). All segments of a buffer but the last have one size; of more than thirty,
/// which are hardly ever retransmitted at once, a short last one counts as well.
#[inline(always)]
fn full_size_segments(socket: TcpSock<Typed>, buffer: SkBuff) -> u32 {
    const OPTIONS: u32 = 40;
    buffer.length().checked_div(socket.full_segment().saturating_sub(OPTIONS)).unwrap_or(0)
}

/// The timer has counted the timeout by now (`tcp_retransmit_timer`, net/ipv4/tcp_timer.c), and an acknowledgement of anything new
/// resets the count (`tcp_ack`, net/ipv4/tcp_input.c).
#[inline(always)]
fn timed_out(socket: TcpSock<Typed>, counters: Counters) {
    let Some(timeouts) = Timeouts::of(socket.consecutive_timeouts()) else { return };
    counters.timed_out(timeouts);
    if timeouts == Timeouts::First && socket.idle_ticks_before_outstanding() >= long_idle_ticks() {
        counters.timed_out_after_idle();
    }
}

/// The order matters: in recovery, the retransmission is a fast one even while the timer of a loss probe is armed; the
/// retransmission timer is cleared before it sends, so an armed timer in the loss state means recovery clocked by
/// acknowledgements.
#[inline(always)]
fn kind(socket: TcpSock<Typed>) -> RetransmitKind {
    let pending = socket.pending_timer();
    if socket.common().state() == SYN_SENT {
        return RetransmitKind::Syn;
    }
    match socket.congestion_state() {
        CA_RECOVERY => RetransmitKind::Fast,
        CA_LOSS if pending == 0 => RetransmitKind::Timeout,
        CA_LOSS => RetransmitKind::SlowStart,
        _ if pending == TIMER_LOSS_PROBE => RetransmitKind::TailLossProbe,
        _ => RetransmitKind::Other,
    }
}
