//! Connections that have no entry in the socket map yet.

use netcause_common::flow::Counted;
use netcause_common::socket::{PHASE_CONNECTING, PHASE_OPEN, SocketState};

use crate::flow::{counters_of, of_socket};
use crate::kernel::tcp_state::{CLOSE, LISTEN, SYN_RECV, SYN_SENT};
use crate::kernel::{Memory, TcpSock};
use crate::socket::{Tracked, infer_role, insert, state_of};
use crate::traffic::{is_fin_acknowledged, skip};

/// Inserts a connection from before the agent started, or whose start the programs missed.
#[inline(always)]
pub fn adopt<M: Memory>(socket: TcpSock<M>, state: u8) -> Option<Tracked> {
    let is_open = state != SYN_SENT && state != SYN_RECV;
    let phase = if is_open { PHASE_OPEN } else { PHASE_CONNECTING };
    let flow = of_socket(socket, infer_role(socket));
    let counted = Counted { retransmits: socket.total_retransmits(), ..Counted::default() };
    // A connection that began while the agent started has an entry already, which stays.
    if state_of(socket.id).is_none()
        && insert(socket.id, &SocketState { counted, flow, phase, ..SocketState::default() })
        && is_open
        && let Some(counters) = counters_of(socket, &flow)
    {
        counters.one_more_open();
    }
    state_of(socket.id)
}

/// Inserts a connection whose totals up to now are not to be counted.
#[inline(always)]
pub fn adopt_as_counted<M: Memory>(socket: TcpSock<M>) {
    let state = socket.common().state();
    // A connection that began while the agent started has an entry already, and counts in full.
    if state != LISTEN
        && state != CLOSE
        && state_of(socket.id).is_none()
        && let Some(tracked) = adopt(socket, state)
    {
        let fin_acknowledged = || is_fin_acknowledged(socket, state);
        skip(socket, tracked.role(), fin_acknowledged, tracked.counted());
    }
}
