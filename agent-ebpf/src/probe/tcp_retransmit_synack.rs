//! Retransmitted SYN-ACKs: the SYN-ACK or the client's acknowledgement was lost, or dropped on this node.
//!
//! ```c
//! TP_PROTO(const struct sock *sk, const struct request_sock *req)   // tcp_retransmit_synack
//! ```
//!
//! Kernels: 5.10 on.
//!
//! The connection has no socket yet: `sk` is the listening one, `req` has the addresses.

use core::ffi::c_void;

use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::endpoint::Address;
use netcause_common::flow::{PROTOCOL_TCP, ROLE_SERVER, RetransmitKind};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_retransmit_synack::SynAckRetransmitted;

use crate::emit::{emit, header};
use crate::flow::key;
use crate::kernel::{SockCommon, TcpSock};
use crate::once::{Event, Turn, twins};
use crate::stray::{Counted, of_peer};

twins!("tcp_retransmit_synack": tcp_retransmit_synack, tcp_retransmit_synack_again => retransmitted);

#[inline(always)]
fn retransmitted(context: &BtfTracePointContext, turn: Turn) {
    let request = context.arg::<*const c_void>(1);
    if !turn.has_to_work(request, Event::SynAckRetransmitted) {
        return;
    }
    let (Some(listener), Some(request)) =
        (TcpSock::from_argument(context.arg(0)), SockCommon::from_argument(request))
    else {
        return;
    };
    let service_port = request.local_port_while_hashed();
    let flow = key(PROTOCOL_TCP, listener.local(), request.remote_address(), service_port, ROLE_SERVER);
    let Some(Counted { flow, counters }) = of_peer(flow) else {
        return;
    };
    counters.retransmitted(RetransmitKind::SynAck, 1);
    // Details of what may be a flood would take the place of others.
    if flow.remote == Address::UNKNOWN {
        return;
    }
    let header = header(ProbeId::TcpRetransmitSynack, flow, request.remote_port());
    emit(ProbeId::TcpRetransmitSynack, &SynAckRetransmitted { header });
}
