//! DNS: what is counted of a client and its server, what is remembered of a query, and what the programs tell of an
//! answer.

mod counters;
mod detail;
mod question;

use bytemuck::{Pod, Zeroable};

pub use counters::*;
pub use detail::*;
pub use question::*;

use crate::endpoint::Address;
use crate::flow::{FlowKey, ROLE_CLIENT};

/// In [`FlowKey::protocol`]: DNS, over UDP and TCP together. IANA gives this number to a protocol that nobody speaks.
pub const PROTOCOL_DNS: u8 = 53;

/// Ports that can be configured.
pub const MAX_PORTS: usize = 8;

/// Octets of the head of every message (RFC 1035 §4.1.1).
pub const HEADER_OCTETS: usize = 12;

/// Octets that are kept of a query, for its name: the head, a name of 128 octets, type and class. Hardly any name is
/// longer.
pub const QUERY_OCTETS: usize = HEADER_OCTETS + 128 + 4;

/// Settings of the programs: a read-only global, so that what is switched off costs nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Settings {
    /// No answer within this time is a timeout.
    pub patience_ns: u64,
    /// Details of answers per [`DETAIL_WINDOW_NS`], of successes and of failures each; 0 keeps names in the kernel.
    pub details: u32,
    /// Ports of DNS in network order; those after a 0 are not looked at.
    pub ports: [u16; MAX_PORTS],
    /// Always zero.
    pub reserved: u32,
}

impl Settings {
    /// No port, so no DNS.
    pub const OFF: Self = Self { patience_ns: 0, details: 0, ports: [0; MAX_PORTS], reserved: 0 };
}

/// Where in the arrays of programs the one for UDP stands.
pub const OVER_UDP: u32 = 0;
/// Where the one for TCP stands.
pub const OVER_TCP: u32 = 1;

/// Tells a query from others that wait for their answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct QueryKey {
    /// As [`FlowKey::local`].
    pub local: u64,
    /// The peer.
    pub remote: Address,
    /// The peer's port, in host order.
    pub remote_port: u16,
    /// The port here, in host order.
    pub local_port: u16,
    /// The query's id, as it stands in the message.
    pub id: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// [`ROLE_CLIENT`] or [`crate::flow::ROLE_SERVER`]: what the local end is.
    pub role: u8,
}

impl QueryKey {
    /// Where the query counts. A server's clients are one: it may have as many as the internet.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self) -> FlowKey {
        let (remote, service_port) = if self.role == ROLE_CLIENT {
            (self.remote, self.remote_port)
        } else {
            (Address::ANY, self.local_port)
        };
        FlowKey {
            local: self.local,
            remote,
            service_port,
            protocol: PROTOCOL_DNS,
            role: self.role,
            reserved: 0,
        }
    }
}

/// A client's query that waits for its answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Asked {
    /// When it was sent first; CLOCK_MONOTONIC, nanoseconds.
    pub since_ns: u64,
    /// When it was sent last.
    pub last_ns: u64,
    /// Stands for the question: see [`question_hash`].
    pub question: u64,
    /// How often it was sent, less answers; 0 when it is done with and could not be removed.
    pub unanswered: u64,
}

/// A query that a server here has not answered yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Served {
    /// When it came first; CLOCK_MONOTONIC, nanoseconds.
    pub since_ns: u64,
    /// How often it came, less answers; 0 when it is done with and could not be removed.
    pub unanswered: u64,
}

/// How far the messages of a TCP connection were followed, by direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Streams {
    /// Those that the socket sends.
    pub sent: Stream,
    /// Those that it receives.
    pub received: Stream,
}

/// How far the messages in one direction of a TCP connection were followed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Stream {
    /// The sequence number at which the next thing to read begins.
    pub next: u32,
    /// What that is: [`Stream::UNKNOWN`], [`Stream::LENGTH`], [`Stream::SECOND_OCTET`] or [`Stream::MESSAGE`].
    pub stage: u16,
    /// At [`Stream::SECOND_OCTET`] the first one, at [`Stream::MESSAGE`] the message's length.
    pub length: u16,
}

impl Stream {
    /// Nothing was seen of the connection yet: what is kept at a socket begins as zeros.
    pub const UNKNOWN: u16 = 0;
    /// The two octets of length that every message begins with (RFC 1035 §4.2.2).
    pub const LENGTH: u16 = 1;
    /// The second of them.
    pub const SECOND_OCTET: u16 = 2;
    /// The message.
    pub const MESSAGE: u16 = 3;
}

const _: () = {
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<QueryKey>() == 32);
    assert!(size_of::<Asked>() == 32);
    assert!(size_of::<Served>() == 16);
    assert!(size_of::<Streams>() == 16);
};
