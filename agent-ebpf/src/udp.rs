//! Counting UDP datagrams.

use netcause_common::flow::{PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

use crate::flow::{key, udp_counters};
use crate::packet::{Datagrams, Direction, Packet};

/// Adds the datagrams of a packet to the flow of a local end.
#[inline(always)]
pub fn count(packet: Packet, local: u64, datagrams: &Datagrams, direction: Direction) {
    let ends = datagrams.ends;
    let role = role(packet.has_connected_socket(), ends.local_port, ends.remote_port);
    let service_port = if role == ROLE_CLIENT { ends.remote_port } else { ends.local_port };
    let flow = key(PROTOCOL_UDP, local, ends.remote, service_port, role);
    let Some(counters) = udp_counters(&flow) else { return };
    match direction {
        Direction::Sent => counters.sent(datagrams.count, datagrams.bytes),
        Direction::Received => counters.received(datagrams.count, datagrams.bytes),
    }
}

/// Role of the local end. UDP has no handshake to infer it from: servers answer many peers from one socket, so a
/// connected socket is a client's; else the lower port is the service's.
#[inline(always)]
pub fn role(is_connected: bool, local_port: u16, remote_port: u16) -> u8 {
    if is_connected || local_port >= remote_port { ROLE_CLIENT } else { ROLE_SERVER }
}
