//! All maps but the one of [`once`](crate::once). Sizes here are defaults; the daemon sets the configured ones before it
//! loads the object.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use netcause_common::dns::{
    Asked, ClosedSocket, DetailWindow, DnsCounters, LastQuestion, QueryKey, Served, Streams,
};
use netcause_common::drops::{DropKey, GROUPS, LostGroup};
use netcause_common::flow::{FlowKey, TcpCounters, Tenant, UdpCounters, UdpService, UdpSpeaker};
use netcause_common::limits;
use netcause_common::networks;
use netcause_common::probe::open_sockets::{
    AcceptQueue, ListenerKey, ListeningNamespace, QueueKey, Sweep, UdpHolders,
};
use netcause_common::probe::tcp_connect::Call;
use netcause_common::socket::SocketState;
use netcause_common::statistics::{STATISTICS, Statistic};

// Errors of insertions and removals, from include/uapi/asm-generic/errno-base.h, negated as helpers return them.
/// The key does not exist.
pub const ENOENT: i32 = -2;
/// The map is full.
pub const E2BIG: i32 = -7;
/// No memory for an entry.
pub const ENOMEM: i32 = -12;
/// The key exists.
pub const EEXIST: i32 = -17;

/// Counters per TCP flow. A plain hash map: an LRU map would drop counts silently.
#[map]
pub static TCP_FLOWS: HashMap<FlowKey, TcpCounters> = HashMap::with_max_entries(limits::DEFAULT_FLOWS, 0);

/// Overflow map of [`TCP_FLOWS`]. Before 6.6 an update of a hash map fails with -EBUSY when the program interrupted an update
/// of the same bucket on its CPU (`htab_lock_bucket`, kernel/bpf/hashtab.c); the entry goes here, and the daemon adds both
/// maps.
#[map]
pub static TCP_FLOWS_SPARE: HashMap<FlowKey, TcpCounters> = HashMap::with_max_entries(limits::SPARE_FLOWS, 0);

/// Counters per UDP flow.
#[map]
pub static UDP_FLOWS: HashMap<FlowKey, UdpCounters> = HashMap::with_max_entries(limits::DEFAULT_UDP_FLOWS, 0);

/// Overflow map of [`UDP_FLOWS`]; see [`TCP_FLOWS_SPARE`].
#[map]
pub static UDP_FLOWS_SPARE: HashMap<FlowKey, UdpCounters> =
    HashMap::with_max_entries(limits::SPARE_UDP_FLOWS, 0);

/// Counters of DNS per local client and its server, and per local server.
#[map]
pub static DNS_FLOWS: HashMap<FlowKey, DnsCounters> = HashMap::with_max_entries(limits::DEFAULT_DNS_FLOWS, 0);

/// Overflow map of [`DNS_FLOWS`]; see [`TCP_FLOWS_SPARE`].
#[map]
pub static DNS_FLOWS_SPARE: HashMap<FlowKey, DnsCounters> =
    HashMap::with_max_entries(limits::SPARE_DNS_FLOWS, 0);

/// Pending queries of local clients. Only the one that removes an entry counts it: the program that sees the response, or the
/// daemon after the timeout.
#[map]
pub static DNS_QUERIES: HashMap<QueryKey, Asked> = HashMap::with_max_entries(limits::DEFAULT_DNS_QUERIES, 0);

/// Pending queries to local servers. A separate map, so that queries from the internet do not displace those of local
/// clients.
#[map]
pub static DNS_SERVED: HashMap<QueryKey, Served> = HashMap::with_max_entries(limits::DNS_SERVED, 0);

/// Queries that have timed out; the daemon moves them here, and removes them when a late response is no longer expected.
#[map]
pub static DNS_LATE: HashMap<QueryKey, Served> = HashMap::with_max_entries(limits::DNS_LATE, 0);

/// Reassembly state of TCP connections, in the storage of their sockets.
#[btf_map]
pub static DNS_STREAMS: SkStorage<Streams> = SkStorage::new();

/// Who spoke first at each UDP socket whose ports do not say it.
#[btf_map]
pub static UDP_SPEAKERS: SkStorage<UdpSpeaker> = SkStorage::new();

/// UDP ports that were spoken to first.
#[map]
pub static UDP_SERVICES: LruHashMap<UdpService, u8> = LruHashMap::with_max_entries(limits::UDP_SERVICES, 0);

/// Recent questions, by a hash of the workload and the question; a later one replaces the one in its slot.
#[map]
pub static DNS_QUESTIONS: Array<LastQuestion> = Array::with_max_entries(limits::DNS_QUESTIONS, 0);

/// Sockets that may have asked and are closed, by their cookie.
#[map]
pub static DNS_CLOSED: Array<ClosedSocket> = Array::with_max_entries(limits::DNS_CLOSED, 0);

/// Rate limit of details, by [`netcause_common::dns::Outcome`].
#[map]
pub static DNS_DETAILS: Array<DetailWindow> = Array::with_max_entries(2, 0);

/// Ring buffer of response details; a lost one affects no counter.
#[map]
pub static DNS_EVENTS: RingBuf = RingBuf::with_byte_size(limits::DNS_RING_BYTES, 0);

