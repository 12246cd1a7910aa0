//! Addresses as they are kept.

use std::net::IpAddr;

/// An address of either family in 16 octets: of IPv4, as it is mapped into IPv6 (RFC 4291 §2.5.5.2), which is how a socket of
/// both families sees it.
pub type Octets = [u8; 16];

/// As it is kept.
pub fn octets(address: IpAddr) -> Octets {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// As it is told.
pub fn address(octets: &Octets) -> IpAddr {
    IpAddr::from(*octets).to_canonical()
}
