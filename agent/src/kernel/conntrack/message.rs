//! Messages of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h): requests, and the parser of answers.
//!
//! # Why no netlink crate
//!
//! Two were considered, for this file, `../netlink/attributes.rs` and `netlink.rs` (411 lines without tests):
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
//! Neither replaces the socket: its buffer, timeout, truncation check and limit on a dump are the point of `netlink.rs`.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netcause_core::enrich::conntrack::Tracked;
use netcause_core::node::conntrack::{Counter, Counters, Table};

use crate::kernel::netlink::attributes::{Malformed, array, find, nested, put, put_nested};
use crate::kernel::netlink::{self, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, Raw, errno};

/// `struct nfgenmsg`: family, version, resource.
const FAMILY_HEADER: usize = 4;

/// NFNL_SUBSYS_CTNETLINK, and in it IPCTNL_MSG_CT_NEW, _GET, _GET_STATS_CPU and _GET_STATS.
const CT_NEW: u16 = 0x100;
const CT_GET: u16 = 0x101;
const CT_GET_STATS_CPU: u16 = 0x104;
const CT_GET_STATS: u16 = 0x105;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// Attributes of source and destination.
const CTA_IP_V4: [u16; 2] = [1, 2];
const CTA_IP_V6: [u16; 2] = [3, 4];
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_PORT: [u16; 2] = [2, 3];

const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;
/// CTA_STATS_INVALID, _INSERT_FAILED, _DROP, _EARLY_DROP, _ERROR, in the order of [`Counter`].
const CTA_STATS: [u16; Counter::COUNT] = [4, 9, 10, 11, 12];

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
    /// Entries of the table and its limit, without counters.
    Table(Table),
    /// Counters of a CPU.
    Cpu(Counters),
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
    request(CT_GET, sequence, 0, family, |body| {
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
    request(CT_GET, sequence, NLM_F_DUMP, FAMILY_ANY, |_| {})
}

/// A request for the number of entries and its limit.
pub(super) fn ask_for_size(sequence: u32) -> Vec<u8> {
    request(CT_GET_STATS, sequence, 0, FAMILY_ANY, |_| {})
}

/// A request for the counters of every CPU.
pub(super) fn ask_for_counters(sequence: u32) -> Vec<u8> {
    request(CT_GET_STATS_CPU, sequence, NLM_F_DUMP, FAMILY_ANY, |_| {})
}

fn request(kind: u16, sequence: u32, flags: u16, family: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    write(&mut body);
    netlink::request(kind, flags, sequence, &body)
}

/// The messages of one datagram. Ends with an error where the bytes are no messages.
pub(super) struct Messages<'a> {
    messages: netlink::Messages<'a>,
    sequence: u32,
}

impl<'a> Messages<'a> {
    /// Those that answer the request with this sequence number; the others are [`Message::Other`].
    pub(super) const fn new(bytes: &'a [u8], sequence: u32) -> Self {
        Self { messages: netlink::Messages(bytes), sequence }
    }

    fn parse(&self, Raw { kind, sequence, body }: Raw<'_>) -> Result<Message, Malformed> {
        if sequence != self.sequence {
            return Ok(Message::Other);
        }
        Ok(match kind {
            CT_NEW => connection(body).map_or(Message::Malformed, Message::Connection),
            CT_GET_STATS => Message::Table(table(body)?),
            CT_GET_STATS_CPU => Message::Cpu(counters(body)?),
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
        let message = self.messages.next()?.and_then(|raw| self.parse(raw));
        if message.is_err() {
            self.messages = netlink::Messages(&[]);
        }
        Some(message)
    }
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

fn table(body: &[u8]) -> Result<Table, Malformed> {
    let attributes = body.get(FAMILY_HEADER..).ok_or(Malformed)?;
    let entries = u32::from_be_bytes(array(attributes, CTA_STATS_GLOBAL_ENTRIES)?).into();
    // From Linux 4.18 on.
    let limit = find(attributes, CTA_STATS_GLOBAL_MAX_ENTRIES)?;
    let limit = limit.and_then(|value| value.try_into().ok()).map(|value| u32::from_be_bytes(value).into());
    Ok(Table { entries, limit, ..Table::default() })
}

fn counters(body: &[u8]) -> Result<Counters, Malformed> {
    let attributes = body.get(FAMILY_HEADER..).ok_or(Malformed)?;
    let mut counters = Counters::default();
    for (counter, attribute) in counters.iter_mut().zip(CTA_STATS) {
        *counter = u32::from_be_bytes(array(attributes, attribute)?).into();
    }
    Ok(counters)
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
