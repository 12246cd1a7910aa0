//! One address type for IPv4, IPv6 and v4-mapped IPv6.

use bytemuck::{Pod, Zeroable};

/// An IP address as 16 bytes in network order. IPv4 is v4-mapped IPv6 (RFC 4291 §2.5.5.2), so that a peer has one form
/// whatever the socket's family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct Address {
    /// The address as two words in memory order; `to_bytes` returns its bytes.
    pub words: [u64; 2],
}

/// Last four bytes of the prefix `::ffff:0:0/96` in memory order; all before them are zero.
const MAPPED_PREFIX: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// Any client outside the known networks: `::`, the unspecified address.
    pub const EXTERNAL: Self = Self { words: [0, 0] };
    /// All clients of a DNS server: all ones but the last bit, an address that is not in use.
    pub const ANY: Self = Self { words: [u64::MAX, u64::MAX ^ 1] };
    /// Peers beyond those that one workload may have flows of its own with.
    pub const OTHER: Self = Self { words: [u64::MAX, u64::MAX ^ 2] };
    /// A peer that the kernel does not report: all ones, not in use either.
    pub const UNKNOWN: Self = Self { words: [u64::MAX, u64::MAX] };

    /// True when it stands for peers without an address of their own here.
    #[inline(always)]
    #[must_use]
    pub fn is_placeholder(self) -> bool {
        [Self::EXTERNAL, Self::ANY, Self::OTHER, Self::UNKNOWN].contains(&self)
    }

    /// From an IPv4 address in network order.
    #[inline(always)]
    #[must_use]
    pub const fn from_v4_network_order(v4: u32) -> Self {
        #[cfg(target_endian = "little")]
        let low = (v4 as u64) << 32 | MAPPED_PREFIX as u64;
        #[cfg(target_endian = "big")]
        let low = (MAPPED_PREFIX as u64) << 32 | v4 as u64;
        Self { words: [0, low] }
    }

    /// The IPv4 address in network order; `None` for IPv6.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "halves of words")]
    pub const fn to_v4_network_order(self) -> Option<u32> {
        let [high, low] = self.words;
        #[cfg(target_endian = "little")]
        let (prefix, v4) = (low as u32, (low >> 32) as u32);
        #[cfg(target_endian = "big")]
        let (prefix, v4) = ((low >> 32) as u32, low as u32);
        if high == 0 && prefix == MAPPED_PREFIX { Some(v4) } else { None }
    }

    /// From an IPv6 address in network order.
    #[inline(always)]
    #[must_use]
    pub const fn from_network_order(v6: [u32; 4]) -> Self {
        #[cfg(target_endian = "little")]
        let words = [(v6[1] as u64) << 32 | v6[0] as u64, (v6[3] as u64) << 32 | v6[2] as u64];
        #[cfg(target_endian = "big")]
        let words = [(v6[0] as u64) << 32 | v6[1] as u64, (v6[2] as u64) << 32 | v6[3] as u64];
        Self { words }
    }

    /// The address as four 32-bit words in network order.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "halves of words")]
    pub const fn to_network_order(self) -> [u32; 4] {
        let [a, b] = self.words;
        #[cfg(target_endian = "little")]
        let pieces = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
        #[cfg(target_endian = "big")]
        let pieces = [(a >> 32) as u32, a as u32, (b >> 32) as u32, b as u32];
        pieces
    }

    /// The 16 bytes in network order.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        let (a, b) = (self.words[0].to_ne_bytes(), self.words[1].to_ne_bytes());
        [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn v4_is_v4_mapped() {
        let v4 = u32::from_ne_bytes([10, 1, 2, 3]);
        let bytes = Address::from_v4_network_order(v4).to_bytes();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(Address::from_v4_network_order(v4).to_v4_network_order(), Some(v4));
        assert_eq!(Address::UNKNOWN.to_v4_network_order(), None);
    }

    #[test]
    fn pieces_keep_their_order() {
        let pieces = [1, 2, 3, 4].map(|byte| u32::from_ne_bytes([byte, 0, 0, byte]));
        let address = Address::from_network_order(pieces);
        assert_eq!(address.to_bytes(), [1, 0, 0, 1, 2, 0, 0, 2, 3, 0, 0, 3, 4, 0, 0, 4]);
        assert_eq!(address.to_network_order(), pieces);
    }
}
