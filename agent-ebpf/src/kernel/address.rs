//! Addresses that applications pass to system calls.

use netcause_common::endpoint::Address;

use super::memory::{Memory, Untyped};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Shorter IPv6 addresses are refused (`SIN6_LEN_RFC2133`, include/net/ipv6.h).
const LEAST_V6: i32 = 24;
/// `sizeof(struct sockaddr_in)`.
const LEAST_V4: i32 = 16;

/// An address and a port.
#[derive(Clone, Copy)]
pub struct SocketAddress {
    /// The address; v4-mapped for IPv4.
    pub address: Address,
    /// The port, host order.
    pub port: u16,
    /// True for an IPv4 address that was written as one of IPv6: `::ffff:192.0.2.1`.
    pub is_mapped: bool,
}

impl SocketAddress {
    /// From a `struct sockaddr *` argument that the kernel has copied, and its length; `None` where the kernel refuses it for its length
    /// or family.
    ///
    /// Its members have the same places on every kernel (include/uapi/linux/in.h, in6.h).
    #[inline(always)]
    pub fn of_tcp(pointer: u64, length: i32) -> Option<Self> {
        if pointer == 0 || length < LEAST_V4 {
            return None;
        }
        let memory = Untyped(pointer);
        let [family, port] = memory.read::<[u16; 2]>(0);
        let address = match family {
            AF_INET => Address::from_v4_network_order(memory.read(4)),
            AF_INET6 if length >= LEAST_V6 => Address { words: [memory.read(8), memory.read(16)] },
            _ => return None,
        };
        let is_mapped = family == AF_INET6 && address.to_v4_network_order().is_some();
        Some(Self { address, port: u16::from_be(port), is_mapped })
    }

    /// True for an address that needs a device: RFC 4291 §2.5.6.
    #[inline(always)]
    pub fn is_link_local(self) -> bool {
        let [first, second, ..] = self.address.to_network_order()[0].to_ne_bytes();
        first == 0xfe && second & 0xc0 == 0x80
    }

    /// True for a multicast address: RFC 5771 §3, RFC 4291 §2.7.
    #[inline(always)]
    pub fn is_multicast(self) -> bool {
        match self.address.to_v4_network_order() {
            Some(v4) => v4.to_ne_bytes()[0] & 0xf0 == 0xe0 || v4 == u32::MAX,
            None => self.address.to_network_order()[0].to_ne_bytes()[0] == 0xff,
        }
    }
}
