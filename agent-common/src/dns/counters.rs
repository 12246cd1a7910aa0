//! What is counted of one end's DNS.

use bytemuck::{Pod, Zeroable};

/// What a query asks for (RFC 1035 §3.2.2 and IANA's registry): index into [`DnsCounters::queries`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryType {
    /// IPv4 address.
    A = 0,
    /// IPv6 address (RFC 3596).
    Aaaa = 1,
    /// Canonical name.
    Cname = 2,
    /// HTTPS binding (RFC 9460).
    Https = 3,
    /// Mail exchange.
    Mx = 4,
    /// Name server.
    Ns = 5,
    /// Name of an address.
    Ptr = 6,
    /// Start of a zone.
    Soa = 7,
    /// Location of a service (RFC 2782).
    Srv = 8,
    /// Text.
    Txt = 9,
    /// Any other, and a question that could not be read.
    Other = 10,
}

impl QueryType {
    /// Every type, in index order.
    pub const ALL: [Self; 11] = [
        Self::A,
        Self::Aaaa,
        Self::Cname,
        Self::Https,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
        Self::Other,
    ];

    /// From the number in a question.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            1 => Self::A,
            28 => Self::Aaaa,
            5 => Self::Cname,
            65 => Self::Https,
            15 => Self::Mx,
            2 => Self::Ns,
            12 => Self::Ptr,
            6 => Self::Soa,
            33 => Self::Srv,
            16 => Self::Txt,
            _ => Self::Other,
        }
    }
}

/// What a server answers (RFC 1035 §4.1.1): index into [`DnsCounters::responses`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCode {
    /// The name exists; whether it has what was asked for is another matter.
    NoError = 0,
    /// The server does not understand the query.
    FormErr = 1,
    /// The server failed.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// The server does not do this.
    NotImp = 4,
    /// The server will not do this.
    Refused = 5,
    /// Any other.
    Other = 6,
}

impl ResponseCode {
    /// Every code, in index order.
    pub const ALL: [Self; 7] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::Other,
    ];

    /// From the four bits in the head of a message; what EDNS adds to them (RFC 6891 §6.1.3) is not looked at.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            _ => Self::Other,
        }
    }
}

/// Upper bounds of answer times in nanoseconds: 100 µs to 30 s; what is slower falls into one more bucket.
pub const DNS_BOUNDS_NS: [u64; 17] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// How long answers took.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct AnswerDuration {
    /// Answers per bucket (not cumulative); the last one is above every bound.
    pub buckets: [u64; DNS_BOUNDS_NS.len() + 1],
    /// Sum of all in nanoseconds.
    pub sum_ns: u64,
}

impl AnswerDuration {
    /// Nothing observed.
    pub const ZERO: Self = Self { buckets: [0; DNS_BOUNDS_NS.len() + 1], sum_ns: 0 };
}

/// The bucket a duration falls into; see [`crate::histogram::connect_bucket`].
#[inline(always)]
#[must_use]
pub const fn answer_bucket(duration_ns: u64) -> usize {
    let mut index = 0;
    while index < DNS_BOUNDS_NS.len() {
        if duration_ns <= DNS_BOUNDS_NS[index] {
            return index;
        }
        index += 1;
    }
    DNS_BOUNDS_NS.len()
}

/// What is counted of one end's DNS, since the agent started: of a client per server, of a server for all its clients
/// together.
///
/// Every query is answered, timed out, still waited for, or was not tracked: `queries = responses − late + timeouts +
/// waiting + untracked − untracked_answered`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DnsCounters {
    /// Queries, each packet or message of them, by [`QueryType`].
    pub queries: [u64; QueryType::ALL.len()],
    /// Answers to them, by [`ResponseCode`].
    pub responses: [u64; ResponseCode::ALL.len()],
    /// First query to answer.
    pub duration: AnswerDuration,
    /// Queries with a question that the same workload had asked before and was waiting for.
    pub retries: u64,
    /// Answers that say that they are cut short.
    pub truncated: u64,
    /// Queries that were not answered in time.
    pub timeouts: u64,
    /// Those that were answered after that.
    pub late: u64,
    /// Answers to nothing that was asked.
    pub unmatched: u64,
    /// Queries that found no room to wait for their answer: it counts, when it comes, but without latency.
    pub untracked: u64,
    /// Answers to those.
    pub untracked_answered: u64,
    /// What went over UDP: these datagrams are in no other table.
    pub udp: Datagrams,
}

/// Datagrams of DNS and their payload in octets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Datagrams {
    /// Sent.
    pub sent: u64,
    /// Payload of those.
    pub sent_bytes: u64,
    /// Received.
    pub received: u64,
    /// Payload of those.
    pub received_bytes: u64,
}

impl DnsCounters {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        queries: [0; QueryType::ALL.len()],
        responses: [0; ResponseCode::ALL.len()],
        duration: AnswerDuration::ZERO,
        retries: 0,
        truncated: 0,
        timeouts: 0,
        late: 0,
        unmatched: 0,
        untracked: 0,
        untracked_answered: 0,
        udp: Datagrams { sent: 0, sent_bytes: 0, received: 0, received_bytes: 0 },
    };
}

const _: () = assert!(size_of::<DnsCounters>() == 8 * (11 + 7 + 19 + 7 + 4));
