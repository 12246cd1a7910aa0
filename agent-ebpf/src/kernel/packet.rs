//! Packets as tracepoints pass them.

use core::ffi::c_void;

use netcause_common::endpoint::Address;

use super::layout::layout;
use super::memory::{Memory, Typed, Untyped};

/// A packet with its socket buffer: `struct sk_buff`.
#[derive(Clone, Copy)]
pub struct SkBuff(Typed);

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

    /// Inode number of the network namespace of its receiving device; 0 when the device is no longer known.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        let device = self.0.read::<u64>(layout!(skb_dev));
        if device == 0 {
            return 0;
        }
        let namespace = Untyped(device).read::<u64>(layout!(dev_net));
        Untyped(namespace).read(layout!(net_inum))
    }

    /// Sender and ports of a received packet; `None` when its IP header is neither IPv4 nor IPv6.
    #[inline(always)]
    pub fn segment(self) -> Option<Segment> {
        let head = self.0.read::<u64>(layout!(skb_head));
        let network = u64::from(self.0.read::<u16>(layout!(skb_network_header)));
        let transport = u64::from(self.0.read::<u16>(layout!(skb_transport_header)));
        let (network, transport) = (Untyped(head + network), Untyped(head + transport));
        // RFC 791 §3.1: source address at byte 12. RFC 8200 §3: at byte 8.
        let source = match network.read::<u8>(0) >> 4 {
            4 => Address::from_v4_network_order(network.read(12)),
            6 => Address { words: [network.read(8), network.read(16)] },
            _ => return None,
        };
        // RFC 9293 §3.1 and RFC 768: ports in the first four bytes.
        Some(Segment {
            source,
            source_port: u16::from_be(transport.read(0)),
            destination_port: u16::from_be(transport.read(2)),
            // RFC 9293 §3.1: flags in byte 13, of which ACK is 16 and SYN 2.
            is_first: transport.read::<u8>(13) & 18 == 2,
        })
    }
}
