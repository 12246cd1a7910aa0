//! The headers of a packet, wherever in the kernel it is: below a VLAN tag, and inside a tunnel.

use netcause_common::endpoint::Address;

use super::layout::layout;
use super::memory::{Memory, Untyped};
use super::packet::SkBuff;

/// Addresses and ports of a packet; of a packet in a tunnel, those of the inner one.
#[derive(Clone, Copy)]
pub struct Headers {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IANA number of the protocol that follows; of IPv6, of an extension header if there is one.
    pub protocol: u8,
    /// Sender's port, host order; 0 when the protocol has none, or in later fragments.
    pub source_port: u16,
    /// Receiver's port, host order, as [`Self::source_port`].
    pub destination_port: u16,
    /// Where the next header begins, from the start of the buffer.
    transport: u32,
    /// Where the packet ends, likewise; below `transport` when its header does not say, as of packets that are too long for it.
    end: u32,
}

/// What a TCP segment has of its connection's sequence space.
#[derive(Clone, Copy)]
pub struct TcpRange {
    /// The first sequence number.
    pub start: u32,
    /// The one after its last.
    pub end: u32,
    /// It has a SYN.
    pub is_syn: bool,
}

// EtherTypes, include/uapi/linux/if_ether.h.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_OF_PROVIDER: u16 = 0x88a8;
const ETHERNET: u16 = 0x6558;
const ETHERNET_BYTES: u32 = 14;
const UDP_BYTES: u32 = 8;

// Protocols of IP, include/uapi/linux/in.h.
const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;

// Ports of tunnels. RFC 7348 §5, and what Linux had before it; RFC 8926 §3.3.
const VXLAN_PORT: u16 = 4789;
const VXLAN_PORT_OF_LINUX: u16 = 8472;
const GENEVE_PORT: u16 = 6081;

/// `PACKET_BROADCAST` and `PACKET_MULTICAST`, include/uapi/linux/if_packet.h.
const TO_MANY: [u32; 2] = [1, 2];

impl SkBuff {
    /// True when it was received as a broadcast or multicast of the link.
    #[inline(always)]
    pub fn is_to_many(self) -> bool {
        let byte = u32::from(self.0.read::<u8>(layout!(skb_pkt_type)));
        TO_MANY.contains(&(byte >> layout!(skb_pkt_type_shift) & layout!(skb_pkt_type_mask)))
    }

    /// Its headers; `None` when it is neither IPv4 nor IPv6, or they do not lie in the buffer itself.
    #[inline(always)]
    pub fn headers(self) -> Option<Headers> {
        let buffer = self.buffer();
        let network = self.0.read::<u16>(layout!(skb_network_header));
        // Not set yet.
        if network == 0 || network == u16::MAX {
            return None;
        }
        let mut at = u32::from(network);
        let mut kind = u16::from_be(self.0.read(layout!(skb_protocol)));
        if kind == VLAN || kind == VLAN_OF_PROVIDER {
            // IEEE 802.1Q: two bytes of the tag, then the type of what follows.
            kind = u16::from_be(buffer.read::<[u16; 2]>(at)?[1]);
            at += 4;
        }
        let outer = buffer.ip(at, kind)?;
        Some(buffer.inner(&outer).unwrap_or(outer))
    }

    /// Of a TCP segment, its range; `None` for other packets, and for a segment that is never retransmitted because it has neither
    /// data nor a SYN nor a FIN.
    #[inline(always)]
    pub fn tcp_range(self, headers: &Headers) -> Option<TcpRange> {
        if headers.protocol != TCP || headers.source_port == 0 {
            return None;
        }
        // RFC 9293 §3.1: the sequence number in bytes 4 to 7; the length in words, and the flags FIN 1, SYN 2 and RST 4.
        let [_, sequence, _, flags] = self.buffer().read::<[u32; 4]>(headers.transport)?;
        let [words, flags, ..] = flags.to_ne_bytes();
        let data = headers.transport + u32::from(words >> 4) * 4;
        let end = if headers.end > headers.transport { headers.end } else { self.end() };
        let length = end.saturating_sub(data) + u32::from(flags & 1) + u32::from(flags >> 1 & 1);
        let start = u32::from_be(sequence);
        let range = TcpRange { start, end: start.wrapping_add(length), is_syn: flags & 2 != 0 };
        (length != 0 && length < 1 << 30 && flags & 4 == 0).then_some(range)
    }

    #[inline(always)]
    fn buffer(self) -> Buffer {
        Buffer { head: self.0.read(layout!(skb_head)), end: self.0.read(layout!(skb_tail)) }
    }

    /// Where it ends, from the start of its buffer, were all of it there.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "buffers are shorter than 4 GiB")]
    fn end(self) -> u32 {
        let begin = self.0.read::<u64>(layout!(skb_data)).wrapping_sub(self.0.read(layout!(skb_head))) as u32;
        begin.wrapping_add(self.0.read(layout!(skb_len)))
    }
}

