//! Default sizes of the maps. Each can be configured; each says on `/metrics` how full it is.

/// TCP flows the kernel keeps apart; further ones are added to [`crate::flow::FlowKey::other`].
/// 16 384 × (32 octets of key + 608 of counters + bookkeeping) ≈ 11 MiB.
pub const DEFAULT_FLOWS: u32 = 16_384;

/// UDP flows, likewise; 16 384 × (32 + 40 + bookkeeping) ≈ 2 MiB.
pub const DEFAULT_UDP_FLOWS: u32 = 16_384;

/// TCP sockets remembered from connect to close; 131 072 × (8 + 96 + bookkeeping) ≈ 21 MiB.
pub const DEFAULT_SOCKETS: u32 = 131_072;

/// Listening ports: what role a socket has that is not remembered itself, and how long their queues are.
/// 8192 × (8 + 1 + bookkeeping) + 8192 × (16 + 24 + bookkeeping) ≈ 1.5 MiB.
pub const DEFAULT_LISTENERS: u32 = 8192;

/// Room for what a table refuses because it is being changed on this very CPU (Linux 5.11 to 6.5), and nothing else:
/// such moments are rare.
pub const SPARE_FLOWS: u32 = 1024;
/// The same for UDP flows.
pub const SPARE_UDP_FLOWS: u32 = 1024;
/// The same for sockets.
pub const SPARE_SOCKETS: u32 = 8192;

/// Networks whose clients are told apart, beside those of the names file.
pub const NETWORKS: u32 = 1024;

/// Octets of the ring buffer that carries detail events; a power of two and a multiple of the page size.
pub const DEFAULT_EVENT_RING_BYTES: u32 = 256 * 1024;

/// Pairs of a client and its DNS server, and DNS servers here; 4096 × (32 + 384 + bookkeeping) ≈ 2 MiB.
pub const DEFAULT_DNS_FLOWS: u32 = 4096;

/// DNS queries of clients that wait for their answer; 16 384 × (32 + 32 + bookkeeping) ≈ 2 MiB.
pub const DEFAULT_DNS_QUERIES: u32 = 16_384;

/// Queries that DNS servers here have not answered yet; 8192 × (32 + 16 + bookkeeping) ≈ 1 MiB.
pub const DNS_SERVED: u32 = 8192;

/// Queries that have timed out and may be answered late.
pub const DNS_LATE: u32 = 4096;

/// Questions that are remembered to recognize repetitions and to name what is not answered; a power of two.
/// 8192 × 168 ≈ 1.3 MiB.
pub const DNS_QUESTIONS: u32 = 8192;

/// The same as [`SPARE_FLOWS`] for pairs of DNS.
pub const SPARE_DNS_FLOWS: u32 = 64;

/// Octets of the ring buffer of DNS details: one of their own, so that a storm of queries crowds out no other event.
pub const DNS_RING_BYTES: u32 = 512 * 1024;
