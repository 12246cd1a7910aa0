//! The probes: one file each here (what it emits), in `agent-ebpf` (the programs) and in `agent` (the daemon's side).

use crate::labelled_enum;

pub mod open_sockets;
pub mod tcp_connect;
pub mod tcp_reset;
pub mod tcp_retransmit;
pub mod tcp_retransmit_synack;
pub mod tcp_state;

labelled_enum! {
    /// Identifies a probe in events; the label is its name.
    pub enum ProbeId: u8 {
        /// Connections opened, failed and closed.
        TcpState = 0, "tcp_state";
        /// Retransmitted segments.
        TcpRetransmit = 1, "tcp_retransmit";
        /// Retransmitted SYN-ACKs.
        TcpRetransmitSynack = 2, "tcp_retransmit_synack";
        /// Resets sent and received.
        TcpReset = 3, "tcp_reset";
        /// Live counters of open sockets.
        OpenSockets = 4, "open_sockets";
        /// UDP packets.
        Udp = 5, "udp";
        /// UDP datagrams dropped because the receive buffer was full.
        UdpDrop = 6, "udp_drop";
        /// DNS messages.
        Dns = 7, "dns";
        /// DNS queries that ICMP reports as refused.
        DnsRefused = 8, "dns_refused";
        /// Packets that the kernel dropped.
        PacketDrop = 9, "packet_drop";
        /// Connects that fail before a SYN is sent.
        TcpConnect = 10, "tcp_connect";
    }
}
