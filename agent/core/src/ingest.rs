//! Decodes ring-buffer records into validated events.
//!
//! A record is written by the eBPF programs of the same build. Its length and its numbers are checked all the same, so that
//! a record of another build is refused and not misread. No function here panics or reads a clock.

mod connection;
pub mod dns;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytemuck::Pod;
use netcause_common::dns::{AnswerDetail, QueryKey};
use netcause_common::drops::DropReason;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    ConnectFailure, FlowKey, ROLE_CLIENT, ROLE_SERVER, ResetDirection, RetransmitKind,
};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;
use netcause_common::probe::tcp_retransmit::Retransmitted;
use netcause_common::probe::tcp_retransmit_synack::SynAckRetransmitted;
use netcause_common::probe::tcp_state::ConnectFailed;
use netcause_common::wire::{EventHeader, NEW_FLOW, NewFlow};

pub use connection::{Before, Connection, End, Traffic, connection};

/// The end of a connection that is on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The local end opened the connection.
    Client,
    /// The local end accepted the connection.
    Server,
}

/// The record of a DNS answer. Its message is not parsed yet: see [`dns::message`].
#[derive(Clone, Copy, Debug)]
pub struct DnsAnswer<'a> {
    /// When the kernel saw the answer, by its monotonic clock (`CLOCK_MONOTONIC`: time since boot without suspend).
    pub at: Duration,
    /// The client's flow, in which the query is counted.
    pub flow: FlowKey,
    /// From the first transmission of the query to the answer.
    pub duration: Duration,
    /// The first bytes of the DNS message, as many as the record holds.
    pub message: &'a [u8],
    /// Hash of the question that it answers ([`netcause_common::dns::question_hash`]); 0 when that is not known.
    pub question: u64,
    /// The first bytes of the query; empty when they are not known. Only of an answer without a question they are of use.
    pub query: &'a [u8],
}

impl DnsAnswer<'_> {
    /// Whether the message says itself what was asked.
    #[must_use]
    pub fn has_question(&self) -> bool {
        self.message.get(4..6).is_some_and(|count| count != [0, 0])
    }
}

/// DNS queries of one entry of the kernel side that got no answer.
#[derive(Clone, Copy, Debug)]
pub struct DnsUnanswered<'a> {
    /// The query, as the client or the server saw it.
    pub key: QueryKey,
    /// Where it is counted: its flow, or the entry for what the full table had no room for.
    pub flow: FlowKey,
    /// How many queries: retries share an entry.
    pub queries: u64,
    /// Whether the client has closed its socket before an answer could be expected: the server is not to blame.
    pub is_abandoned: bool,
    /// Whether ICMP has told the client that there will be no answer; not together with the other.
    pub is_refused: bool,
    /// The first bytes of the query; empty when they are not known any more, and at a server.
    pub message: &'a [u8],
}

/// Decodes the record of a DNS answer; `None` when it is too short, is of another probe, or is not about a client's flow.
#[must_use]
pub fn dns_answer(bytes: &[u8]) -> Option<DnsAnswer<'_>> {
    let head: AnswerDetail = read(bytes)?;
    let is_answer = head.header.probe == ProbeId::Dns as u8 && role(&head.header.flow) == Some(Role::Client);
    let message = bytes.get(size_of::<AnswerDetail>()..)?.get(..head.captured.into())?;
    is_answer.then_some(DnsAnswer {
        at: Duration::from_nanos(head.header.timestamp_ns),
        flow: head.header.flow,
        duration: Duration::from_nanos(head.duration_ns),
        message,
        question: head.question,
        query: &[],
    })
}

/// A TCP failure event of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpEvent {
    /// When it happened, by the kernel's monotonic clock (`CLOCK_MONOTONIC`: time since boot without suspend).
    pub at: Duration,
    /// The flow it happened to.
    pub flow: FlowKey,
    /// The client's port; 0 when unknown.
    pub client_port: u16,
    /// What happened, with its details.
    pub kind: TcpEventKind,
}

