//! One file per probe, named as on the daemon's side.

mod dns;
mod dns_refused;
mod open_sockets;
mod packet_drop;
mod tcp_connect;
mod tcp_reset;
mod tcp_retransmit;
mod tcp_retransmit_synack;
mod tcp_state;
mod udp;
mod udp_drop;
