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
use crate::packet::{Direction, Ip, Packet};

/// Lets the packet pass.
pub const PASS: i32 = 1;

#[cgroup_skb(ingress)]
fn packet_received(context: SkBuffContext) -> i32 {
    if let Some(over) = look(Packet::of(&context), Direction::Received) {
        go_on(&DNS_RECEIVED, &context, over);
    }
    PASS
}

#[cgroup_skb(egress)]
fn packet_sent(context: SkBuffContext) -> i32 {
    if let Some(over) = look(Packet::of(&context), Direction::Sent) {
        go_on(&DNS_SENT, &context, over);
    }
    PASS
}

/// Counts a datagram; returns what carries DNS, if it is that.
#[inline(always)]
fn look(packet: Packet, direction: Direction) -> Option<u32> {
    // One copy of the rest for each version: what is no DNS pays for nothing but this.
    match packet.version()? {
        4 => look_behind(packet, packet.ip_v4()?, direction),
        6 => look_behind(packet, packet.ip_v6()?, direction),
        _ => None,
    }
}

#[inline(always)]
fn look_behind(packet: Packet, ip: Ip, direction: Direction) -> Option<u32> {
    match ip.protocol {
        PROTOCOL_TCP => packet.ports(ip)?.are_of_dns().then_some(OVER_TCP),
        PROTOCOL_UDP => {
            count(packet, ip, direction);
            packet.ports(ip)?.are_of_dns().then_some(OVER_UDP)
        }
        _ => None,
    }
}

#[inline(always)]
fn count(packet: Packet, ip: Ip, direction: Direction) {
    let Some(datagrams) = packet.datagrams(ip, direction) else { return };
    let ends = datagrams.ends;
    let role = role(packet.has_connected_socket(), ends.local_port, ends.remote_port);
    let service_port = if role == ROLE_CLIENT { ends.remote_port } else { ends.local_port };
    let flow = key(PROTOCOL_UDP, packet.cgroup(), ends.remote, service_port, role);
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
