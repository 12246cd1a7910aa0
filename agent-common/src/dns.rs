//! DNS: counters of a client and its server, the state of pending queries, and the details of responses that the
//! programs emit.

mod counters;
mod detail;
mod question;

use bytemuck::{Pod, Zeroable};

pub use counters::*;
pub use detail::*;
pub use question::*;

use crate::endpoint::Address;
use crate::flow::{FlowKey, ROLE_CLIENT};

/// In [`FlowKey::protocol`]: DNS over UDP and TCP. IANA assigns this number to SWIPE, which is not in use.
pub const PROTOCOL_DNS: u8 = 53;

/// Maximum number of configured ports.
pub const MAX_PORTS: usize = 8;

/// Length of the header of a message (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;

/// How much of a query is kept, for its name: the header, a name of 128 bytes, type and class. Few names are longer.
pub const QUERY_BYTES: usize = HEADER_BYTES + 128 + 4;

/// Settings of the programs: a read-only global, so that the verifier removes the code of what is switched off.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Settings {
    /// A query without a response within this time, in nanoseconds, has timed out.
    pub timeout_ns: u64,
    /// Maximum number of response details per [`DETAIL_WINDOW_NS`], for successes and for failures each; with 0 no name
    /// leaves the kernel.
    pub details: u32,
    /// Ports of DNS in network order; a 0 ends the list.
    pub ports: [u16; MAX_PORTS],
    /// Always zero.
    pub reserved: u32,
}

impl Settings {
    /// No port: DNS is off.
    pub const OFF: Self = Self { timeout_ns: 0, details: 0, ports: [0; MAX_PORTS], reserved: 0 };
}

/// Index of the program for UDP in the program arrays.
pub const OVER_UDP: u32 = 0;
/// Index of the program for TCP in the program arrays.
pub const OVER_TCP: u32 = 1;

/// Key of a pending query.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct QueryKey {
    /// As [`FlowKey::local`].
    pub local: u64,
    /// The peer's address.
    pub remote: Address,
    /// The peer's port, in host order.
    pub remote_port: u16,
    /// The local port, in host order.
    pub local_port: u16,
    /// The query's id, in network order.
    pub id: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Role of the local end: [`ROLE_CLIENT`] or [`crate::flow::ROLE_SERVER`]; the bits above [`Self::ROLE`] are zero but
    /// for [`Self::with_question`].
    pub role: u8,
}

impl QueryKey {
    /// Mask of the role in [`Self::role`].
    const ROLE: u8 = 3;

    /// The key of another question under the same id, from the same socket to the same server: some resolvers ask for A
    /// and AAAA under one id. It has five bits of the hash of the question.
    #[inline(always)]
    #[must_use]
    pub const fn with_question(&self, hash: u64) -> Self {
        Self { role: self.role & Self::ROLE | (((hash >> 59) as u8 + 1) << 2), ..*self }
    }

    /// The flow that the query counts for. All clients of a server share one: there may be as many as the internet has.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self) -> FlowKey {
        self.flow_in(self.role & Self::ROLE)
    }

    /// The same, for those who know the role.
    #[inline(always)]
    #[must_use]
    pub const fn flow_in(&self, role: u8) -> FlowKey {
        let (remote, service_port) = if role == ROLE_CLIENT {
            (self.remote, self.remote_port)
        } else {
            (Address::ANY, self.local_port)
        };
        FlowKey { local: self.local, remote, service_port, protocol: PROTOCOL_DNS, role, reserved: 0 }
    }
}

/// A pending query of a local client.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Asked {
    /// When it was first sent; CLOCK_MONOTONIC, nanoseconds.
    pub since_ns: u64,
    /// When it was last sent; CLOCK_MONOTONIC, nanoseconds.
    pub last_ns: u64,
    /// Hash of the question: [`question_hash`].
    pub question: u64,
    /// Cookie of the socket (`sock_gen_cookie`), which no other socket ever has; 0 without one.
    pub socket: u64,
    /// Transmissions minus responses; 0 when it is complete but could not be removed.
    pub unanswered: u32,
    /// [`Asked::SHARES_ID`] and [`Asked::REPEATED`].
    pub marks: u16,
    /// Length of the question in bytes; 0 when it cannot be read.
    pub length: u16,
}

impl ClosedSocket {
    /// Set in [`Self::at_ns`]: ICMP said at that time that there will be no answer, whatever becomes of the socket.
    pub const REFUSED: u64 = 1 << 63;
}

impl Asked {
    /// Other questions wait under the same id ([`QueryKey::with_question`]): it is kept until the timeout.
    pub const SHARES_ID: u16 = 1;
    /// It was sent again: its client has waited in vain.
    pub const REPEATED: u16 = 2;
}

/// A socket that may have asked, and is closed: a slot of a direct-mapped table, by the remainder of the cookie. A hint:
/// another socket may have taken the slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ClosedSocket {
    /// The socket's cookie, as [`Asked::socket`].
    pub socket: u64,
    /// When it was closed; CLOCK_MONOTONIC, nanoseconds.
    pub at_ns: u64,
}

/// A query that a local server has not answered yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Served {
    /// When it first arrived; CLOCK_MONOTONIC, nanoseconds.
    pub since_ns: u64,
    /// Arrivals minus responses; 0 when it is complete but could not be removed.
    pub unanswered: u32,
    /// Length of the question in bytes; 0 when it cannot be read.
    pub length: u32,
}

/// Reassembly state of a TCP connection, by direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Streams {
    /// Messages that the socket sends.
    pub sent: Stream,
    /// Messages that the socket receives.
    pub received: Stream,
}

/// Reassembly state of one direction of a TCP connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Stream {
    /// Sequence number of the next byte to read.
    pub next: u32,
    /// What begins there: [`Stream::UNKNOWN`], [`Stream::LENGTH`], [`Stream::SECOND_BYTE`] or [`Stream::MESSAGE`].
    pub stage: u16,
    /// At [`Stream::SECOND_BYTE`] the first byte of the length, at [`Stream::MESSAGE`] the length of the message.
    pub length: u16,
}

impl Stream {
    /// No segment seen yet: the storage of a socket starts as zeros.
    pub const UNKNOWN: u16 = 0;
    /// The two-byte length in front of every message (RFC 1035 §4.2.2).
    pub const LENGTH: u16 = 1;
    /// The second byte of the length.
    pub const SECOND_BYTE: u16 = 2;
    /// The message itself.
    pub const MESSAGE: u16 = 3;
}

const _: () = {
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<QueryKey>() == 32);
    assert!(size_of::<Asked>() == 40);
    assert!(size_of::<ClosedSocket>() == 16);
    assert!(size_of::<Served>() == 16);
    assert!(size_of::<Streams>() == 16);
};
