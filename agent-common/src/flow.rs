//! Flows: the keys of the flow tables, and the counters of TCP and UDP flows.
//!
//! The kernel side adds, the daemon reads; counters only grow. Ephemeral ports are not part of the key, so a million
//! short connections to one service share one entry.

use bytemuck::{Pod, Zeroable, zeroed};

use crate::drops::DropCause;
use crate::endpoint::Address;
use crate::histogram::{ConnectDuration, RoundTrips};
use crate::labelled_enum;

mod evidence;

pub use evidence::{LONG_IDLE, ResetReason, Timeouts};

/// IANA protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// This node runs the end that connected.
pub const ROLE_CLIENT: u8 = 1;
/// This node runs the end that accepted.
pub const ROLE_SERVER: u8 = 2;

/// Set in [`FlowKey::local`] when no cgroup is known and the low bits are a network namespace's inode number.
pub const LOCAL_IS_NAMESPACE: u64 = 1 << 63;

/// Key of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct FlowKey {
    /// The local end: its cgroup v2 id, or a network namespace (see [`LOCAL_IS_NAMESPACE`]); 0 only in [`FlowKey::other`].
    pub local: u64,
    /// The remote end; [`Address::EXTERNAL`] stands for all clients outside the known networks.
    pub remote: Address,
    /// The server's port, in host order.
    pub service_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Role of the local end: [`ROLE_CLIENT`] or [`ROLE_SERVER`].
    pub role: u8,
    /// Always zero, so that equal keys are equal bytes.
    pub reserved: u32,
}

impl FlowKey {
    /// The entry that counts for all flows that the full table cannot hold, so that sums are conserved; one per protocol
    /// and role.
    #[inline(always)]
    #[must_use]
    pub const fn other(protocol: u8, role: u8) -> Self {
        Self { local: 0, remote: Address::EXTERNAL, service_port: 0, protocol, role, reserved: 0 }
    }

    /// The entry that counts for further flows of this one's local end, in its role, when that has as many as it may have.
    #[inline(always)]
    #[must_use]
    pub const fn others_of(&self) -> Self {
        Self { remote: Address::OTHER, service_port: 0, ..*self }
    }

    /// True for the entries of [`FlowKey::other`]: every real flow has a local end.
    #[must_use]
    pub const fn is_other(&self) -> bool {
        self.local == 0
    }
}

/// A local end in one of the tables of flows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Tenant {
    /// As [`FlowKey::local`].
    pub local: u64,
    /// Index of the table in [`Quotas`].
    pub table: u8,
    /// Always zero.
    pub reserved: [u8; 7],
}

impl Tenant {
    /// The local end of a flow.
    #[inline(always)]
    #[must_use]
    pub const fn of(flow: &FlowKey) -> Self {
        let table = match flow.protocol {
            PROTOCOL_TCP => 0,
            PROTOCOL_UDP => 1,
            _ => 2,
        };
        Self { local: flow.local, table, reserved: [0; 7] }
    }
}

/// How many flows a local end may have: TCP, UDP, DNS; the last is unused. Further ones count for [`FlowKey::others_of`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Quotas(pub [u64; 4]);

impl Quotas {
    /// Of tables with these capacities, a quarter each; small ones have no quota.
    #[must_use]
    pub fn of(capacities: [u32; 3]) -> Self {
        const LEAST: u64 = 256;
        let [tcp, udp, dns] = capacities.map(|capacity| (u64::from(capacity) / 4).max(LEAST));
        Self([tcp, udp, dns, 0])
    }
}

labelled_enum! {
    /// Why a connection attempt failed: index into [`TcpCounters::connect_failures`].
    pub enum ConnectFailure: u8 {
        /// The peer answered with a reset or an ICMP port-unreachable message (ECONNREFUSED).
        Refused = 0, "refused";
        /// No answer: the kernel gave up (ETIMEDOUT), or the application did after at least one SYN retransmission.
        TimedOut = 1, "timed_out";
        /// A reset during the handshake (ECONNRESET).
        Reset = 2, "reset";
        /// An ICMP network- or host-unreachable message, or there is no route.
        Unreachable = 3, "unreachable";
        /// No free local port (EADDRNOTAVAIL): no SYN was sent.
        NoLocalPort = 4, "no_local_port";
        /// Administratively prohibited, by an ICMP message or on this host (EACCES, EPERM).
        Denied = 5, "denied";
        /// The application closed the socket before any SYN retransmission.
        Aborted = 6, "aborted";
        /// Any other error.
        Other = 7, "other";
    }
}

labelled_enum! {
    /// How an established connection ended at the local end: index into [`TcpCounters::closed`].
    pub enum CloseReason: u8 {
        /// In order: the peer acknowledged the local FIN.
        Fin = 0, "fin";
        /// The local end reset it: the application closed it with unread data or without lingering, or data came that
        /// nobody could read any more.
        ResetSent = 1, "reset_sent";
        /// The peer reset it.
        ResetReceived = 2, "reset_received";
        /// Data, a FIN or a probe of a closed window was not acknowledged in time (ETIMEDOUT, or the ICMP error that
        /// came meanwhile).
        TimedOut = 3, "timed_out";
        /// Keep-alive probes of an idle connection were not answered.
        KeepAlive = 4, "keepalive";
        /// None of the above: ended by an administrator (`ss --kill`), or its end was missed.
        Other = 5, "other";
    }
}

