//! What the first packet of a flow says of its socket. Read when a flow is new, and not for each packet.

use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, ROLE_CLIENT};

use super::{Direction, Packet};
use crate::emit::{Beginning, First};
use crate::kernel::namespace_of_packet_socket;

/// The packet that a flow begins with, if it is new. It is parsed once more then, so that packets of known flows need not keep
/// anything for an announcement that they do not make.
pub struct FirstPacket {
    /// The packet.
    pub packet: Packet,
    /// Its direction.
    pub direction: Direction,
}

impl Beginning for FirstPacket {
    #[inline(always)]
    fn first(self, flow: &FlowKey) -> First {
        self.packet.announcement(flow, self.direction).unwrap_or_default()
    }
}

impl Packet {
    /// What is announced of a flow that begins with it; nothing where rules of the sender's namespace have translated it.
    #[inline(always)]
    fn announcement(self, flow: &FlowKey, direction: Direction) -> Option<First> {
        let ends = self.ends(self.ip()?, direction)?;
        let is_client = flow.role == ROLE_CLIENT;
        if is_client && ends.remote != flow.remote {
            return None;
        }
        let client_port = if is_client { ends.local_port } else { ends.remote_port };
        Some(First { client_port, own: self.own_address(direction)?, namespace: self.namespace() })
    }

    /// The local end's address.
    #[inline(always)]
    fn own_address(self, direction: Direction) -> Option<Address> {
        // RFC 791 §3.1 and RFC 8200 §3: the destination follows the source.
        match (self.version()?, direction) {
            (4, Direction::Received) => self.v4_at(16),
            (4, Direction::Sent) => self.v4_at(12),
            (_, Direction::Received) => self.v6_at(24),
            (_, Direction::Sent) => self.v6_at(8),
        }
    }

    #[inline(always)]
    fn v4_at(self, offset: usize) -> Option<Address> {
        self.at(offset).copied().map(Address::from_v4_network_order)
    }

    #[inline(always)]
    fn v6_at(self, offset: usize) -> Option<Address> {
        self.at(offset).copied().map(Address::from_network_order)
    }

    /// Inode number of the network namespace of the packet's socket; 0 without one.
    #[inline(always)]
    fn namespace(self) -> u32 {
        // SAFETY: the context is the program's own.
        let socket = unsafe { (*self.0).__bindgen_anon_2.sk };
        if socket.is_null() { 0 } else { namespace_of_packet_socket(socket.cast_const().cast()) }
    }
}
