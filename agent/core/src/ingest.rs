//! Octets from the kernel's ring buffer → typed, checked events.

pub mod dns;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytemuck::Pod;
use netcause_common::dns::AnswerDetail;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    ConnectFailure, FlowKey, ROLE_CLIENT, ROLE_SERVER, ResetDirection, RetransmitKind,
};
use netcause_common::probe::ProbeId;
use netcause_common::probe::tcp_reset::Reset;
use netcause_common::probe::tcp_retransmit::Retransmitted;
use netcause_common::probe::tcp_retransmit_synack::SynAckRetransmitted;
use netcause_common::probe::tcp_state::ConnectFailed;
use netcause_common::wire::{EventHeader, NEW_FLOW};

/// Which end of a connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// We connected.
    Client,
    /// We accepted.
    Server,
}

/// A DNS answer as the programs tell it; the message is yet to be read.
#[derive(Clone, Copy, Debug)]
pub struct DnsAnswer<'a> {
    /// The flow it counts in: the client's.
    pub flow: FlowKey,
    /// First query to answer.
    pub duration: Duration,
    /// As much of the message as there was room for.
    pub message: &'a [u8],
}

/// Reads the detail of a DNS answer; `None` when it is cut short or is none.
#[must_use]
pub fn dns_answer(octets: &[u8]) -> Option<DnsAnswer<'_>> {
    let head: AnswerDetail = read(octets)?;
    let is_one = head.header.probe == ProbeId::Dns as u8 && role(&head.header.flow) == Some(Role::Client);
    let message = octets.get(size_of::<AnswerDetail>()..)?.get(..head.captured.into())?;
    let duration = Duration::from_nanos(head.duration_ns);
    is_one.then_some(DnsAnswer { flow: head.header.flow, duration, message })
}

/// Something that went wrong once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The flow it happened to.
    pub flow: FlowKey,
    /// The client's port; 0 when unknown.
    pub client_port: u16,
    /// What.
    pub what: What,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A connection attempt failed.
    ConnectFailed {
        /// Why.
        reason: ConnectFailure,
        /// The error number; 0 when the application closed the socket.
        error: i32,
        /// SYNs sent again.
        syn_retransmits: u32,
        /// SYN to the end.
        after: Duration,
    },
    /// Segments were sent again.
    Retransmitted {
        /// Why.
        kind: RetransmitKind,
        /// How many.
        segments: u32,
        /// Time-outs in a row.
        consecutive_timeouts: u8,
    },
    /// A reset.
    Reset {
        /// Which way.
        direction: ResetDirection,
    },
}

/// What the kernel side tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A flow is new: its workload's name can still be looked up.
    NewFlow {
        /// The flow.
        flow: FlowKey,
        /// The port of the client that began it; 0 when unknown.
        client_port: u16,
    },
    /// Something went wrong once.
    Trouble(Trouble),
}

/// Reads one event; `None` when it is cut short or its numbers mean nothing: the kernel side is not of this build.
#[must_use]
pub fn event(octets: &[u8]) -> Option<Event> {
    let header: EventHeader = read(octets)?;
    role(&header.flow)?;
    if header.probe == NEW_FLOW {
        return Some(Event::NewFlow { flow: header.flow, client_port: header.client_port });
    }
    let what = what(header.probe, octets)?;
    Some(Event::Trouble(Trouble { flow: header.flow, client_port: header.client_port, what }))
}

fn what(probe: u8, octets: &[u8]) -> Option<What> {
    let is = |id: ProbeId| probe == id as u8;
    Some(if is(ProbeId::TcpState) {
        let event: ConnectFailed = read(octets)?;
        What::ConnectFailed {
            reason: ConnectFailure::from_number(event.reason)?,
            error: event.error,
            syn_retransmits: event.syn_retransmits,
            after: Duration::from_nanos(event.duration_ns),
        }
    } else if is(ProbeId::TcpRetransmit) {
        let event: Retransmitted = read(octets)?;
        What::Retransmitted {
            kind: RetransmitKind::from_number(event.kind)?,
            segments: event.segments,
            consecutive_timeouts: event.consecutive_timeouts,
        }
    } else if is(ProbeId::TcpRetransmitSynack) {
        let _: SynAckRetransmitted = read(octets)?;
        What::Retransmitted { kind: RetransmitKind::SynAck, segments: 1, consecutive_timeouts: 0 }
    } else if is(ProbeId::TcpReset) {
        let event: Reset = read(octets)?;
        What::Reset { direction: ResetDirection::from_number(event.direction)? }
    } else {
        return None;
    })
}

