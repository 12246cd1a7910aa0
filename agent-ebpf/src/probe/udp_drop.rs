//! UDP datagrams dropped because the receive buffer was full.
//!
//! ```c
//! TP_PROTO(int rc, struct sock *sk)                          // udp_fail_queue_rcv_skb, before 6.10
//! TP_PROTO(int rc, struct sock *sk, struct sk_buff *skb)     // from 6.10 on
//! ```
//!
//! Kernels: 5.10 on; 5.10 and 6.1 report no drops of IPv6. Without the packet, the peer of a socket that is not connected is
//! unknown.

use core::ffi::c_void;

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, PROTOCOL_UDP, ROLE_SERVER};

use crate::emit::Unseen;
use crate::flow::{key, udp_counters};
use crate::kernel::{SkBuff, UdpSock, udp_drop_has_packet};
use crate::udp::{role, service_port};

#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
fn udp_drop(context: BtfTracePointContext) -> i32 {
    if let Some(socket) = UdpSock::from_argument(context.arg(1))
        && let Some(counters) = udp_counters(&flow(socket, &context), Unseen)
    {
        counters.dropped();
    }
    0
}

#[inline(always)]
fn flow(socket: UdpSock, context: &BtfTracePointContext) -> FlowKey {
    let (common, local) = (socket.common(), socket.local());
    let (local_port, remote_port) = (common.local_port_while_hashed(), common.remote_port());
    if remote_port != 0 {
        let role = role::of_connected(local, local_port, remote_port);
        return key(
            PROTOCOL_UDP,
            local,
            common.remote_address(),
            service_port(role, local_port, remote_port),
            role,
        );
    }
    if udp_drop_has_packet()
        && let Some(packet) = SkBuff::from_argument(context.arg::<*const c_void>(2))
        && let Some(header) = packet.segment()
    {
        let role = role::of_receiver(local, local_port, header.source_port);
        return key(
            PROTOCOL_UDP,
            local,
            header.source,
            service_port(role, local_port, header.source_port),
            role,
        );
    }
    FlowKey {
        local,
        remote: Address::UNKNOWN,
        service_port: local_port,
        protocol: PROTOCOL_UDP,
        role: ROLE_SERVER,
        reserved: 0,
    }
}
