//! The probes: one file each here (what it emits), in `agent-ebpf` (the programs) and in `agent` (the daemon's side).

pub mod open_sockets;
pub mod tcp_reset;
pub mod tcp_retransmit;
pub mod tcp_retransmit_synack;
pub mod tcp_state;

/// Names a probe on the wire.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeId {
    /// Connections opened, failed and closed.
    TcpState = 0,
    /// Segments sent again.
    TcpRetransmit = 1,
    /// SYN-ACKs sent again.
    TcpRetransmitSynack = 2,
    /// Resets sent and received.
    TcpReset = 3,
    /// Live counters of open sockets.
    OpenSockets = 4,
    /// UDP packets.
    Udp = 5,
    /// UDP datagrams that found the receive buffer full.
    UdpDrop = 6,
    /// DNS messages.
    Dns = 7,
}

impl ProbeId {
    /// How many there are.
    pub const COUNT: u32 = 8;
}
