//! Counters of DNS.

use bytemuck::{Pod, Zeroable, zeroed};

use crate::histogram::DnsDuration;
use crate::labelled_enum;

labelled_enum! {
    /// Type of a query (RFC 1035 §3.2.2 and IANA's registry): index into [`DnsCounters::queries`]. The labels are the
    /// standard's spelling.
    pub enum QueryType: u8 {
        /// IPv4 address.
        A = 0, "A";
        /// IPv6 address (RFC 3596).
        Aaaa = 1, "AAAA";
        /// Canonical name.
        Cname = 2, "CNAME";
        /// HTTPS binding (RFC 9460).
        Https = 3, "HTTPS";
        /// Mail exchange.
        Mx = 4, "MX";
        /// Name server.
        Ns = 5, "NS";
        /// Name of an address.
        Ptr = 6, "PTR";
        /// Start of a zone of authority.
        Soa = 7, "SOA";
        /// Location of a service (RFC 2782).
        Srv = 8, "SRV";
        /// Text.
        Txt = 9, "TXT";
        /// Any other type, and a question that could not be read.
        Other = 10, "other";
    }
}

impl QueryType {
    /// From the type field of a question.
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

labelled_enum! {
    /// Response code (RFC 1035 §4.1.1): index into [`DnsCounters::responses`]. The labels are the standard's spelling.
    pub enum ResponseCode: u8 {
        /// No error: the name exists, possibly without records of the queried type.
        NoError = 0, "NOERROR";
        /// Format error: the server could not interpret the query.
        FormErr = 1, "FORMERR";
        /// The server failed.
        ServFail = 2, "SERVFAIL";
        /// The name does not exist.
        NxDomain = 3, "NXDOMAIN";
        /// The server does not implement this kind of query.
        NotImp = 4, "NOTIMP";
        /// The server refuses by policy.
        Refused = 5, "REFUSED";
        /// The server does not implement this version of EDNS (RFC 6891 §9).
        BadVers = 6, "BADVERS";
        /// The server wants a cookie of its own back (RFC 7873 §8).
        BadCookie = 7, "BADCOOKIE";
        /// Any other code.
        Other = 8, "other";
    }
}

impl ResponseCode {
    /// From the four bits in the header of a message, and above them the eight that EDNS adds (RFC 6891 §6.1.3).
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            16 => Self::BadVers,
            23 => Self::BadCookie,
            _ => Self::Other,
        }
    }
}

/// Counters of DNS since the agent started: of a client per server, of a server over all its clients.
///
/// Every query is answered, timed out, abandoned, pending, or was not tracked: `queries = responses − late + timeouts +
/// abandoned + pending + untracked − untracked_answered`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DnsCounters {
    /// Queries, repetitions included, by [`QueryType`].
    pub queries: [u64; QueryType::COUNT],
    /// Responses to them, by [`ResponseCode`].
    pub responses: [u64; ResponseCode::COUNT],
    /// Time from query to response.
    pub duration: DnsDuration,
    /// Queries that repeat a pending question of the same workload.
    pub retries: u64,
    /// Responses with the bit TC: truncated.
    pub truncated: u64,
    /// Queries without a response within the timeout.
    pub timeouts: u64,
    /// Those of them that ICMP refused: nobody listens there, or the way there is rejected. Counted by the daemon.
    pub refused: u64,
    /// Queries whose socket was closed before an answer came, sooner than any resolver gives up. Counted by the daemon.
    pub abandoned: u64,
    /// Responses that came after the timeout.
    pub late: u64,
    /// Responses that match no query.
    pub unmatched: u64,
    /// Queries that were not tracked because the map of pending queries was full: their responses count, without latency.
    pub untracked: u64,
    /// Responses to untracked queries.
    pub untracked_answered: u64,
    /// Traffic over UDP; these datagrams are not in the table of UDP flows.
    pub udp: Datagrams,
}

/// Datagrams of DNS.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Datagrams {
    /// Datagrams sent.
    pub sent: u64,
    /// Payload sent, in bytes.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Payload received, in bytes.
    pub received_bytes: u64,
}

impl DnsCounters {
    /// All counters at zero.
    pub const ZERO: Self = zeroed();
}

const _: () = assert!(size_of::<DnsCounters>() == 8 * (11 + 9 + 21 + 9 + 4));