labelled_enum! {
    /// What made the kernel retransmit a segment: index into [`TcpCounters::retransmitted_segments`].
    pub enum RetransmitKind: u8 {
        /// Fast retransmit: selective or duplicate acknowledgements indicated the loss (`TCP_CA_Recovery`).
        Fast = 0, "fast";
        /// The retransmission timeout expired.
        Timeout = 1, "timeout";
        /// Recovery after a retransmission timeout, clocked by acknowledgements (`TCP_CA_Loss` while a timer is armed).
        SlowStart = 2, "slow_start";
        /// Tail loss probe (RFC 8985 §7): normal on healthy links.
        TailLossProbe = 3, "tail_loss_probe";
        /// SYN of a client.
        Syn = 4, "syn";
        /// SYN-ACK of a server.
        SynAck = 5, "synack";
        /// None of the above; includes segments that the kernel counted but could not pass to the device.
        Other = 6, "other";
    }
}

labelled_enum! {
    /// Direction of a reset, seen from the local end: index into [`TcpCounters::resets`].
    pub enum ResetDirection: u8 {
        /// The local end sent it.
        Sent = 0, "sent";
        /// The local end received it.
        Received = 1, "received";
    }
}

labelled_enum! {
    /// What limited a sender while it had data to send: index into [`TcpCounters::limited_ticks`].
    ///
    /// In the order of `enum tcp_chrono` (include/net/tcp.h) without its first.
    pub enum LimitedBy: u8 {
        /// Neither of the others: the network, that is the congestion window and pacing (`TCP_CHRONO_BUSY`).
        Network = 0, "network";
        /// The peer's receive window is closed (`TCP_CHRONO_RWND_LIMITED`).
        ReceiveWindow = 1, "receive_window";
        /// The send buffer is too small (`TCP_CHRONO_SNDBUF_LIMITED`).
        SendBuffer = 2, "send_buffer";
    }
}

/// Counters of a TCP flow.
///
/// Traffic is what the kernel itself counted over the lifetime of each connection; everything else is counted since the
/// agent started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct TcpCounters {
    /// Handshakes completed.
    pub opened: u64,
    /// Established connections that ended, by [`CloseReason`].
    pub closed: [u64; CloseReason::COUNT],
    /// Connections open now, of those whose sockets are in the socket table.
    pub open: i64,
    /// Payload acknowledged by the peer, in bytes.
    pub sent_bytes: u64,
    /// Payload received in order, in bytes.
    pub received_bytes: u64,
    /// Segments sent, including retransmissions and those without payload.
    pub sent_segments: u64,
    /// Segments received, including those without payload.
    pub received_segments: u64,
    /// Segments that the peer reported as duplicates (DSACK, RFC 2883).
    pub spurious_retransmits: u64,
    /// Segments that arrived out of order.
    pub reordered_segments: u64,
    /// Acknowledgements that showed segments to have arrived in another order than they were sent in; none of them was sent again.
    pub reordering_events: u64,
    /// Time with data to send, in the kernel's ticks, by [`LimitedBy`].
    pub limited_ticks: [u64; LimitedBy::COUNT],
    /// Connection attempts that failed, by [`ConnectFailure`].
    pub connect_failures: [u64; ConnectFailure::COUNT],
    /// Retransmitted segments, by [`RetransmitKind`].
    pub retransmitted_segments: [u64; RetransmitKind::COUNT],
    /// Segments as large as the connection's maximum, of those retransmitted.
    pub full_size_retransmits: u64,
    /// Retransmission timeouts, by [`Timeouts`]; those of SYNs are not among them.
    pub timeouts: [u64; Timeouts::COUNT],
    /// The first of several in a row, of data that was sent after at least [`LONG_IDLE`].
    pub timeouts_after_idle: u64,
    /// Retransmitted segments that repeat what this node dropped, by [`DropCause`].
    pub retransmitted_after_drop: [u64; DropCause::COUNT],
    /// Resets, by [`ResetDirection`].
    pub resets: [u64; ResetDirection::COUNT],
    /// Resets sent, by [`ResetReason`].
    pub resets_sent: [u64; ResetReason::COUNT],
    /// Time from SYN to established, of client connections.
    pub connect_duration: ConnectDuration,
    /// Smoothed round-trip times: one observation per sweep for each connection with traffic since the last one, and one
    /// at the close.
    pub rtt: RoundTrips,
    /// Minimum round-trip times, over the kernel's window of recent measurements; observed together with [`Self::rtt`].
    pub min_rtt: RoundTrips,
}

impl TcpCounters {
    /// All counters at zero.
    pub const ZERO: Self = zeroed();