impl Headers {
    /// True when it goes to several receivers by its address.
    #[inline(always)]
    pub fn is_to_many(&self) -> bool {
        let [first, ..] = self.destination.to_network_order();
        match self.destination.to_v4_network_order() {
            // RFC 5771 §3: 224.0.0.0/4. RFC 919 §7: the limited broadcast.
            Some(v4) => v4.to_ne_bytes()[0] & 0xf0 == 0xe0 || v4 == u32::MAX,
            // RFC 4291 §2.7.
            None => first.to_ne_bytes()[0] == 0xff,
        }
    }

    /// True for TCP and UDP.
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP)
    }
}

/// The part of a packet that lies in its buffer: `head` to `tail`.
#[derive(Clone, Copy)]
struct Buffer {
    head: u64,
    /// Its length from there.
    end: u32,
}

impl Buffer {
    #[inline(always)]
    fn read<T: Copy + Default>(self, at: u32) -> Option<T> {
        (u64::from(at) + size_of::<T>() as u64 <= u64::from(self.end)).then(|| Untyped(self.head).read(at))
    }

    /// The headers of an IP packet.
    #[inline(always)]
    fn ip(self, at: u32, kind: u16) -> Option<Headers> {
        // RFC 791 §3.1: 20 bytes; RFC 8200 §3: 40.
        let first: [u32; 5] = self.read(at)?;
        let [version, _, v4_length @ ..] = first[0].to_ne_bytes();
        let [v6_high, v6_low, ..] = first[1].to_ne_bytes();
        let mut headers = match (kind, version >> 4) {
            (IPV4, 4) => {
                let [_, _, fragment_high, fragment_low] = first[1].to_ne_bytes();
                let is_later_fragment = fragment_high & 0x1f != 0 || fragment_low != 0;
                Headers {
                    source: Address::from_v4_network_order(first[3]),
                    destination: Address::from_v4_network_order(first[4]),
                    protocol: if is_later_fragment { 0 } else { first[2].to_ne_bytes()[1] },
                    source_port: 0,
                    destination_port: 0,
                    transport: at + u32::from(version & 0xf) * 4,
                    // RFC 791 §3.1: the total length in bytes 2 and 3.
                    end: at + u32::from(u16::from_be_bytes(v4_length)),
                }
            }
            (IPV6, 6) => {
                let rest: [u32; 5] = self.read(at + 20)?;
                Headers {
                    source: Address::from_network_order([first[2], first[3], first[4], rest[0]]),
                    destination: Address::from_network_order([rest[1], rest[2], rest[3], rest[4]]),
                    protocol: first[1].to_ne_bytes()[2],
                    source_port: 0,
                    destination_port: 0,
                    transport: at + 40,
                    // RFC 8200 §3: the length of what follows in bytes 4 and 5.
                    end: match u16::from_be_bytes([v6_high, v6_low]) {
                        0 => at,
                        length => at + 40 + u32::from(length),
                    },
                }
            }
            _ => return None,
        };
        if headers.has_ports()
            && let Some([source, destination]) = self.read::<[u16; 2]>(headers.transport)
        {
            (headers.source_port, headers.destination_port) =
                (u16::from_be(source), u16::from_be(destination));
        }
        Some(headers)
    }

    /// The headers of the packet inside this one, if it is of a tunnel.
    #[inline(always)]
    fn inner(self, outer: &Headers) -> Option<Headers> {
        let (at, kind) = match (outer.protocol, outer.destination_port) {
            (IPV4_IN_IP, _) => (outer.transport, IPV4),
            (IPV6_IN_IP, _) => (outer.transport, IPV6),
            // RFC 7348 §5: eight bytes, the flag I in the first. RFC 8926 §3.4: eight bytes and options, whose length is in the
            // first, in words; then the type of what follows.
            (UDP, port @ (VXLAN_PORT | VXLAN_PORT_OF_LINUX | GENEVE_PORT)) => {
                let tunnel = outer.transport + UDP_BYTES;
                let [first, _, kind_high, kind_low] = self.read::<[u8; 4]>(tunnel)?;
                let (options, kind) = if port == GENEVE_PORT {
                    (u32::from(first & 0x3f) * 4, u16::from_be_bytes([kind_high, kind_low]))
                } else if first & 8 != 0 {
                    (0, ETHERNET)
                } else {
                    return None;
                };
                let payload = tunnel + 8 + options;
                if kind == ETHERNET {
                    let kind: u16 = self.read(payload + ETHERNET_BYTES - 2)?;
                    (payload + ETHERNET_BYTES, u16::from_be(kind))
                } else {
                    (payload, kind)
                }
            }
            _ => return None,
        };
        self.ip(at, kind)
    }
}
