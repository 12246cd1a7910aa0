//! The flow table: who talks to whom, and what happened there.
//!
//! The kernel side adds, the daemon reads; totals only grow. Ephemeral ports are no part of the key, so a million
//! short connections to one service are one entry.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::Address;
use crate::histogram::{ConnectDuration, RoundTrips};

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

/// What tells one flow from another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct FlowKey {
    /// The local end: its cgroup v2 id, or a network namespace (see [`LOCAL_IS_NAMESPACE`]); 0 only in [`FlowKey::other`].
    pub local: u64,
    /// The remote end; [`Address::EXTERNAL`] for all clients from outside the known networks together.
    pub remote: Address,
    /// The server's port, in host order.
    pub service_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// [`ROLE_CLIENT`] or [`ROLE_SERVER`]: what the local end is.
    pub role: u8,
    /// Always zero, so that equal keys are equal bytes.
    pub reserved: u32,
}

impl FlowKey {
    /// The entry that takes what the full table has no room for, so that sums are conserved; one per protocol and role.
    #[inline(always)]
    #[must_use]
    pub const fn other(protocol: u8, role: u8) -> Self {
        Self { local: 0, remote: Address::EXTERNAL, service_port: 0, protocol, role, reserved: 0 }
    }

    /// True for the entries of [`FlowKey::other`]: no real flow is without a local end.
    #[must_use]
    pub const fn is_other(&self) -> bool {
        self.local == 0
    }
}

/// Why a connection attempt failed: index into [`FlowCounters::connect_failures`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer answered with a reset, or a port-unreachable message came (ECONNREFUSED).
    Refused = 0,
    /// No answer: the kernel gave up (ETIMEDOUT), or the application did after at least one repeated SYN.
    TimedOut = 1,
    /// A reset in the middle of the handshake (ECONNRESET).
    Reset = 2,
    /// A network or host unreachable message, or no route any more.
    Unreachable = 3,
    /// No free local port (EADDRNOTAVAIL): no SYN was sent.
    NoLocalPort = 4,
    /// Administratively prohibited (EACCES, EPERM).
    Denied = 5,
    /// The application closed the socket before any SYN had to be repeated.
    Aborted = 6,
    /// Any other error.
    Other = 7,
}

impl ConnectFailure {
    /// Every reason, in index order.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::TimedOut,
        Self::Reset,
        Self::Unreachable,
        Self::NoLocalPort,
        Self::Denied,
        Self::Aborted,
        Self::Other,
    ];
}

/// What made the kernel send a segment again: index into [`FlowCounters::retransmitted_segments`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetransmitKind {
    /// Fast retransmit: selective acknowledgements or duplicates told of the loss (`TCP_CA_Recovery`).
    Fast = 0,
    /// The retransmission timer ran out.
    Timeout = 1,
    /// Repair after a time-out, driven by acknowledgements (`TCP_CA_Loss` while a timer is armed).
    SlowStart = 2,
    /// Tail loss probe (RFC 8985 §7): normal on healthy links.
    TailLossProbe = 3,
    /// SYN of a client.
    Syn = 4,
    /// SYN-ACK of a server.
    SynAck = 5,
    /// None of the above; segments the kernel counted and could not hand to the device are here too.
    Other = 6,
}

impl RetransmitKind {
    /// Every kind, in index order.
    pub const ALL: [Self; 7] = [
        Self::Fast,
        Self::Timeout,
        Self::SlowStart,
        Self::TailLossProbe,
        Self::Syn,
        Self::SynAck,
        Self::Other,
    ];
}

/// Which way a reset went, seen from the local end: index into [`FlowCounters::resets`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetDirection {
    /// This end sent it.
    Sent = 0,
    /// This end received it.
    Received = 1,
}

impl ResetDirection {
    /// Both directions, in index order.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Received];
}

