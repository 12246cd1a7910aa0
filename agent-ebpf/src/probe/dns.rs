//! DNS messages of every socket.
//!
//! ```c
//! int program(struct __sk_buff *skb)   // tail calls from the programs of UDP
//! int program(struct bpf_sock *sk)     // BPF_CGROUP_INET_SOCK_RELEASE
//! ```
//!
//! Kernels: 5.10 on.
//!
//! Separate programs, which those of UDP continue with: other packets do not pay for them, and when they cannot be loaded,
//! those of UDP count the datagrams.

#![expect(
    clippy::cast_possible_truncation,
    reason = "parts of words are meant, and datagrams are shorter than 2^16"
)]

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::{cgroup_skb, cgroup_sock};
use aya_ebpf::programs::{SkBuffContext, SockContext};
use netcause_common::dns::OVER_TCP;
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};
use netcause_common::statistics::Statistic;

use crate::dns::{self, Message, count_message, stream};
use crate::maps::{DNS_RECEIVED, DNS_SENT, count};
use crate::packet::{Direction, PASS, Packet, UDP_HEADER_BYTES, tail_call};
use crate::settings::is_dns_port;

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
        // The kernel continues 33 times and no more.
        count(Statistic::DnsUnread);
    }
    PASS
}

#[cgroup_skb(egress)]
fn dns_tcp_sent(context: SkBuffContext) -> i32 {
    if segment(Packet::of(&context), Direction::Sent) {
        tail_call(&DNS_SENT, &context, OVER_TCP);
        count(Statistic::DnsUnread);
    }
    PASS
}

/// A socket is being closed. One that may have asked is remembered, so that the daemon can tell who gave up from whom the
/// server left without an answer. TCP connections of other protocols pay for the first lines.
#[cgroup_sock(sock_release)]
fn dns_socket_closed(context: SockContext) -> i32 {
    const ALLOW: i32 = 1;
    // SAFETY: the context is the program's own, and the verifier checks the offsets. The port is read as in
    // `Packet::connected_port`.
    #[expect(unsafe_code, reason = "reading the context")]
    let (protocol, port) = unsafe {
        let socket = context.sock;
        ((*socket).protocol, (&raw const (*socket).dst_port).cast::<u32>().read_volatile() as u16)
    };
    let may_ask = is_dns_port(port) || port == 0 && protocol == u32::from(PROTOCOL_UDP);
    if !may_ask {
        return ALLOW;
    }
    // SAFETY: the helper takes the program's own context.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    dns::closed(unsafe { bpf_get_socket_cookie(context.sock.cast()) });
    ALLOW
}

#[inline(always)]
fn datagram(packet: Packet, direction: Direction) {
    let Some(ip) = packet.ip() else { return };
    if ip.protocol != PROTOCOL_UDP {
        return;
    }
    let Some(ends) = packet.ends(ip, direction) else { return };
    let datagrams = packet.volume(ip);
    if datagrams.count > 1 {
        // Several in one buffer (UDP_SEGMENT): only the first is read.
        count(Statistic::DnsUnread);
    }
    let length = datagrams.bytes as u32;
    let message = Message {
        packet,
        local: packet.cgroup(),
        ends,
        datagrams,
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
