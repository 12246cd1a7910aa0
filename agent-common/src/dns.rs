//! DNS: what is counted of a client and its server, what is remembered of a query, and what the programs tell of an
//! answer.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::Address;
use crate::flow::{FlowKey, ROLE_CLIENT};
use crate::wire::EventHeader;

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

/// How often the number of details begins anew.
pub const DETAIL_WINDOW_NS: u64 = 100_000_000;

/// Details let through in the present window, by [`Outcome`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DetailWindow {
    /// The window's number since boot.
    pub number: u64,
    /// Let through.
    pub count: u64,
}

/// How an answer came out: each has its own share of details, so that a storm of one does not hide the other.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// NOERROR.
    Success = 0,
    /// Everything else.
    Failure = 1,
}

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
/// waiting + untracked − untracked_answered`, where `responses` leaves out the latter.
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

/// How far the messages in one direction of a TCP connection were followed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Stream {
    /// The sequence number at which the next thing to read begins.
    pub next: u32,
    /// What that is: [`Stream::LENGTH`], [`Stream::SECOND_OCTET`] or [`Stream::MESSAGE`].
    pub stage: u16,
    /// At [`Stream::SECOND_OCTET`] the first one, at [`Stream::MESSAGE`] the message's length.
    pub length: u16,
}

impl Stream {
    /// The two octets of length that every message begins with (RFC 1035 §4.2.2).
    pub const LENGTH: u16 = 0;
    /// The second of them.
    pub const SECOND_OCTET: u16 = 1;
    /// The message.
    pub const MESSAGE: u16 = 2;
}

/// The question that was asked last among those that fall into one slot of a table: it tells repetitions, and the name of
/// what is not answered. A hint: another question may have taken the slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LastQuestion {
    /// Of the workload and the question: see [`question_tag`].
    pub tag: u64,
    /// When it was asked; CLOCK_MONOTONIC, nanoseconds.
    pub asked_ns: u64,
    /// The query's id.
    pub id: u16,
    /// The port here.
    pub local_port: u16,
    /// [`LastQuestion::ANSWERED`], [`LastQuestion::WAITS`] or [`LastQuestion::FAILED`].
    pub state: u16,
    /// Octets of the message that are kept.
    pub length: u16,
    /// The query's beginning, or nothing when names stay in the kernel.
    pub message: [u8; QUERY_OCTETS],
}

impl LastQuestion {
    /// It was answered.
    pub const ANSWERED: u16 = 0;
    /// It was not.
    pub const WAITS: u16 = 1;
    /// It was answered with a failure: whoever asks with the same id goes on to the next server.
    pub const FAILED: u16 = 2;
}

/// Stands for a question of a workload: its slot is the remainder by the number of slots.
#[inline(always)]
#[must_use]
pub const fn question_tag(local: u64, question: u64) -> u64 {
    question ^ local.wrapping_mul(MULTIPLIER)
}

/// Odd, and its bits look random: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Adds eight octets of a name, the first in the lowest bits, to the hash of a question.
#[inline(always)]
#[must_use]
pub const fn question_mix(hash: u64, word: u64) -> u64 {
    /// Makes capital letters small, and other octets something else that is as good for a hash.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let product = (hash ^ (word | SMALL)).wrapping_mul(MULTIPLIER);
    product ^ (product >> 32)
}

/// The hash of a message's question, as the programs make it: of the name without its final zero, in words of eight octets
/// that end with zeros, and then of the type. The same for the same question in any case of letters. `None` when the
/// name does not end in what is there.
#[must_use]
pub fn question_hash(message: &[u8]) -> Option<u64> {
    let question = message.get(HEADER_OCTETS..)?;
    let end = question.iter().position(|octet| *octet == 0)?;
    let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
    let mut hash = 0;
    // The last word is mixed in even if it is empty, as the programs find the end in a word of its own then.
    let mut rest = question.get(..end)?;
    loop {
        let (word, after) = rest.split_at(rest.len().min(8));
        let mut octets = [0; 8];
        octets[..word.len()].copy_from_slice(word);
        hash = question_mix(hash, u64::from_le_bytes(octets));
        if word.len() < 8 {
            return Some(question_mix(hash, kind.into()));
        }
        rest = after;
    }
}

/// A question with another id is a repetition when the first has waited for so long: before that no resolver gives up, and
/// it is more likely another thread's.
pub const REPEATED_AFTER_NS: u64 = 800_000_000;

/// Resolvers give up after so many patiences at most: who asks again after that asks anew.
pub const REPEATED_WITHIN_PATIENCES: u64 = 3;

/// The head of a detail: an answer that reached a client here. The message's first [`AnswerDetail::captured`] octets follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AnswerDetail {
    /// The flow is the one that the answer counts in.
    pub header: EventHeader,
    /// First query to answer in nanoseconds; [`AnswerDetail::UNKNOWN`] when the query was not tracked.
    pub duration_ns: u64,
    /// Octets of the whole message.
    pub length: u16,
    /// Octets of it that follow.
    pub captured: u16,
    /// Always zero.
    pub reserved: u32,
}

impl AnswerDetail {
    /// No duration is known.
    pub const UNKNOWN: u64 = u64::MAX;
    /// Octets of a message that a short detail has room for.
    pub const SHORT: usize = 192;
    /// Octets of a message that a long detail has room for; what EDNS clients offer by default (DNS flag day 2020).
    pub const LONG: usize = 1232;
}

const _: () = {
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<DetailWindow>() == 16);
    assert!(size_of::<DnsCounters>() == 8 * (11 + 7 + 19 + 7 + 4));
    assert!(size_of::<QueryKey>() == 32);
    assert!(size_of::<Asked>() == 32);
    assert!(size_of::<Served>() == 16);
    assert!(size_of::<Stream>() == 8);
    assert!(size_of::<LastQuestion>() == 24 + QUERY_OCTETS);
    assert!(size_of::<AnswerDetail>() == 64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_the_question_alone() {
        let query = |id: u8, name: &[u8], kind: u8, more: &[u8]| {
            let mut message = [id, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec();
            message.extend_from_slice(name);
            message.extend_from_slice(&[0, 0, kind, 0, 1]);
            message.extend_from_slice(more);
            question_hash(&message)
        };
        let hash = query(1, b"\x03www\x07example\x03com", 1, &[]);
        assert!(hash.is_some());
        assert_eq!(hash, query(2, b"\x03WWW\x07exAmple\x03com", 1, &[0, 0, 41]));
        assert_ne!(hash, query(1, b"\x03www\x07example\x03com", 28, &[]));
        assert_ne!(hash, query(1, b"\x03www\x07example\x03org", 1, &[]));
        // As long as a word, and the root.
        assert_ne!(query(1, b"\x07sevenxx", 1, &[]), query(1, b"", 1, &[]));
        assert_eq!(question_hash(&[0; HEADER_OCTETS]), None);
        assert_eq!(question_hash(&[1; 300]), None);
    }
}
