//! DNS over TCP: messages one after the other, each behind two octets of its length (RFC 1035 §4.2.2).
//!
//! Segments are seen on their way, so some are seen twice and some too early. What was read already is known by its
//! sequence number; where something is missing, the next segment is taken to begin a message, as it does in practice.
//!
//! How far each direction was followed is kept at the socket itself and ends with it. A segment that makes the connection
//! complete is still the listening socket's, which has no place for it: it is read by itself.

use netcause_common::dns::{HEADER_OCTETS, Stream};
use netcause_common::statistics::Statistic;

use super::question::Words;
use super::{Carried, Head, Message, is_port, message};
use crate::maps::{DNS_STREAMS, count};
use crate::packet::{Direction, Ip, Packet, Segment};

/// A message's beginning, copied at once: what TCP carries lies in pages, where every look costs a call.
#[repr(C)]
struct Beginning {
    /// Puts the rest where it can be read in words.
    padding: u16,
    /// Octets of the message, in network order.
    length: u16,
    head: Head,
    question: Words,
}

/// Octets of a message's length.
const PREFIX: u32 = size_of::<u16>() as u32;
const HEAD: u32 = HEADER_OCTETS as u32;
const QUESTION: u32 = size_of::<Words>() as u32;

/// Reads the next message of a segment; true when there may be another.
#[inline(always)]
pub fn segment(packet: Packet, ip: Ip, direction: Direction) -> bool {
    let Some(segment) = packet.segment(ip, direction) else { return false };
    if segment.length == 0 && !segment.is_syn {
        return false;
    }
    let kept = kept(packet, direction);
    // A connection that is older than the agent: its next segment begins a message, most likely.
    let begin = Stream { next: segment.sequence, stage: Stream::LENGTH, length: 0 };
    if segment.is_syn {
        keep(kept, Stream { next: begin.next.wrapping_add(1), ..begin });
        return false;
    }
    let mut stream = match kept {
        // SAFETY: the pointer comes from the socket's lookup. Should another CPU follow the same direction of the same
        // connection meanwhile, a message is missed.
        #[expect(unsafe_code, reason = "map value")]
        Some(kept) => unsafe { *kept },
        None => begin,
    };
    let mut skip = stream.next.wrapping_sub(segment.sequence);
    if stream.stage == Stream::UNKNOWN {
        stream = begin;
        skip = 0;
    } else if skip > u32::MAX / 2 {
        count(Statistic::DnsUnfollowed);
        stream = begin;
        skip = 0;
    }
    if skip >= segment.length {
        return false;
    }
    read(packet, &segment, skip, stream, kept, direction)
}

/// Reads the message that begins behind the octets to skip, or goes on there.
#[inline(always)]
fn read(
    packet: Packet,
    segment: &Segment,
    skip: u32,
    stream: Stream,
    kept: Option<*mut Stream>,
    direction: Direction,
) -> bool {
    let mut beginning =
        Beginning { padding: 0, length: 0, head: Head::default(), question: Words::default() };
    // An answer's question is not looked at.
    let server_port =
        if direction == Direction::Sent { segment.ends.remote_port } else { segment.ends.local_port };
    let has_question = is_port(server_port.to_be());
    let wanted = if has_question { HEAD + QUESTION } else { HEAD };
    let mut offset = segment.payload + skip;
    let mut available = segment.length - skip;
    let mut next = stream.next;
    let length = if stream.stage == Stream::LENGTH {
        if available == 1 {
            let mut first = [0_u8; 1];
            packet.load(offset, &mut first);
            keep(
                kept,
                Stream { next: next.wrapping_add(1), stage: Stream::SECOND_OCTET, length: first[0].into() },
            );
            return false;
        }
        let to = (&raw mut beginning.length).cast();
        // SAFETY: the room is that from the length on.
        #[expect(unsafe_code, reason = "a length that varies")]
        unsafe {
            let wanted = available.min(PREFIX + wanted);
            packet.load_up_to::<{ (PREFIX + HEAD + QUESTION) as usize }>(offset, to, wanted);
        }
        offset += PREFIX;
        available -= PREFIX;
        next = next.wrapping_add(PREFIX);
        u16::from_be(beginning.length)
    } else {
        let mut length = stream.length;
        if stream.stage == Stream::SECOND_OCTET {
            let mut second = [0_u8; 1];
            packet.load(offset, &mut second);
            length = u16::from_be_bytes([length as u8, second[0]]);
            offset += 1;
            available -= 1;
            next = next.wrapping_add(1);
        }
        let to = (&raw mut beginning.head).cast();
        // SAFETY: the room is that from the head on.
        #[expect(unsafe_code, reason = "a length that varies")]
        unsafe {
            packet.load_up_to::<{ (HEAD + QUESTION) as usize }>(offset, to, available.min(wanted));
        }
        length
    };
    if available == 0 {
        keep(kept, Stream { next, stage: Stream::MESSAGE, length });
        return false;
    }
    let length = u32::from(length);
    keep(kept, Stream { next: next.wrapping_add(length), stage: Stream::LENGTH, length: 0 });
    if available < HEAD && length > available {
        count(Statistic::DnsUnfollowed);
        return false;
    }
    // What was copied must be of this message alone.
    let question = (has_question && (length >= available || length >= wanted)).then_some(&beginning.question);
    let is_more = available > length;
    let message = Message {
        packet,
        local: packet.cgroup(),
        ends: segment.ends,
        datagrams: Carried { count: 0, bytes: 0 },
        offset,
        length,
        available: if is_more { length } else { available },
    };
    let head = (message.available >= HEAD).then_some(beginning.head);
    self::message(message, head, question, direction);
    if kept.is_none() && is_more {
        count(Statistic::DnsUnfollowed);
        return false;
    }
    is_more
}

/// How far this direction of the packet's connection was followed, at its socket.
#[inline(always)]
fn kept(packet: Packet, direction: Direction) -> Option<*mut Stream> {
    let streams = packet.at_socket(&DNS_STREAMS)?;
    // SAFETY: the pointer comes from the socket's lookup; only an address is taken.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        Some(match direction {
            Direction::Sent => &raw mut (*streams).sent,
            Direction::Received => &raw mut (*streams).received,
        })
    }
}

#[inline(always)]
fn keep(kept: Option<*mut Stream>, stream: Stream) {
    if let Some(kept) = kept {
        // SAFETY: as in `segment`.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            *kept = stream;
        }
    }
}
