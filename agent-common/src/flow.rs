//! The flow table: who talks to whom, and what happened there.
//!
//! The kernel side adds, the daemon reads; totals only grow. Ephemeral ports are no part of the key, so a million
//! short connections to one service are one entry.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::Address;
use crate::histogram::ConnectDuration;

/// IANA protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;

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
    /// The remote end.
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
    /// The entry that takes what the full table has no room for, so that sums are conserved; one per role.
    #[inline(always)]
    #[must_use]
    pub const fn other(role: u8) -> Self {
        Self {
            local: 0,
            remote: Address::UNSPECIFIED,
            service_port: 0,
            protocol: PROTOCOL_TCP,
            role,
            reserved: 0,
        }
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

/// What is counted per flow; all totals since the agent started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCounters {
    /// Handshakes completed.
    pub opened: u64,
    /// Established connections that ended.
    pub closed: u64,
    /// Connection attempts that failed, by [`ConnectFailure`].
    pub connect_failures: [u64; ConnectFailure::ALL.len()],
    /// Segments sent again, by [`RetransmitKind`].
    pub retransmitted_segments: [u64; RetransmitKind::ALL.len()],
    /// Resets, by [`ResetDirection`].
    pub resets: [u64; ResetDirection::ALL.len()],
    /// SYN sent to established, of the client's connections.
    pub connect_duration: ConnectDuration,
}

impl FlowCounters {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        opened: 0,
        closed: 0,
        connect_failures: [0; ConnectFailure::ALL.len()],
        retransmitted_segments: [0; RetransmitKind::ALL.len()],
        resets: [0; ResetDirection::ALL.len()],
        connect_duration: ConnectDuration::ZERO,
    };

    /// Adds `other` to these totals (wrapping never happens: 2^64 of anything is out of reach).
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        add_each(&mut self.connect_failures, &other.connect_failures);
        add_each(&mut self.retransmitted_segments, &other.retransmitted_segments);
        add_each(&mut self.resets, &other.resets);
        add_each(&mut self.connect_duration.buckets, &other.connect_duration.buckets);
        self.connect_duration.sum_ns += other.connect_duration.sum_ns;
    }
}

fn add_each(to: &mut [u64], from: &[u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

const _: () = {
    assert!(size_of::<FlowKey>() == 32);
    assert!(size_of::<FlowCounters>() == 8 * (2 + 8 + 7 + 2 + 19));
};
