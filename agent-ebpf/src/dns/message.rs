//! A DNS message in a packet, and its header.

use netcause_common::dns::HEADER_BYTES;

use crate::packet::{Datagrams, Direction, Ends, Packet};
use crate::udp;

/// UDP datagrams and their payload; both 0 for a message over TCP.
#[derive(Clone, Copy)]
pub struct Volume {
    /// Number of datagrams.
    pub count: u64,
    /// Their payload in bytes.
    pub bytes: u64,
}

/// A message in a packet.
#[derive(Clone, Copy)]
pub struct Message {
    /// The packet.
    pub packet: Packet,
    /// Cgroup of the packet's socket.
    pub local: u64,
    /// Sender and receiver.
    pub ends: Ends,
    /// UDP traffic to count for it.
    pub datagrams: Volume,
    /// Offset of the message in the packet.
    pub offset: u32,
    /// Length of the message.
    pub length: u32,
    /// Number of its bytes that are in this packet.
    pub available: u32,
}

impl Message {
    /// True when UDP carries it.
    #[inline(always)]
    pub fn is_in_datagram(self) -> bool {
        self.datagrams.count != 0
    }

    /// Its header; `None` when the message is shorter.
    #[inline(always)]
    pub fn header(self) -> Option<Header> {
        let mut header = Header::default();
        let is_there = self.available >= HEADER_BYTES as u32 && self.packet.read(self.offset, &mut header.0);
        is_there.then_some(header)
    }

    /// Counts the datagram as one of any other protocol.
    #[inline(always)]
    pub fn count_traffic(self, direction: Direction) {
        let Volume { count, bytes } = self.datagrams;
        if self.is_in_datagram() {
            udp::count(self.packet, self.local, &Datagrams { ends: self.ends, count, bytes }, direction);
        }
    }
}

/// Header of a message (RFC 1035 §4.1.1) in network order: id and flags, numbers of questions and answers, the rest. In
/// words, because bytes would be read one by one.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct Header([u32; HEADER_BYTES / 4]);

impl Header {
    /// The id, in network order.
    #[inline(always)]
    pub fn id(self) -> u16 {
        self.0[0] as u16
    }

    /// True when it announces exactly one question: no other number is in use (RFC 9619).
    #[inline(always)]
    pub fn has_one_question(self) -> bool {
        self.0[1] as u16 == 1_u16.to_be()
    }

    /// The bit QR.
    #[inline(always)]
    pub fn is_response(self) -> bool {
        u32::from_be(self.0[0]) & 0x8000 != 0
    }

    /// The bit TC.
    #[inline(always)]
    pub fn is_truncated(self) -> bool {
        u32::from_be(self.0[0]) & 0x0200 != 0
    }

    /// The response code, without the bits that EDNS adds.
    #[inline(always)]
    pub fn rcode(self) -> u8 {
        (u32::from_be(self.0[0]) & 0xf) as u8
    }
}
