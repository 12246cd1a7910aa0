//! Packets as tracepoints pass them.

use core::ffi::c_void;

use netcause_common::endpoint::Address;

use super::layout::layout;
use super::memory::{Memory, Typed, Untyped};

/// A packet with its socket buffer: `struct sk_buff`.
#[derive(Clone, Copy)]
pub struct SkBuff(pub(super) Typed);

/// Addresses of a received TCP segment or UDP datagram.
pub struct Segment {
    /// Sender's address.
    pub source: Address,
    /// Sender's port, host order.
    pub source_port: u16,
    /// Local port, host order.
    pub destination_port: u16,
    /// Of a TCP segment: it asks for a connection (SYN without ACK).
    pub is_first: bool,
}

impl SkBuff {
    /// From a `struct sk_buff *` argument.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }

    /// Number of TCP segments in it: `TCP_SKB_CB(skb)->tcp_gso_segs`.
    #[inline(always)]
    pub fn tcp_segments(self) -> u32 {
        u32::from(self.0.read::<u16>(layout!(skb_cb) + layout!(tcp_gso_segs)))
    }

    /// Bytes in it; of one in a send queue, its payload (`__tcp_transmit_skb`, net/ipv4/tcp_output.c, puts headers before a clone).
    #[inline(always)]
    pub fn length(self) -> u32 {
        self.0.read(layout!(skb_len))
    }

    /// Of a packet that TCP keeps to retransmit it: its first sequence number, and the one after its last.
    #[inline(always)]
    pub fn tcp_sequence(self) -> (u32, u32) {
        let at = |member| self.0.read::<u32>(layout!(skb_cb) + member);
        (at(layout!(tcp_seq)), at(layout!(tcp_end_seq)))
    }

    /// Inode number of the network namespace of its receiving device; 0 when the device is no longer known.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        self.0.follow(layout!(skb_dev)).follow(layout!(dev_net)).read(layout!(net_inum))
    }

    /// Sender and ports of a received packet; `None` when its IP header is neither IPv4 nor IPv6.
    #[inline(always)]
    pub fn segment(self) -> Option<Segment> {
        let head = self.0.read::<u64>(layout!(skb_head));
        let at = |offset: u16| Untyped(head + u64::from(offset));
        // One read of each header, because each is a call.
        let network: [u32; 6] = at(self.0.read(layout!(skb_network_header))).read(0);
        let transport: [u32; 4] = at(self.0.read(layout!(skb_transport_header))).read(0);
        // The version is in the high bits of the first byte. RFC 791 §3.1: source address at byte 12. RFC 8200 §3: at byte 8.
        let [_, _, third, fourth, fifth, sixth] = network;
        let source = match network[0].to_ne_bytes()[0] >> 4 {
            4 => Address::from_v4_network_order(fourth),
            6 => Address::from_network_order([third, fourth, fifth, sixth]),
            _ => return None,
        };
        // RFC 9293 §3.1 and RFC 768: ports in the first four bytes.
        let [a, b, c, d] = transport[0].to_ne_bytes();
        Some(Segment {
            source,
            source_port: u16::from_be_bytes([a, b]),
            destination_port: u16::from_be_bytes([c, d]),
            // RFC 9293 §3.1: flags in byte 13, of which ACK is 16 and SYN 2.
            is_first: transport[3].to_ne_bytes()[1] & 18 == 2,
        })
    }
}