/// What held a sender back while it had data to send: index into [`TcpCounters::limited_ticks`]. The order is that of
/// `enum tcp_chrono`, include/net/tcp.h, less its first.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// Neither of the others: the network, that is the congestion window and pacing (`TCP_CHRONO_BUSY`).
    Network = 0,
    /// The receiver's window is closed (`TCP_CHRONO_RWND_LIMITED`).
    ReceiveWindow = 1,
    /// The send buffer is too small (`TCP_CHRONO_SNDBUF_LIMITED`).
    SendBuffer = 2,
}

impl LimitedBy {
    /// Every reason, in index order.
    pub const ALL: [Self; 3] = [Self::Network, Self::ReceiveWindow, Self::SendBuffer];
}

/// What is counted per TCP flow. Traffic is the kernel's own count of each connection, whole; all else is counted
/// since the agent started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct TcpCounters {
    /// Handshakes completed.
    pub opened: u64,
    /// Established connections that ended.
    pub closed: u64,
    /// Connections open now, of those whose sockets are remembered.
    pub open: i64,
    /// Payload the peer has acknowledged, in octets.
    pub sent_bytes: u64,
    /// Payload received in order, in octets.
    pub received_bytes: u64,
    /// Segments sent, with those that carry no payload and those sent again.
    pub sent_segments: u64,
    /// Segments received, with those that carry no payload.
    pub received_segments: u64,
    /// Segments the peer says it had already (DSACK, RFC 2883).
    pub spurious_retransmits: u64,
    /// Segments that arrived out of order.
    pub reordered_segments: u64,
    /// Time with data to send by what held it back, in the kernel's ticks, by [`LimitedBy`].
    pub limited_ticks: [u64; LimitedBy::ALL.len()],
    /// Connection attempts that failed, by [`ConnectFailure`].
    pub connect_failures: [u64; ConnectFailure::ALL.len()],
    /// Segments sent again, by [`RetransmitKind`].
    pub retransmitted_segments: [u64; RetransmitKind::ALL.len()],
    /// Resets, by [`ResetDirection`].
    pub resets: [u64; ResetDirection::ALL.len()],
    /// SYN sent to established, of the client's connections.
    pub connect_duration: ConnectDuration,
    /// Smoothed round-trip times, of connections that were in use since the last look, and at the close.
    pub rtt: RoundTrips,
    /// The least round-trip time that the kernel has measured on the connection of late; looked at as the other.
    pub min_rtt: RoundTrips,
}

impl TcpCounters {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        opened: 0,
        closed: 0,
        open: 0,
        sent_bytes: 0,
        received_bytes: 0,
        sent_segments: 0,
        received_segments: 0,
        spurious_retransmits: 0,
        reordered_segments: 0,
        limited_ticks: [0; LimitedBy::ALL.len()],
        connect_failures: [0; ConnectFailure::ALL.len()],
        retransmitted_segments: [0; RetransmitKind::ALL.len()],
        resets: [0; ResetDirection::ALL.len()],
        connect_duration: ConnectDuration::ZERO,
        rtt: RoundTrips::ZERO,
        min_rtt: RoundTrips::ZERO,
    };

    /// Connections open now. The kernel side may have had no room for the flow at the beginning of a connection and
    /// found some at its end: such a moment is no less than none.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.try_into().unwrap_or(0)
    }
}

/// What is counted per UDP flow, since the agent started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UdpCounters {
    /// Payload sent, in octets.
    pub sent_bytes: u64,
    /// Payload that arrived at the socket, in octets; what then found the buffer full included.
    pub received_bytes: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Datagrams that arrived at the socket; those that then found the buffer full included.
    pub received_datagrams: u64,
    /// Datagrams that found the receive buffer full, or no memory.
    pub receive_drops: u64,
}

impl UdpCounters {
    /// Nothing counted.
    pub const ZERO: Self =
        Self { sent_bytes: 0, received_bytes: 0, sent_datagrams: 0, received_datagrams: 0, receive_drops: 0 };
}

const _: () = {
    assert!(size_of::<FlowKey>() == 32);
    assert!(size_of::<TcpCounters>() == 8 * (9 + 3 + 8 + 7 + 2 + 19 + 14 + 14));
    assert!(size_of::<UdpCounters>() == 8 * 5);
};
