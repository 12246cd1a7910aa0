//! UDP datagrams of every socket, where they leave and reach it; DNS packets continue in the programs of DNS.
//!
//! ```c
//! int program(struct __sk_buff *skb)   // BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS
//! ```
//!
//! Kernels: 5.10 on.
//!
//! The programs are attached to the root cgroup and see the packets of every pod, whatever the network plug-in.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::dns::{OVER_TCP, OVER_UDP};
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};

use crate::maps::{DNS_RECEIVED, DNS_SENT};
use crate::packet::{Direction, Ip, PASS, Packet, tail_call};
use crate::settings::{is_dns_port, is_either_dns_port};
use crate::udp::count;

#[cgroup_skb(ingress)]
fn packet_received(context: SkBuffContext) -> i32 {
    packet(&context, Direction::Received);
    PASS
}

#[cgroup_skb(egress)]
fn packet_sent(context: SkBuffContext) -> i32 {
    packet(&context, Direction::Sent);
    PASS
}

/// Passes DNS on, and counts other datagrams.
#[inline(always)]
fn packet(context: &SkBuffContext, direction: Direction) -> Option<()> {
    let packet = Packet::of(context);
    // One copy of the rest for each version: packets that are not DNS pay for no more than this.
    match packet.version()? {
        4 => payload(context, packet, packet.ip_v4()?, direction),
        6 => {
            let ip = packet.ip_v6()?;
            // Those without extension headers, which are all but a few, do not pay for the question.
            let counted = payload(context, packet, ip, direction);
            if counted.is_some() || !ip.is_extended() {
                return counted;
            }
            payload(context, packet, packet.extended(ip)?, direction)
        }
        _ => None,
    }
}

#[inline(always)]
fn payload(context: &SkBuffContext, packet: Packet, ip: Ip, direction: Direction) -> Option<()> {
    match ip.protocol {
        PROTOCOL_TCP => segment(context, packet, ip, direction),
        PROTOCOL_UDP => datagram(context, packet, ip, direction),
        _ => None,
    }
}

/// The kernel counts TCP itself. By itself, because every segment pays for each instruction here.
#[inline(always)]
fn segment(context: &SkBuffContext, packet: Packet, ip: Ip, direction: Direction) -> Option<()> {
    let ports = packet.ports(ip)?;
    if is_either_dns_port(ports.source(), ports.destination()) {
        pass_on(context, OVER_TCP, direction);
    }
    Some(())
}

#[inline(always)]
fn datagram(context: &SkBuffContext, packet: Packet, ip: Ip, direction: Direction) -> Option<()> {
    let ports = packet.ports(ip)?;
    let connected = packet.connected_port();
    // Rules of the sender's own namespace may have changed the port by now: the socket has the one that was asked.
    let is_translated = direction == Direction::Sent && connected != 0 && connected != ports.destination();
    if is_either_dns_port(ports.source(), ports.destination()) || is_translated && is_dns_port(connected) {
        pass_on(context, OVER_UDP, direction);
    }
    count(packet, connected != 0, packet.cgroup(), ip, direction);
    Some(())
}

/// Continues with the program of DNS. Returns when none is loaded: then it counts as any other packet.
#[inline(always)]
fn pass_on(context: &SkBuffContext, over: u32, direction: Direction) {
    let programs = if direction == Direction::Sent { &DNS_SENT } else { &DNS_RECEIVED };
    tail_call(programs, context, over);
}
