//! What the first byte of an IPv4 address says of whether it is in a known network: a lookup in an array, where one in the
//! trie of all networks costs some two hundred instructions.

/// Number of first bytes.
pub const FIRST_BYTES: u32 = 256;

/// Nothing: the trie says it. What the table begins with.
pub const IN_TRIE: u8 = 0;
/// A known network has all addresses that begin so.
pub const ALL_KNOWN: u8 = 1;
/// No known network has an address that begins so.
pub const NONE_KNOWN: u8 = 2;
