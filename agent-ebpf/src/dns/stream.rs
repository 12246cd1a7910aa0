//! DNS over TCP: messages one after the other, each behind two octets of its length (RFC 1035 §4.2.2).
//!
//! Segments are seen on their way, so some are seen twice and some too early. What was read already is known by its
//! sequence number; where something is missing, the next segment is taken to begin a message, as it does in practice.

use aya_ebpf::bindings::BPF_ANY;
use netcause_common::dns::{HEADER_OCTETS, QueryKey, Stream};
use netcause_common::flow::PROTOCOL_TCP;
use netcause_common::statistics::Statistic;

use super::{Carried, Message, message};
use crate::maps::{DNS_STREAMS, count};
use crate::packet::{Direction, Ip, Packet, Segment};

/// Reads the next message of a segment; true when there may be another.
#[inline(always)]
pub fn segment(packet: Packet, ip: Ip, direction: Direction) -> bool {
    let Some(segment) = packet.segment(ip, direction) else { return false };
    let key = QueryKey {
        local: packet.cgroup(),
        remote: segment.ends.remote,
        remote_port: segment.ends.remote_port,
        local_port: segment.ends.local_port,
        id: 0,
        protocol: PROTOCOL_TCP,
        role: direction as u8,
    };
    if segment.is_syn {
        let next = segment.sequence.wrapping_add(1);
        remember(&key, Stream { next, stage: Stream::LENGTH, length: 0 });
        return false;
    }
    if segment.length == 0 {
        if segment.is_end {
            let _ = DNS_STREAMS.remove(key);
        }
        return false;
    }
    follow(packet, &segment, &key, direction)
}

#[inline(always)]
fn follow(packet: Packet, segment: &Segment, key: &QueryKey, direction: Direction) -> bool {
    let begin = Stream { next: segment.sequence, stage: Stream::LENGTH, length: 0 };
    // A connection that is older than the agent: its next segment begins a message, most likely.
    let Some(entry) = find_or_make(key, begin) else { return false };
    // SAFETY: the pointer comes from the table's lookup. Should another CPU follow the same direction of the same
    // connection meanwhile, a message is missed.
    #[expect(unsafe_code, reason = "map value")]
    let entry = unsafe { &mut *entry };
    let mut stream = *entry;
    let mut skip = stream.next.wrapping_sub(segment.sequence);
    if skip > u32::MAX / 2 {
        count(Statistic::DnsUnfollowed);
        stream = begin;
        skip = 0;
    }
    if skip >= segment.length {
        return false;
    }
    let mut offset = segment.payload + skip;
    let mut available = segment.length - skip;
    if stream.stage != Stream::MESSAGE {
        let Some(prefix) = length(packet, &mut stream, &mut offset, &mut available) else {
            *entry = stream;
            return false;
        };
        stream = prefix;
    }
    if available == 0 {
        *entry = stream;
        return false;
    }
    let length = u32::from(stream.length);
    *entry = Stream { next: stream.next.wrapping_add(length), stage: Stream::LENGTH, length: 0 };
    if available < HEADER_OCTETS as u32 && length > available {
        count(Statistic::DnsUnfollowed);
        return false;
    }
    message(
        Message {
            packet,
            ends: segment.ends,
            datagrams: Carried { count: 0, bytes: 0 },
            offset,
            length,
            available: if available < length { available } else { length },
        },
        direction,
    );
    available > length
}

/// Reads the length of the next message; `None` when only its first octet is there.
#[inline(always)]
fn length(packet: Packet, stream: &mut Stream, offset: &mut u32, available: &mut u32) -> Option<Stream> {
    let mut octets = [0_u8; 2];
    let mut read = 2;
    if stream.stage == Stream::SECOND_OCTET {
        let mut second = [0_u8; 1];
        packet.load(*offset, &mut second);
        octets = [stream.length as u8, second[0]];
        read = 1;
    } else if *available == 1 {
        let mut first = [0_u8; 1];
        packet.load(*offset, &mut first);
        *stream = Stream {
            next: stream.next.wrapping_add(1),
            stage: Stream::SECOND_OCTET,
            length: first[0].into(),
        };
        return None;
    } else {
        packet.load(*offset, &mut octets);
    }
    *offset += read;
    *available -= read;
    Some(Stream {
        next: stream.next.wrapping_add(read),
        stage: Stream::MESSAGE,
        length: u16::from_be_bytes(octets),
    })
}

#[inline(always)]
fn find_or_make(key: &QueryKey, begin: Stream) -> Option<*mut Stream> {
    if let Some(entry) = DNS_STREAMS.get_ptr_mut(key) {
        return Some(entry);
    }
    remember(key, begin);
    DNS_STREAMS.get_ptr_mut(key)
}

#[inline(always)]
fn remember(key: &QueryKey, stream: Stream) {
    // When there is no memory for it, the next segment is taken to begin a message.
    let _ = DNS_STREAMS.insert(key, stream, u64::from(BPF_ANY));
}
