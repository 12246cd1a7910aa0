//! UDP datagrams of every socket, where they leave and reach it.
//!
//! The programs hang on the root cgroup and see the packets of every pod, whatever the network plug-in. The verdict is
//! always 1: 0 would drop the packet.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::flow::{PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

use crate::flow::{key, udp_counters};
use crate::packet::{Direction, Packet};

/// Lets the packet pass.
const PASS: i32 = 1;

#[cgroup_skb(ingress)]
fn packet_received(context: SkBuffContext) -> i32 {
    count(Packet::of(&context), Direction::Received);
    PASS
}

#[cgroup_skb(egress)]
fn packet_sent(context: SkBuffContext) -> i32 {
    count(Packet::of(&context), Direction::Sent);
    PASS
}

#[inline(always)]
fn count(packet: Packet, direction: Direction) {
    let Some(datagrams) = packet.datagrams(direction) else { return };
    let role = role(packet.has_connected_socket(), datagrams.local_port, datagrams.remote_port);
    let service_port = if role == ROLE_CLIENT { datagrams.remote_port } else { datagrams.local_port };
    let flow = key(PROTOCOL_UDP, packet.cgroup(), datagrams.remote, service_port, role);
    let Some(counters) = udp_counters(&flow) else { return };
    match direction {
        Direction::Sent => counters.sent(datagrams.count, datagrams.bytes),
        Direction::Received => counters.received(datagrams.count, datagrams.bytes),
    }
}

/// Who is the client: UDP has no SYN to tell. Servers answer many peers from one socket, so a connected socket is a
/// client's; else the lower port is the service's.
#[inline(always)]
pub fn role(is_connected: bool, local_port: u16, remote_port: u16) -> u8 {
    if is_connected || local_port >= remote_port { ROLE_CLIENT } else { ROLE_SERVER }
}
