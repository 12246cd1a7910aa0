//! Default sizes of the maps. Each can be configured; each says on `/metrics` how full it is.

/// Flows the kernel keeps apart; further ones are added to [`crate::flow::FlowKey::other`].
/// 16 384 × (32 octets of key + 304 of counters + bookkeeping) ≈ 6 MiB.
pub const DEFAULT_FLOWS: u32 = 16_384;

/// TCP sockets remembered from connect to close; 131 072 × (8 + 16 + bookkeeping) ≈ 10 MiB.
pub const DEFAULT_SOCKETS: u32 = 131_072;

/// Room for what a table refuses because it is being changed on this very CPU (Linux 5.11 to 6.5), and nothing else:
/// such moments are rare.
pub const SPARE_FLOWS: u32 = 1024;
/// The same for sockets.
pub const SPARE_SOCKETS: u32 = 8192;

/// Listening ports remembered: what role a socket has that is not remembered itself.
pub const LISTENERS: u32 = 16_384;

/// Octets of the ring buffer that carries detail events; a power of two and a multiple of the page size.
pub const DEFAULT_EVENT_RING_BYTES: u32 = 256 * 1024;
