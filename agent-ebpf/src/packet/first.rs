//! What the first packet of a flow says of its socket. Read when a flow is new, and not for each packet.

use netcause_common::endpoint::Address;
use netcause_common::flow::ROLE_CLIENT;

use super::{Direction, Ends, Packet};
use crate::emit::First;
use crate::kernel::namespace_of_packet_socket;

impl Packet {
    /// The local end's address, of a packet from or to this peer; `None` where rules of the sender's namespace have translated it.
    #[inline(always)]
    fn own_address(self, peer: Address, direction: Direction) -> Option<Address> {
        // RFC 791 §3.1 and RFC 8200 §3: the destination follows the source.
        let (own, destination) = match (self.version()?, direction) {
            (4, Direction::Received) => return self.v4_at(16),
            (_, Direction::Received) => return self.v6_at(24),
            (4, Direction::Sent) => (self.v4_at(12)?, self.v4_at(16)?),
            (_, Direction::Sent) => (self.v6_at(8)?, self.v6_at(24)?),
        };
        (destination == peer).then_some(own)
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

    /// What is announced of a flow that begins with this packet, of a local end in its role.
    #[inline(always)]
    pub fn first(self, ends: Ends, role: u8, direction: Direction) -> First {
        let client_port = if role == ROLE_CLIENT { ends.local_port } else { ends.remote_port };
        match self.own_address(ends.remote, direction) {
            Some(own) => First { client_port, own, namespace: self.namespace() },
            None => First::default(),
        }
    }
}