    /// True when a handshake was completed, or a connection from before the agent started is counted.
    #[must_use]
    pub const fn has_connections(&self) -> bool {
        self.opened != 0 || self.closed() != 0 || self.open != 0 || self.received_segments != 0
    }

    /// Established connections that ended, for any reason.
    ///
    /// Wraps: in the kernel's table one kind may be below zero while a close is being counted as another kind.
    #[must_use]
    pub const fn closed(&self) -> u64 {
        let (mut sum, mut index) = (0_u64, 0);
        while index < CloseReason::COUNT {
            sum = sum.wrapping_add(self.closed[index]);
            index += 1;
        }
        sum
    }

    /// Retransmitted segments that the peer had already, as far as it said so.
    #[must_use]
    pub const fn needless_retransmits(&self) -> u64 {
        self.spurious_retransmits
    }

    /// Connections open now, at least 0.
    ///
    /// The counter is negative when the flow table was full at the start of a connection, which then counted for
    /// [`FlowKey::other`], and was not at its end.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.try_into().unwrap_or(0)
    }
}

/// The part of a socket's own totals that has been counted for its flow, in [`TcpCounters`] under the same names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counted {
    /// Payload acknowledged by the peer.
    pub sent_bytes: u64,
    /// Payload received in order.
    pub received_bytes: u64,
    /// Segments sent.
    pub sent_segments: u32,
    /// Segments received.
    pub received_segments: u32,
    /// Duplicate segments reported by the peer.
    pub spurious_retransmits: u32,
    /// Segments that arrived out of order; for a listening socket, segments discarded.
    pub reordered_segments: u32,
    /// Acknowledgements that showed reordering.
    pub reordering_events: u32,
    /// Ticks by [`LimitedBy`].
    pub limited_ticks: [u32; LimitedBy::COUNT],
    /// Retransmitted segments.
    pub retransmits: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A UDP port of a local service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UdpService {
    /// As [`FlowKey::local`].
    pub local: u64,
    /// The port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: [u16; 3],
}

impl UdpService {
    /// A port of a local end.
    #[inline(always)]
    #[must_use]
    pub const fn new(local: u64, port: u16) -> Self {
        Self { local, port, reserved: [0; 3] }
    }
}

/// What is remembered of a UDP socket whose ports do not show its role.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UdpSpeaker {
    /// [`Self::NEW`] and the following.
    pub state: u16,
    /// The peer's port in the first datagram, in host order.
    pub remote_port: u16,
}

impl UdpSpeaker {
    /// No datagram yet.
    pub const NEW: u16 = 0;
    /// It spoke first.
    pub const CLIENT: u16 = 1;
    /// It spoke first, and then to another port as well.
    pub const CLIENT_OF_SEVERAL: u16 = 2;
    /// It was spoken to first.
    pub const SERVER: u16 = 3;
}

labelled_enum! {
    /// What ICMP reported to a connected UDP socket: index into [`UdpCounters::icmp_errors`].
    pub enum IcmpError: u8 {
        /// Nobody listens at the port.
        PortUnreachable = 0, "port_unreachable";
        /// The host or its network cannot be reached.
        HostUnreachable = 1, "host_unreachable";
        /// A policy rejects it.
        Prohibited = 2, "prohibited";
        /// Anything else, as a packet that is too big.
        Other = 3, "other";
    }
}

impl IcmpError {
    /// From the error that the socket gets, a number of `include/uapi/asm-generic/errno.h`
    /// (`icmp_err_convert`, net/ipv4/icmp.c; `icmpv6_err_convert`, net/ipv6/icmp.c). IPv4 has no error of its own for a policy
    /// and says that the host is unreachable.
    #[inline(always)]
    #[must_use]
    pub const fn of(error: i32) -> Self {
        match error {
            // ECONNREFUSED.
            111 => Self::PortUnreachable,
            // ENONET, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH.
            64 | 101 | 112 | 113 => Self::HostUnreachable,
            // EPERM, EACCES.
            1 | 13 => Self::Prohibited,
            _ => Self::Other,
        }
    }
}

/// Counters of a UDP flow since the agent started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UdpCounters {
    /// Payload sent, in bytes.
    pub sent_bytes: u64,
    /// Payload that reached the socket, in bytes; includes datagrams dropped because the receive buffer was full.
    pub received_bytes: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Datagrams that reached the socket; includes those dropped because the receive buffer was full.
    pub received_datagrams: u64,
    /// Datagrams dropped because the receive buffer was full, or for lack of memory.
    pub receive_drops: u64,
    /// ICMP errors that its connected sockets got, by [`IcmpError`].
    pub icmp_errors: [u64; IcmpError::COUNT],
}

impl UdpCounters {
    /// All counters at zero.
    pub const ZERO: Self = zeroed();
}

const _: () = {
    assert!(size_of::<FlowKey>() == 32);
    assert!(size_of::<TcpCounters>() == 8 * (9 + 6 + 3 + 8 + 7 + 1 + 3 + 1 + 8 + 2 + 6 + 23 + 20 + 20));
    assert!(size_of::<UdpCounters>() == 8 * (5 + 4));
};
