//! Default sizes of the maps.

/// TCP flows; when the map is full, further ones count for [`crate::flow::FlowKey::other`].
/// 16 384 × (32 bytes of key + 800 of counters + bookkeeping) ≈ 13 MiB.
pub const DEFAULT_FLOWS: u32 = 16_384;

/// UDP flows; 16 384 × (32 + 72 + bookkeeping) ≈ 2.5 MiB.
pub const DEFAULT_UDP_FLOWS: u32 = 16_384;

/// TCP sockets, from connect to destruction; 131 072 × (8 + 104 + bookkeeping) ≈ 22 MiB.
pub const DEFAULT_SOCKETS: u32 = 131_072;

/// Listening ports (for the role of sockets that are not in the socket map) and their accept queues.
/// 8192 × (8 + 1 + bookkeeping) + 8192 × (16 + 56 + bookkeeping) ≈ 1.7 MiB.
pub const DEFAULT_LISTENERS: u32 = 8192;

/// Network namespaces with a listening socket; 4096 × (4 + 16 + bookkeeping) ≈ 0.3 MiB.
pub const LISTENING_NAMESPACES: u32 = 4096;

/// Local ends of clients' flows by network namespace, to find the flow of a segment that came too late for its socket.
/// 8192 × (32 + 8 + bookkeeping) ≈ 0.8 MiB.
pub const OWNERS: u32 = 8192;

/// TCP flows of peers that have not completed a handshake. Their addresses may be forged, so that there may be any number of
/// them; further ones count for the peer [`crate::endpoint::Address::UNKNOWN`] of each listening port or network namespace.
pub const UNVERIFIED_FLOWS: i64 = 64;

/// UDP ports of local services that their number does not show to be one; a forgotten one is learned again with its next
/// socket. 1024 × (16 + 1 + bookkeeping) ≈ 100 KiB.
pub const UDP_SERVICES: u32 = 1024;

/// UDP sockets that are held by another workload than their maker's; of further ones the maker's name stays.
/// 1024 × (16 + 40 + bookkeeping) ≈ 130 KiB.
pub const UDP_HOLDERS: u32 = 1024;

/// Local ends whose flows are counted, to limit them, in each table; 2048 × (16 + 8 + bookkeeping) ≈ 150 KiB.
pub const TENANTS: u32 = 2048;

/// Overflow map of TCP flows: for updates that fail with -EBUSY because the program interrupted an update of the same
/// bucket on its CPU (Linux 5.11 to 6.5), which is rare.
pub const SPARE_FLOWS: u32 = 1024;
/// Overflow map of UDP flows.
pub const SPARE_UDP_FLOWS: u32 = 1024;
/// Overflow map of sockets.
pub const SPARE_SOCKETS: u32 = 8192;

/// Dropped packets by workload, peer and reason; when the map is full, further ones count for
/// [`crate::drops::DropKey::other`]. 4096 × (48 + 8 + bookkeeping) ≈ 0.5 MiB.
pub const DROPS: u32 = 4096;

/// Threads that are connecting at a time, where kprobes have to find out what fails. 1024 × (8 + 24 + bookkeeping) ≈ 0.1 MiB.
pub const CONNECTS: u32 = 1024;

/// Networks whose clients count by address, in addition to those of the names file.
pub const NETWORKS: u32 = 1024;

/// Size of the ring buffer of events in bytes; a power of two and a multiple of the page size.
pub const DEFAULT_EVENT_RING_BYTES: u32 = 256 * 1024;

/// DNS flows: pairs of a local client and its server, and local servers; 4096 × (32 + 408 + bookkeeping) ≈ 2 MiB.
pub const DEFAULT_DNS_FLOWS: u32 = 4096;

/// Pending DNS queries of local clients; 16 384 × (32 + 40 + bookkeeping) ≈ 2 MiB.
pub const DEFAULT_DNS_QUERIES: u32 = 16_384;

/// Pending queries to local DNS servers; 8192 × (32 + 16 + bookkeeping) ≈ 1 MiB.
pub const DNS_SERVED: u32 = 8192;

/// Queries that have timed out and may still get a late response.
pub const DNS_LATE: u32 = 4096;

/// Slots for recent questions, to recognize repetitions and to name queries that time out; a power of two.
/// 8192 × 192 = 1.5 MiB.
pub const DNS_QUESTIONS: u32 = 8192;

/// Slots for closed sockets, to know which queries their askers have abandoned; a power of two. 16 384 × 16 = 256 KiB.
pub const DNS_CLOSED: u32 = 16_384;

/// Overflow map of DNS flows.
pub const SPARE_DNS_FLOWS: u32 = 64;

/// Size of the ring buffer of DNS details in bytes; separate, so that a storm of responses does not displace other events.
pub const DNS_RING_BYTES: u32 = 512 * 1024;