/// The role in a flow's key; `None` in the entry that takes what found no room.
#[must_use]
pub fn role(flow: &FlowKey) -> Option<Role> {
    match flow.role {
        ROLE_CLIENT => Some(Role::Client),
        ROLE_SERVER => Some(Role::Server),
        _ => None,
    }
}

/// The address as the standard library has it; v4-mapped becomes IPv4.
#[must_use]
pub fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.to_bytes()).to_canonical()
}

fn read<E: Pod>(octets: &[u8]) -> Option<E> {
    octets.get(..size_of::<E>()).map(bytemuck::pod_read_unaligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(probe: ProbeId) -> EventHeader {
        let remote = Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 1]));
        let flow =
            FlowKey { local: 7, remote, service_port: 443, protocol: 6, role: ROLE_CLIENT, reserved: 0 };
        EventHeader { timestamp_ns: 1, flow, client_port: 5555, probe: probe as u8, reserved: [0; 5] }
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
        let Some(Event::Trouble(trouble)) = event(bytemuck::bytes_of(&wire)) else { panic!("no trouble") };
        assert_eq!(ip(trouble.flow.remote).to_string(), "10.0.0.1");
        let after = Duration::from_secs(3);
        let what =
            What::ConnectFailed { reason: ConnectFailure::TimedOut, error: 110, syn_retransmits: 2, after };
        assert_eq!(trouble.what, what);
    }

    #[test]
    fn a_dns_answer_is_as_long_as_it_says() {
        let head = AnswerDetail {
            header: header(ProbeId::Dns),
            duration_ns: 1500,
            length: 300,
            captured: 3,
            reserved: 0,
        };
        let mut octets = bytemuck::bytes_of(&head).to_vec();
        octets.extend([1, 2, 3, 0, 0]);
        let answer = dns_answer(&octets).unwrap();
        assert_eq!((answer.message, answer.duration), (&[1, 2, 3][..], Duration::from_nanos(1500)));
        assert!(dns_answer(&octets[..octets.len() - 3]).is_none(), "an octet is missing");
        let empty = AnswerDetail { captured: 0, ..head };
        assert!(dns_answer(bytemuck::bytes_of(&empty)).is_some());
        let other = AnswerDetail { header: header(ProbeId::TcpState), ..empty };
        assert!(dns_answer(bytemuck::bytes_of(&other)).is_none());
    }

    #[test]
    fn what_is_cut_short_or_means_nothing_is_refused() {
        let wire = Reset { header: header(ProbeId::TcpReset), direction: 1, tcp_state: 1, reserved: [0; 6] };
        let octets = bytemuck::bytes_of(&wire);
        assert!(event(octets).is_some());
        for length in 0..octets.len() {
            assert_eq!(event(&octets[..length]), None, "{length}");
        }
        assert_eq!(event(bytemuck::bytes_of(&Reset { direction: 2, ..wire })), None);
        let mut unknown = wire;
        unknown.header.probe = 200;
        assert_eq!(event(bytemuck::bytes_of(&unknown)), None);
        let mut new = header(ProbeId::TcpReset);
        new.probe = NEW_FLOW;
        assert_eq!(
            event(bytemuck::bytes_of(&new)),
            Some(Event::NewFlow { flow: new.flow, client_port: 5555 })
        );
        let mut nobody = wire;
        nobody.header.flow.role = 0;
        assert_eq!(event(bytemuck::bytes_of(&nobody)), None);
    }
}
