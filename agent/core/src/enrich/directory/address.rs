//! Addresses as the directory stores them.

use std::net::IpAddr;

/// An address of either family in 16 bytes: IPv4 as it is mapped into IPv6 (RFC 4291 §2.5.5.2), because a dual-stack socket
/// sees it so.
pub type AddressBytes = [u8; 16];

/// Encodes an address for storage.
pub fn to_bytes(address: IpAddr) -> AddressBytes {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Decodes a stored address; an IPv4-mapped one becomes IPv4.
pub fn to_ip(bytes: &AddressBytes) -> IpAddr {
    IpAddr::from(*bytes).to_canonical()
}
