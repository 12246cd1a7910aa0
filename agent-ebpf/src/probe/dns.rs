//! DNS messages of every socket.
//!
//! Programs of their own, which those of UDP hand packets over to: what is no DNS does not pay for them, and where they
//! cannot be loaded the others count. The verdict is always 1: 0 would drop the packet.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::dns::OVER_TCP;
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};
use netcause_common::statistics::Statistic;

use super::udp::PASS;
use crate::dns::{Carried, Message, stream};
use crate::maps::{DNS_RECEIVED, DNS_SENT, count};
use crate::packet::{Direction, Packet, UDP_HEADER_BYTES};

#[cgroup_skb(ingress)]
fn dns_udp_received(context: SkBuffContext) -> i32 {
    datagram(Packet::of(&context), Direction::Received);
    PASS
}

#[cgroup_skb(egress)]
fn dns_udp_sent(context: SkBuffContext) -> i32 {
    datagram(Packet::of(&context), Direction::Sent);
    PASS
}

#[cgroup_skb(ingress)]
fn dns_tcp_received(context: SkBuffContext) -> i32 {
    if segment(Packet::of(&context), Direction::Received) {
        go_on(&DNS_RECEIVED, &context, OVER_TCP);
    }
    PASS
}

#[cgroup_skb(egress)]
fn dns_tcp_sent(context: SkBuffContext) -> i32 {
    if segment(Packet::of(&context), Direction::Sent) {
        go_on(&DNS_SENT, &context, OVER_TCP);
    }
    PASS
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a datagram is shorter than 2^16")]
fn datagram(packet: Packet, direction: Direction) {
    let Some(ip) = packet.ip() else { return };
    if ip.protocol != PROTOCOL_UDP {
        return;
    }
    let Some(datagrams) = packet.datagrams(ip, direction) else { return };
    if datagrams.count > 1 {
        // Several in one buffer (UDP_SEGMENT): only the first is read.
        count(Statistic::DnsUnfollowed);
    }
    let length = datagrams.bytes as u32;
    let message = Message {
        packet,
        local: packet.cgroup(),
        ends: datagrams.ends,
        datagrams: Carried { count: datagrams.count, bytes: datagrams.bytes },
        offset: ip.length + UDP_HEADER_BYTES,
        length,
        available: length,
    };
    crate::dns::message(message, message.head(), None, direction);
}

#[inline(always)]
fn segment(packet: Packet, direction: Direction) -> bool {
    match packet.ip() {
        Some(ip) if ip.protocol == PROTOCOL_TCP => stream::segment(packet, ip, direction),
        _ => false,
    }
}

/// Continues with a program of DNS; returns where there is none, or when 33 have run (`MAX_TAIL_CALL_CNT`).
#[inline(always)]
pub fn go_on(to: &ProgramArray, context: &SkBuffContext, over: u32) {
    // SAFETY: nothing here needs to be dropped.
    #[expect(unsafe_code, reason = "another program takes over")]
    unsafe {
        to.tail_call(context, over);
    }
}
