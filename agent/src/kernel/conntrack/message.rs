//! Messages of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h): requests, and the parser of answers.
//!
//! # Why no netlink crate
//!
//! Two were considered, for this file, `attributes.rs` and `netlink.rs` (411 lines without tests):
//!
//! - `netlink-packet-netfilter` 0.4 with `netlink-packet-core` 0.9 has typed conntrack attributes. It would replace
//!   `attributes.rs` and the parser here by matches over its nested enums: some 80 lines fewer, for 5 packages more (6 with
//!   `netlink-sys`). It parses every attribute into owned values, of which an entry of the table needs about twelve
//!   allocations (a vector per nested attribute, another for each unknown one), where we want six numbers of 200 bytes; with
//!   a million entries in a dump that is twelve million allocations. One attribute that it rejects fails the whole message.
//! - `neli` 0.7 has no conntrack types, so the attributes would stay ours; it replaces the header and the attribute iterator
//!   for 12 packages more. It sizes receive buffers by an environment variable (`NELI_AUTO_BUFFER_LEN`); we want 16 KiB,
//!   because the kernel handles no packet on that CPU while it fills the buffer.
//!
//! Neither replaces the socket: its buffer, timeout, truncation check and limit on a dump are the point of `netlink.rs`. A
//! crate becomes worth it with more kinds of messages than these two.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netcause_core::enrich::conntrack::Tracked;

use super::attributes::{Malformed, array, nested, put, put_nested};

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const FAMILY_HEADER: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// NFNL_SUBSYS_CTNETLINK, and in it IPCTNL_MSG_CT_NEW and IPCTNL_MSG_CT_GET.
const CT_NEW: u16 = 0x100;
const CT_GET: u16 = 0x101;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// Attributes of source and destination.
const CTA_IP_V4: [u16; 2] = [1, 2];
const CTA_IP_V6: [u16; 2] = [3, 4];
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_PORT: [u16; 2] = [2, 3];

/// Address families (`AF_*`).
const FAMILY_ANY: u8 = 0;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

const PROTOCOLS_WITH_PORTS: [u8; 3] = [
    netcause_common::flow::PROTOCOL_TCP,
    netcause_common::flow::PROTOCOL_UDP,
    132, // SCTP
];

/// A parsed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A connection; `None` for one without ports (ICMP).
    Connection(Option<Tracked>),
    /// A connection that cannot be parsed.
    Malformed,
    /// The end of the answer, with an error number, or 0.
    End(i32),
    /// A message of another type, or for another request.
    Other,
}

/// A request for one connection, by its two ends.
pub(super) fn ask_for_one(
    sequence: u32,
    protocol: u8,
    client: SocketAddr,
    destination: SocketAddr,
) -> Vec<u8> {
    let family = if destination.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    request(sequence, 0, family, |body| {
        put_nested(body, CTA_TUPLE_ORIG, |tuple| {
            put_nested(tuple, CTA_TUPLE_IP, |addresses| {
                for (end, address) in [client.ip(), destination.ip()].into_iter().enumerate() {
                    match address {
                        IpAddr::V4(v4) => put(addresses, CTA_IP_V4[end], &v4.octets()),
                        IpAddr::V6(v6) => put(addresses, CTA_IP_V6[end], &v6.octets()),
                    }
                }
            });
            put_nested(tuple, CTA_TUPLE_PROTO, |ports| {
                put(ports, CTA_PROTO_NUM, &[protocol]);
                put(ports, CTA_PROTO_PORT[0], &client.port().to_be_bytes());
                put(ports, CTA_PROTO_PORT[1], &destination.port().to_be_bytes());
            });
        });
    })
}

/// A request for the whole table, of both families.
pub(super) fn ask_for_all(sequence: u32) -> Vec<u8> {
    request(sequence, NLM_F_DUMP, FAMILY_ANY, |_| {})
}

fn request(sequence: u32, flags: u16, family: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut body);
    let length = u32::try_from(HEADER + FAMILY_HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + FAMILY_HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(CT_GET.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

/// The messages of one datagram. Ends with an error where the bytes are no messages.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
    sequence: u32,
}

impl<'a> Messages<'a> {
    /// Those that answer the request with this sequence number; the others are [`Message::Other`].
    pub(super) const fn new(bytes: &'a [u8], sequence: u32) -> Self {
        Self { rest: bytes, sequence }
    }

    fn read(&mut self) -> Result<Message, Malformed> {
        let header: [u8; HEADER] = *self.rest.first_chunk().ok_or(Malformed)?;
        let [l0, l1, l2, l3, t0, t1, _, _, s0, s1, s2, s3, ..] = header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(|_| Malformed)?;
        let body = self.rest.get(HEADER..length).ok_or(Malformed)?;
        // The last one may lack its padding.
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        if u32::from_ne_bytes([s0, s1, s2, s3]) != self.sequence {
            return Ok(Message::Other);
        }
        Ok(match u16::from_ne_bytes([t0, t1]) {
            CT_NEW => connection(body).map_or(Message::Malformed, Message::Connection),
            NLMSG_ERROR => Message::End(errno(body)?),
            // It has an error number when a dump failed midway; else 0 or nothing.
            NLMSG_DONE => Message::End(errno(body).unwrap_or(0)),
            NLMSG_OVERRUN => return Err(Malformed),
            _ => Message::Other,
        })
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

/// The error number; the kernel sends it negated.
fn errno(body: &[u8]) -> Result<i32, Malformed> {
    let number = i32::from_ne_bytes(*body.first_chunk().ok_or(Malformed)?);
    Ok(number.saturating_neg())
}

fn connection(body: &[u8]) -> Result<Option<Tracked>, Malformed> {
    let family = *body.first().ok_or(Malformed)?;
    let attributes = body.get(FAMILY_HEADER..).ok_or(Malformed)?;
    let original = nested(attributes, CTA_TUPLE_ORIG)?;
    let ports = nested(original, CTA_TUPLE_PROTO)?;
    let [protocol] = array(ports, CTA_PROTO_NUM)?;
    if !PROTOCOLS_WITH_PORTS.contains(&protocol) || !matches!(family, FAMILY_V4 | FAMILY_V6) {
        return Ok(None);
    }
    let [client, destination] = ends(original, family)?;
    let [answers_from, _] = ends(nested(attributes, CTA_TUPLE_REPLY)?, family)?;
    Ok(Some(Tracked { protocol, client, destination, answers_from }))
}

/// Source and destination of one direction.
fn ends(tuple: &[u8], family: u8) -> Result<[SocketAddr; 2], Malformed> {
    let addresses = nested(tuple, CTA_TUPLE_IP)?;
    let ports = nested(tuple, CTA_TUPLE_PROTO)?;
    let end = |which: usize| {
        let address = if family == FAMILY_V4 {
            IpAddr::V4(Ipv4Addr::from(array::<4>(addresses, CTA_IP_V4[which])?))
        } else {
            IpAddr::V6(Ipv6Addr::from(array::<16>(addresses, CTA_IP_V6[which])?))
        };
        Ok(SocketAddr::new(address, u16::from_be_bytes(array(ports, CTA_PROTO_PORT[which])?)))
    };
    Ok([end(0)?, end(1)?])
}
