//! Counting UDP datagrams.

pub mod role;

use netcause_common::flow::{PROTOCOL_UDP, ROLE_CLIENT};

use crate::emit::{Beginning, Unseen};
use crate::flow::{key, udp_counters};
use crate::packet::{Direction, Ends, FirstPacket, Ip, Packet, Volume};

/// Adds the datagrams of a packet to the flow of a local end, whose socket may be connected.
#[inline(always)]
pub fn count(packet: Packet, is_connected: bool, local: u64, ip: Ip, direction: Direction) {
    let Some(ends) = packet.ends(ip, direction) else { return };
    let role = role::of_packet(packet, is_connected, local, ends, direction);
    // Both are read when they are needed, so that nothing but the packet is kept over calls.
    count_in_role(role, local, ends, || packet.volume(ip), direction, FirstPacket { packet, direction });
}

/// The same in programs of DNS, which have no room to announce where the packet came from: its peer is not looked for on this node.
#[inline(always)]
pub fn count_unnamed(packet: Packet, local: u64, ends: Ends, volume: Volume, direction: Direction) {
    let is_connected = packet.connected_port() != 0;
    let role = role::of_packet(packet, is_connected, local, ends, direction);
    count_in_role(role, local, ends, || volume, direction, Unseen);
}

#[inline(always)]
fn count_in_role(
    role: u8,
    local: u64,
    ends: Ends,
    volume: impl FnOnce() -> Volume,
    direction: Direction,
    beginning: impl Beginning,
) {
    let flow =
        key(PROTOCOL_UDP, local, ends.remote, service_port(role, ends.local_port, ends.remote_port), role);
    let Some(counters) = udp_counters(&flow, beginning) else { return };
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