/// The kinds of [`TcpEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpEventKind {
    /// A connection attempt failed.
    ConnectFailed {
        /// Why it failed.
        reason: ConnectFailure,
        /// The errno that the application gets; 0 when the application closed the socket itself.
        error: i32,
        /// SYN segments that were retransmitted.
        syn_retransmits: u32,
        /// From the first SYN to the failure.
        after: Duration,
    },
    /// Segments were retransmitted.
    Retransmitted {
        /// What made the kernel retransmit.
        kind: RetransmitKind,
        /// Segments retransmitted at once.
        segments: u32,
        /// Retransmission timeouts in a row, this one included (`icsk_retransmits`).
        consecutive_timeouts: u8,
        /// Those of the segments that repeat what this node dropped, and why it did.
        dropped: Option<(u32, DropReason)>,
    },
    /// A reset (RST) was sent or received.
    Reset {
        /// Whether it was sent or received.
        direction: ResetDirection,
    },
}

/// A decoded record of the event ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A flow was added to the kernel's table. Its workload still exists, so this is the time to look its name up.
    NewFlow {
        /// When it was added, by the kernel's monotonic clock (`CLOCK_MONOTONIC`).
        at: Duration,
        /// The new flow.
        flow: FlowKey,
        /// The client's port; 0 when unknown.
        client_port: u16,
        /// The local end's own address, if known.
        own: Option<Own>,
    },
    /// A TCP failure event.
    Tcp(TcpEvent),
}

/// The address of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// The address.
    pub address: IpAddr,
    /// Inode number of its network namespace.
    pub namespace: u32,
}

/// Decodes a record of the event ring; `None` when it is too short or one of its numbers has no meaning, because the eBPF
/// programs are of another build.
#[must_use]
pub fn event(bytes: &[u8]) -> Option<Event> {
    let EventHeader { timestamp_ns, flow, client_port, probe, .. } = read(bytes)?;
    let at = Duration::from_nanos(timestamp_ns);
    role(&flow)?;
    if probe == NEW_FLOW {
        let NewFlow { own, namespace, .. } = read(bytes)?;
        let address = ip(own);
        let own = (!address.is_unspecified()).then_some(Own { address, namespace });
        return Some(Event::NewFlow { at, flow, client_port, own });
    }
    Some(Event::Tcp(TcpEvent { at, flow, client_port, kind: tcp_event_kind(probe, bytes)? }))
}

fn tcp_event_kind(probe: u8, bytes: &[u8]) -> Option<TcpEventKind> {
    let is = |id: ProbeId| probe == id as u8;
    Some(if is(ProbeId::TcpState) || is(ProbeId::TcpConnect) {
        let event: ConnectFailed = read(bytes)?;
        TcpEventKind::ConnectFailed {
            reason: ConnectFailure::from_number(event.reason)?,
            error: event.error,
            syn_retransmits: event.syn_retransmits,
            after: Duration::from_nanos(event.duration_ns),
        }
    } else if is(ProbeId::TcpRetransmit) {
        let event: Retransmitted = read(bytes)?;
        TcpEventKind::Retransmitted {
            kind: RetransmitKind::from_number(event.kind)?,
            segments: event.segments,
            consecutive_timeouts: event.consecutive_timeouts,
            dropped: match event.dropped_reason.checked_sub(1) {
                Some(reason) => Some((event.dropped_segments, DropReason::from_number(reason)?)),
                None => None,
            },
        }
    } else if is(ProbeId::TcpRetransmitSynack) {
        let _: SynAckRetransmitted = read(bytes)?;
        TcpEventKind::Retransmitted {
            kind: RetransmitKind::SynAck,
            segments: 1,
            consecutive_timeouts: 0,
            dropped: None,
        }
    } else if is(ProbeId::TcpReset) {
        let event: Reset = read(bytes)?;
        TcpEventKind::Reset { direction: ResetDirection::from_number(event.direction)? }
    } else {
        return None;
    })
}

/// The role in a flow's key; `None` for the overflow entry, which counts flows that did not fit into the map.
#[must_use]
pub fn role(flow: &FlowKey) -> Option<Role> {
    match flow.role {
        ROLE_CLIENT => Some(Role::Client),
        ROLE_SERVER => Some(Role::Server),
        _ => None,
    }
}

