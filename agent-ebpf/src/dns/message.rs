//! A DNS message in a packet, and its header.

use netcause_common::dns::{HEADER_BYTES, ResponseCode};

use crate::packet::{Direction, Ends, Packet, Volume};
use crate::udp;
use crate::verifier::forget;

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

    /// True when all of it is in this packet.
    #[inline(always)]
    pub fn is_whole(self) -> bool {
        self.available >= self.length
    }

    /// Its header; `None` when the message is shorter.
    #[inline(always)]
    pub fn header(self) -> Option<Header> {
        if self.available < HEADER_BYTES as u32 {
            return None;
        }
        // Word by word: the compiler copies whole values byte by byte, in a call.
        if let Some(&[first, counts, rest]) = self.packet.near::<[u32; 3]>(self.offset) {
            return Some(Header([first, counts, rest]));
        }
        let mut header = Header::default();
        self.packet.load(self.offset, &mut header.0).then_some(header)
    }

    /// Counts the datagram as one of any other protocol.
    #[inline(always)]
    pub fn count_traffic(self, direction: Direction) {
        if self.is_in_datagram() {
            udp::count_read(self.packet, self.local, self.ends, self.datagrams, direction);
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

    /// True when it may be the header of a query of so many bytes: a standard query has one question and no answer, of the
    /// other kinds (IANA, DNS OpCodes: up to 6) each has one question or zone at most (RFC 9619), and one without has
    /// nothing at all, or a record of EDNS (RFC 7873 §5.4). Of other protocols' packets hardly any pass: of random ones one in 2^32.
    #[inline(always)]
    pub fn is_query(self, length: u32) -> bool {
        const LAST: u32 = 6;
        let one = u32::from(1_u16.to_be());
        let [first, counts, rest] = self.0;
        match u32::from_be(first) >> 11 & 0xf {
            0 if counts == one => true,
            1..=LAST if counts & 0xffff == one => true,
            0..=LAST if counts != 0 => false,
            0..=LAST => rest == one << 16 || rest == 0 && length == HEADER_BYTES as u32,
            _ => false,
        }
    }

    /// True when it announces exactly one question.
    #[inline(always)]
    pub fn has_one_question(self) -> bool {
        self.0[1] as u16 == 1_u16.to_be()
    }

    /// True when the first record is one of the additional section: a response without answers and authorities.
    #[inline(always)]
    fn has_additions_only(self) -> bool {
        let [_, questions_and_answers, rest] = self.0;
        questions_and_answers == u32::from(1_u16.to_be()) && rest & 0xffff == 0 && rest != 0
    }

    /// The bit QR.
    #[inline(always)]
    pub fn is_response(self) -> bool {
        u32::from_be(self.0[0]) & 0x8000 != 0
    }

    /// The bit TC.
    #[inline(always)]
    fn is_truncated(self) -> bool {
        u32::from_be(self.0[0]) & 0x0200 != 0
    }

    /// The response code, without the bits that EDNS adds.
    #[inline(always)]
    fn rcode(self) -> u16 {
        (u32::from_be(self.0[0]) & 0xf) as u16
    }
}

/// What a response says. Numbers until they are needed: the verifier follows the rest of a program once for each case.
#[derive(Clone, Copy)]
pub struct Response {
    header: Header,
    /// The bits that EDNS adds to the response code.
    extension: u16,
}

impl Response {
    /// Of a message and its header.
    ///
    /// EDNS adds bits to the code (RFC 6891 §6.1.3), but only in errors of its own, which have neither answers nor
    /// authorities: of other responses the header says all. Its record is behind the question, which is as long as that of the
    /// query; 0 when that is not known.
    #[inline(always)]
    pub fn of(message: Message, header: Header, question: u32) -> Self {
        let is_extended = question != 0 && header.has_additions_only();
        let extension = if is_extended { extension(message, question).unwrap_or(0) } else { 0 };
        Self { header, extension: forget(extension.into(), header.0[0].into()) as u16 }
    }

    /// The response code.
    #[inline(always)]
    pub fn code(self) -> ResponseCode {
        ResponseCode::of(self.extension << 4 | self.header.rcode())
    }

    /// The bit TC.
    #[inline(always)]
    pub fn is_truncated(self) -> bool {
        self.header.is_truncated()
    }
}

/// The bits that EDNS adds to the response code, when its record comes first after the question.
#[inline(always)]
fn extension(message: Message, question: u32) -> Option<u16> {
    /// Enough for any question, and a bound for the verifier.
    const LENGTH_MASK: u32 = 0x1ff;
    /// The name of an OPT record, which is the root, and its type, in memory order.
    const OPT: u32 = u32::from_le_bytes([0, 0, 41, 0]);
    // Root, type, size of buffers, extended code: of seven bytes the last four begin with the lower half of that size.
    let (mut begin, mut rest) = (0_u32, 0_u32);
    let skip = HEADER_BYTES as u32 + (question & LENGTH_MASK);
    let at = message.offset + skip;
    let is_there = message.available >= skip + 7
        && message.packet.read(at, &mut begin)
        && message.packet.read(at + 3, &mut rest);
    (is_there && begin & 0x00ff_ffff == OPT & 0x00ff_ffff).then_some(rest.to_ne_bytes()[2].into())
}