/// Programs for DNS packets that a socket sends; the daemon inserts those that could be loaded.
#[map]
pub static DNS_SENT: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Programs for DNS packets that a socket receives.
#[map]
pub static DNS_RECEIVED: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Dropped packets. The daemon inserts the entries of [`DropKey::other`].
#[map]
pub static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(limits::DROPS, 0);

/// TCP data that was dropped and is to be retransmitted.
#[map]
pub static LOST: Array<LostGroup> = Array::with_max_entries(GROUPS, 0);

/// How many flows each local end has.
#[map]
pub static TENANTS: HashMap<Tenant, u64> = HashMap::with_max_entries(limits::TENANTS, 0);

/// What the first byte of an IPv4 address says of its network: one of [`netcause_common::networks`]; the daemon fills it.
#[map]
pub static NETWORKS_V4_FIRST: Array<u8> = Array::with_max_entries(networks::FIRST_BYTES, 0);

/// IPv4 networks whose clients count by address; the daemon fills it.
#[map]
pub static NETWORKS_V4: LpmTrie<u32, u8> = LpmTrie::with_max_entries(limits::NETWORKS, BPF_F_NO_PREALLOC);

/// IPv6 networks whose clients count by address; the daemon fills it.
#[map]
pub static NETWORKS_V6: LpmTrie<[u32; 4], u8> =
    LpmTrie::with_max_entries(limits::NETWORKS, BPF_F_NO_PREALLOC);

/// Connects that have not returned, by thread, where kprobes have to find out what fails. What a thread leaves makes room for others.
#[map]
pub static CONNECTS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(limits::CONNECTS, 0);

/// TCP sockets by the address of their `struct sock`.
#[map]
pub static SOCKETS: HashMap<u64, SocketState> = HashMap::with_max_entries(limits::DEFAULT_SOCKETS, 0);

/// Overflow map of [`SOCKETS`]; see [`TCP_FLOWS_SPARE`].
#[map]
pub static SOCKETS_SPARE: HashMap<u64, SocketState> = HashMap::with_max_entries(limits::SPARE_SOCKETS, 0);

/// 1 once an entry was put into [`SOCKETS_SPARE`]: on most kernels none ever is, and the sockets that are new need not be looked up
/// there.
#[map]
pub static SOCKETS_SPARE_USED: Array<u8> = Array::with_max_entries(1, 0);

/// The local end of each client's flow, under the flow's key with its network namespace for its local end; 0 when several
/// have that key. A hint as well.
#[map]
pub static OWNERS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(limits::OWNERS, 0);

/// How many more flows may be inserted for peers that have not completed a handshake; the daemon sets it at each reading.
#[map]
pub static UNVERIFIED_ROOM: Array<i64> = Array::with_max_entries(1, 0);

/// Ports that listen or did, with the local end of the last listener: a hint, so the least recently used may be evicted.
#[map]
pub static LISTENERS: LruHashMap<ListenerKey, u64> =
    LruHashMap::with_max_entries(limits::DEFAULT_LISTENERS, 0);

/// Accept queues at the last sweep. The daemon removes entries that the sweep does not update any more.
#[map]
pub static QUEUES: HashMap<QueueKey, AcceptQueue> = HashMap::with_max_entries(limits::DEFAULT_LISTENERS, 0);

/// UDP sockets that are held by others than their makers, at the last sweep. The daemon removes entries that the sweep does not
/// update any more.
#[map]
pub static UDP_HOLDERS: HashMap<QueueKey, UdpHolders> = HashMap::with_max_entries(limits::UDP_HOLDERS, 0);

/// Network namespaces in which the last sweep found a listening socket of a process that is in the same. The daemon removes
/// entries that the sweep does not update any more.
#[map]
pub static LISTENING_NAMESPACES: HashMap<u32, ListeningNamespace> =
    HashMap::with_max_entries(limits::LISTENING_NAMESPACES, 0);

/// State of the current or last sweep, and what it has found. The daemon maps it into its memory.
#[map]
pub static SWEEP: Array<Sweep> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Ring buffer of events; a lost one affects no counter.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(limits::DEFAULT_EVENT_RING_BYTES, 0);

#[map]
static STATISTIC: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATISTICS, 0);

/// Adds one to a statistic.
#[inline(always)]
pub fn count(statistic: Statistic) {
    count_at(statistic as u32);
}

/// Adds one to the statistic at `index`.
#[inline(always)]
pub fn count_at(index: u32) {
    if let Some(value) = STATISTIC.get_ptr_mut(index) {
        add(value, 1);
    }
}

/// Adds to a counter in a map atomically, with respect to other CPUs and interrupts on this one.
///
/// In assembly, because the compiler may choose the fetching form of the instruction, which needs 5.12.
#[inline(always)]
pub fn add(counter: *mut u64, amount: u64) {
    // SAFETY: every caller passes the address of an aligned counter in a map value, and the verifier checks its bounds.
    #[cfg(target_arch = "bpf")]
    #[expect(unsafe_code, reason = "an atomic addition in memory that all CPUs share")]
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) amount, options(nostack));
    }
    // For lints on the host, where no program runs.
    #[cfg(not(target_arch = "bpf"))]
    let _ = (counter, amount);
}
