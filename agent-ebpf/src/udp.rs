//! Counting UDP datagrams.

pub mod role;

use netcause_common::flow::{PROTOCOL_UDP, ROLE_CLIENT};

use crate::emit::First;
use crate::flow::{key, udp_counters};
use crate::packet::{Datagrams, Direction, Packet};

/// Adds the datagrams of a packet to the flow of a local end, whose socket may be connected.
#[inline(always)]
pub fn count(packet: Packet, is_connected: bool, local: u64, datagrams: &Datagrams, direction: Direction) {
    let ends = datagrams.ends;
    let role = role::of_packet(packet, is_connected, local, ends, direction);
    count_in_role(role, local, datagrams, direction, || packet.first(ends, role, direction));
}

/// The same in programs of DNS, which have no room to announce where the packet came from: its peer is not looked for on this node.
#[inline(always)]
pub fn count_unnamed(packet: Packet, local: u64, datagrams: &Datagrams, direction: Direction) {
    let is_connected = packet.connected_port() != 0;
    let role = role::of_packet(packet, is_connected, local, datagrams.ends, direction);
    count_in_role(role, local, datagrams, direction, First::default);
}

#[inline(always)]
fn count_in_role(
    role: u8,
    local: u64,
    datagrams: &Datagrams,
    direction: Direction,
    first: impl FnOnce() -> First,
) {
    let ends = datagrams.ends;
    let flow =
        key(PROTOCOL_UDP, local, ends.remote, service_port(role, ends.local_port, ends.remote_port), role);
    let Some(counters) = udp_counters(&flow, first) else { return };
    match direction {
        Direction::Sent => counters.sent(datagrams.count, datagrams.bytes),
        Direction::Received => counters.received(datagrams.count, datagrams.bytes),
    }
}

/// The port that a flow is counted under.
#[inline(always)]
pub fn service_port(role: u8, local_port: u16, remote_port: u16) -> u16 {
    if role == ROLE_CLIENT { remote_port } else { local_port }
}
