//! DNS messages of every socket.
//!
//! ```c
//! int program(struct __sk_buff *skb)   // tail calls from the programs of UDP
//! ```
//!
//! Kernels: 5.10 on.
//!
//! Separate programs, which those of UDP continue with: other packets do not pay for them, and when they cannot be loaded,
//! those of UDP count the datagrams.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::dns::OVER_TCP;
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};
use netcause_common::statistics::Statistic;

use crate::dns::{Message, Volume, count_message, stream};
use crate::maps::{DNS_RECEIVED, DNS_SENT, count};
use crate::packet::{Direction, PASS, Packet, UDP_HEADER_BYTES, tail_call};

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
        tail_call(&DNS_RECEIVED, &context, OVER_TCP);
    }
    PASS
}

#[cgroup_skb(egress)]
fn dns_tcp_sent(context: SkBuffContext) -> i32 {
    if segment(Packet::of(&context), Direction::Sent) {
        tail_call(&DNS_SENT, &context, OVER_TCP);
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
        datagrams: Volume { count: datagrams.count, bytes: datagrams.bytes },
        offset: ip.length + UDP_HEADER_BYTES,
        length,
        available: length,
    };
    count_message(message, message.header(), None, direction);
}

#[inline(always)]
fn segment(packet: Packet, direction: Direction) -> bool {
    match packet.ip() {
        Some(ip) if ip.protocol == PROTOCOL_TCP => stream::segment(packet, ip, direction),
        _ => false,
    }
}
