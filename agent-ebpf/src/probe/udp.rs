//! UDP datagrams of every socket, where they leave and reach it; and the way on for what is DNS.
//!
//! The programs hang on the root cgroup and see the packets of every pod, whatever the network plug-in. The verdict is
//! always 1: 0 would drop the packet.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::dns::{OVER_TCP, OVER_UDP};
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

use super::dns::go_on;
use crate::flow::{key, udp_counters};
use crate::maps::{DNS_RECEIVED, DNS_SENT};
use crate::packet::{Datagrams, Direction, Ip, Packet};

/// Lets the packet pass.
pub const PASS: i32 = 1;

#[cgroup_skb(ingress)]
fn packet_received(context: SkBuffContext) -> i32 {
    look(&context, Direction::Received);
    PASS
}

#[cgroup_skb(egress)]
fn packet_sent(context: SkBuffContext) -> i32 {
    look(&context, Direction::Sent);
    PASS
}

/// Hands over what is DNS, and counts other datagrams.
#[inline(always)]
fn look(context: &SkBuffContext, direction: Direction) -> Option<()> {
    let packet = Packet::of(context);
    // One copy of the rest for each version: what is no DNS pays for nothing but this.
    match packet.version()? {
        4 => look_behind(context, packet, packet.ip_v4()?, direction),
        6 => look_behind(context, packet, packet.ip_v6()?, direction),
        _ => None,
    }
}

#[inline(always)]
fn look_behind(context: &SkBuffContext, packet: Packet, ip: Ip, direction: Direction) -> Option<()> {
    let over = match ip.protocol {
        PROTOCOL_TCP => OVER_TCP,
        PROTOCOL_UDP => OVER_UDP,
        _ => return None,
    };
    if packet.ports(ip)?.are_of_dns() {
        // Where it is not taken over, it is counted as any other.
        go_on(if direction == Direction::Sent { &DNS_SENT } else { &DNS_RECEIVED }, context, over);
    }
    if over == OVER_UDP {
        count(packet, packet.cgroup(), &packet.datagrams(ip, direction)?, direction);
    }
    Some(())
}

/// Counts datagrams of a local end.
#[inline(always)]
pub fn count(packet: Packet, local: u64, datagrams: &Datagrams, direction: Direction) {
    let ends = datagrams.ends;
    let role = role(packet.has_connected_socket(), ends.local_port, ends.remote_port);
    let service_port = if role == ROLE_CLIENT { ends.remote_port } else { ends.local_port };
    let flow = key(PROTOCOL_UDP, local, ends.remote, service_port, role);
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
