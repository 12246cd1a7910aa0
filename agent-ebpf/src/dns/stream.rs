//! DNS over TCP: a sequence of messages, each with its two-byte length in front (RFC 1035 §4.2.2).
//!
//! Programs see segments in transit, so some come twice and some out of order. Data that was read already is recognized by
//! its sequence number; after a gap, the next segment is assumed to start a message, as it does in practice.
//!
//! The state of each direction is in the storage of the socket and ends with it. A segment that completes the handshake
//! still belongs to the listening socket, which has no such storage: it is read without state.

use core::ptr::NonNull;

use netcause_common::dns::{HEADER_BYTES, Stream};
use netcause_common::statistics::Statistic;

use super::dispatch::count_message;
use super::message::{Header, Message};
use super::question::Words;
use crate::maps::{DNS_STREAMS, count};
use crate::packet::{Direction, Ip, Packet, Segment, Volume};
use crate::settings::is_dns_port;

/// Where the state of a direction is. With an address that is never zero, `None` is one word: of two, the compiler may read the
/// second before it has compared the first, and older verifiers (5.10) refuse to read what was not written.
type State = Option<NonNull<Stream>>;

/// Start of a message, copied at once: TCP payload lies in pages, where every read costs a helper call.
#[repr(C)]
struct Beginning {
    /// Aligns the header to words.
    padding: u16,
    /// Length of the message, in network order.
    length: u16,
    header: Header,
    question: Words,
}

/// Size of the length field in front of a message.
const PREFIX: u32 = size_of::<u16>() as u32;
const HEADER: u32 = HEADER_BYTES as u32;
const QUESTION: u32 = size_of::<Words>() as u32;

/// Reads the next message of a segment; true when there may be another.
#[inline(always)]
pub fn segment(packet: Packet, ip: Ip, direction: Direction) -> bool {
    let Some(segment) = packet.segment(ip, direction) else { return false };
    if segment.length == 0 && !segment.is_syn {
        return false;
    }
    let state = state(packet, direction);
    // A connection from before the agent started: its next segment most likely starts a message.
    let begin = Stream { next: segment.sequence, stage: Stream::LENGTH, length: 0 };
    if segment.is_syn {
        store(state, Stream { next: begin.next.wrapping_add(1), ..begin });
        return false;
    }
    let mut stream = match state {
        // SAFETY: the pointer comes from the lookup of the socket's storage. If another CPU handles the same direction of the
        // same connection at the same time, a message is missed.
        #[expect(unsafe_code, reason = "map value")]
        Some(state) => unsafe { state.read() },
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
    read(packet, &segment, skip, stream, state, direction)
}

/// Reads the message that starts or continues after `skip` bytes of the segment.
#[inline(always)]
fn read(
    packet: Packet,
    segment: &Segment,
    skip: u32,
    stream: Stream,
    state: State,
    direction: Direction,
) -> bool {
    let mut beginning =
        Beginning { padding: 0, length: 0, header: Header::default(), question: Words::default() };
    // The question of a response is not read.
    let server_port =
        if direction == Direction::Sent { segment.ends.remote_port } else { segment.ends.local_port };
    let has_question = is_dns_port(server_port.to_be());
    let wanted = if has_question { HEADER + QUESTION } else { HEADER };
    let mut offset = segment.payload + skip;
    let mut available = segment.length - skip;
    let mut next = stream.next;
    let length = if stream.stage == Stream::LENGTH {
        if available == 1 {
            let mut first = [0_u8; 1];
            packet.load(offset, &mut first);
            store(
                state,
                Stream { next: next.wrapping_add(1), stage: Stream::SECOND_BYTE, length: first[0].into() },
            );
            return false;
        }
        let to = (&raw mut beginning.length).cast();
        // SAFETY: the size is that of the struct from `length` on.
        #[expect(unsafe_code, reason = "a length that varies")]
        unsafe {
            let wanted = available.min(PREFIX + wanted);
            packet.load_up_to::<{ (PREFIX + HEADER + QUESTION) as usize }>(offset, to, wanted);
        }
        offset += PREFIX;
        available -= PREFIX;
        next = next.wrapping_add(PREFIX);
        u16::from_be(beginning.length)
    } else {
        let mut length = stream.length;
        if stream.stage == Stream::SECOND_BYTE {
            let mut second = [0_u8; 1];
            packet.load(offset, &mut second);
            length = u16::from_be_bytes([length as u8, second[0]]);
            offset += 1;
            available -= 1;
            next = next.wrapping_add(1);
        }
        let to = (&raw mut beginning.header).cast();
        // SAFETY: the size is that of the struct from `header` on.
        #[expect(unsafe_code, reason = "a length that varies")]
        unsafe {
            packet.load_up_to::<{ (HEADER + QUESTION) as usize }>(offset, to, available.min(wanted));
        }
        length
    };
    if available == 0 {
        store(state, Stream { next, stage: Stream::MESSAGE, length });
        return false;
    }
    let length = u32::from(length);
    store(state, Stream { next: next.wrapping_add(length), stage: Stream::LENGTH, length: 0 });
    if available < HEADER && length > available {
        count(Statistic::DnsUnfollowed);
        return false;
    }
    // The copy must not reach into the next message.
    let question = (has_question && (length >= available || length >= wanted)).then_some(&beginning.question);
    let is_more = available > length;
    let message = Message {
        packet,
        local: packet.cgroup(),
        ends: segment.ends,
        datagrams: Volume { count: 0, bytes: 0 },
        offset,
        length,
        available: if is_more { length } else { available },
    };
    let header = (message.available >= HEADER).then_some(beginning.header);
    count_message(message, header, question, direction);
    if state.is_none() && is_more {
        count(Statistic::DnsUnfollowed);
        return false;
    }
    is_more
}

/// State of this direction of the packet's connection, in the storage of its socket.
#[inline(always)]
fn state(packet: Packet, direction: Direction) -> State {
    let streams = packet.storage(&DNS_STREAMS)?;
    // SAFETY: the pointer comes from the lookup of the socket's storage, checked for NULL; only an address is taken.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        Some(NonNull::new_unchecked(match direction {
            Direction::Sent => &raw mut (*streams).sent,
            Direction::Received => &raw mut (*streams).received,
        }))
    }
}

#[inline(always)]
fn store(state: State, stream: Stream) {
    if let Some(state) = state {
        // SAFETY: as in `segment`.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            state.write(stream);
        }
    }
}