/// An address of the kernel side as the standard library's type; an IPv4-mapped IPv6 address becomes IPv4.
#[must_use]
pub fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.to_bytes()).to_canonical()
}

fn read<E: Pod>(bytes: &[u8]) -> Option<E> {
    bytes.get(..size_of::<E>()).map(bytemuck::pod_read_unaligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_nanos(1_000_000_007);

    fn header(probe: ProbeId) -> EventHeader {
        let remote = Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 1]));
        let flow =
            FlowKey { local: 7, remote, service_port: 443, protocol: 6, role: ROLE_CLIENT, reserved: 0 };
        EventHeader {
            timestamp_ns: 1_000_000_007,
            flow,
            client_port: 5555,
            probe: probe as u8,
            reserved: [0; 5],
        }
    }

    #[test]
    fn a_connect_failure_is_read() {
        let wire = ConnectFailed {
            header: header(ProbeId::TcpState),
            duration_ns: 3_000_000_000,
            error: 110,
            syn_retransmits: 2,
            reason: ConnectFailure::TimedOut as u8,
            reserved: [0; 7],
        };
        let Some(Event::Tcp(event)) = event(bytemuck::bytes_of(&wire)) else { panic!("no TCP event") };
        assert_eq!(ip(event.flow.remote).to_string(), "10.0.0.1");
        assert_eq!((event.at, event.client_port), (AT, 5555));
        let after = Duration::from_secs(3);
        let reason = ConnectFailure::TimedOut;
        let kind = TcpEventKind::ConnectFailed { reason, error: 110, syn_retransmits: 2, after };
        assert_eq!(event.kind, kind);
    }

    #[test]
    fn a_dns_answer_is_as_long_as_it_says() {
        let head = AnswerDetail {
            header: header(ProbeId::Dns),
            duration_ns: 1500,
            question: 9,
            length: 300,
            captured: 3,
            reserved: 0,
        };
        let mut bytes = bytemuck::bytes_of(&head).to_vec();
        bytes.extend([1, 2, 3, 0, 0]);
        let answer = dns_answer(&bytes).unwrap();
        assert_eq!((answer.message, answer.duration), (&[1, 2, 3][..], Duration::from_nanos(1500)));
        assert_eq!(answer.at, AT);
        assert!(dns_answer(&bytes[..bytes.len() - 3]).is_none(), "a byte is missing");
        let empty = AnswerDetail { captured: 0, ..head };
        assert!(dns_answer(bytemuck::bytes_of(&empty)).is_some());
        let other = AnswerDetail { header: header(ProbeId::TcpState), ..empty };
        assert!(dns_answer(bytemuck::bytes_of(&other)).is_none());
    }

    #[test]
    fn what_is_cut_short_or_means_nothing_is_refused() {
        let wire = Reset { header: header(ProbeId::TcpReset), direction: 1, tcp_state: 1, reserved: [0; 6] };
        let bytes = bytemuck::bytes_of(&wire);
        assert!(event(bytes).is_some());
        for length in 0..bytes.len() {
            assert_eq!(event(&bytes[..length]), None, "{length}");
        }
        assert_eq!(event(bytemuck::bytes_of(&Reset { direction: 2, ..wire })), None);
        let mut unknown = wire;
        unknown.header.probe = 200;
        assert_eq!(event(bytemuck::bytes_of(&unknown)), None);
        let mut new = NewFlow { header: header(ProbeId::TcpReset), ..NewFlow::default() };
        new.header.probe = NEW_FLOW;
        let (flow, client_port) = (new.header.flow, 5555);
        let expected = |own| Some(Event::NewFlow { at: AT, flow, client_port, own });
        assert_eq!(event(bytemuck::bytes_of(&new)), expected(None));
        assert_eq!(event(bytemuck::bytes_of(&new.header)), None, "it is too short");
        new.namespace = 77;
        new.own = Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 2]));
        let own = Own { address: [10, 0, 0, 2].into(), namespace: 77 };
        assert_eq!(event(bytemuck::bytes_of(&new)), expected(Some(own)));
        let mut overflow = wire;
        overflow.header.flow.role = 0;
        assert_eq!(event(bytemuck::bytes_of(&overflow)), None);
    }
}
