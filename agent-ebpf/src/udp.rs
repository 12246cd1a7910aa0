//! Counting UDP datagrams.

pub mod role;

use netcause_common::flow::{PROTOCOL_UDP, ROLE_CLIENT};

use crate::flow::{key, udp_counters};
use crate::packet::{Direction, Ends, FirstPacket, Ip, Packet, Volume};

/// Adds the datagrams of a packet to the flow of a local end, whose socket may be connected.
#[inline(always)]
pub fn count(packet: Packet, is_connected: bool, local: u64, ip: Ip, direction: Direction) {
    let Some(ends) = packet.ends(ip, direction) else { return };
    let role = role::of_packet(packet, is_connected, local, ends, direction);
    // Read when it is needed, so that nothing but the packet is kept over calls.
    count_in_role(packet, role, local, ends, || packet.volume(ip), direction);
}

/// The same of a packet that was read already.
#[inline(always)]
pub fn count_read(packet: Packet, local: u64, ends: Ends, volume: Volume, direction: Direction) {
    let is_connected = packet.connected_port() != 0;
    let role = role::of_packet(packet, is_connected, local, ends, direction);
    count_in_role(packet, role, local, ends, || volume, direction);
}

#[inline(always)]
fn count_in_role(
    packet: Packet,
    role: u8,
    local: u64,
    ends: Ends,
    volume: impl FnOnce() -> Volume,
    direction: Direction,
) {
    let flow =
        key(PROTOCOL_UDP, local, ends.remote, service_port(role, ends.local_port, ends.remote_port), role);
    let Some(counters) = udp_counters(&flow, FirstPacket { packet, direction }) else { return };
    let Volume { count, bytes } = volume();
    match direction {
        Direction::Sent => counters.sent(count, bytes),
        Direction::Received => counters.received(count, bytes),
    }
}

/// The port that a flow is counted under.
#[inline(always)]
pub fn service_port(role: u8, local_port: u16, remote_port: u16) -> u16 {
    if role == ROLE_CLIENT { remote_port } else { local_port }
}
