//! All tables. Sizes here are defaults; the daemon sets the configured ones before it loads the object.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use netcause_common::dns::{Asked, DetailWindow, DnsCounters, LastQuestion, QueryKey, Served, Streams};
use netcause_common::flow::{FlowKey, TcpCounters, UdpCounters};
use netcause_common::limits;
use netcause_common::probe::open_sockets::{AcceptQueue, ListenerKey, QueueKey, Sweep};
use netcause_common::socket::SocketState;
use netcause_common::statistics::{STATISTICS, Statistic};

// What an insertion or a removal may answer, from include/uapi/asm-generic/errno-base.h, negated as helpers return them.
/// There is no such key.
pub const ENOENT: i32 = -2;
/// The table is full.
pub const E2BIG: i32 = -7;
/// No memory for an entry.
pub const ENOMEM: i32 = -12;
/// The key is there already.
pub const EEXIST: i32 = -17;

/// Totals per TCP flow. A plain hash: an LRU would forget counts silently.
#[map]
pub static TCP_FLOWS: HashMap<FlowKey, TcpCounters> = HashMap::with_max_entries(limits::DEFAULT_FLOWS, 0);

/// Where a flow goes while [`TCP_FLOWS`] is being changed on the same CPU: before 6.6 a hash refuses a program that
/// interrupts such a change (EBUSY; `htab_lock_bucket`, kernel/bpf/hashtab.c). The daemon adds the two tables up.
#[map]
pub static TCP_FLOWS_SPARE: HashMap<FlowKey, TcpCounters> = HashMap::with_max_entries(limits::SPARE_FLOWS, 0);

/// Totals per UDP flow.
#[map]
pub static UDP_FLOWS: HashMap<FlowKey, UdpCounters> = HashMap::with_max_entries(limits::DEFAULT_UDP_FLOWS, 0);

/// As [`TCP_FLOWS_SPARE`], for [`UDP_FLOWS`].
#[map]
pub static UDP_FLOWS_SPARE: HashMap<FlowKey, UdpCounters> =
    HashMap::with_max_entries(limits::SPARE_UDP_FLOWS, 0);

/// Totals of DNS per client and server, and per server here.
#[map]
pub static DNS_FLOWS: HashMap<FlowKey, DnsCounters> = HashMap::with_max_entries(limits::DEFAULT_DNS_FLOWS, 0);

/// As [`TCP_FLOWS_SPARE`], for [`DNS_FLOWS`].
#[map]
pub static DNS_FLOWS_SPARE: HashMap<FlowKey, DnsCounters> =
    HashMap::with_max_entries(limits::SPARE_DNS_FLOWS, 0);

/// Queries of clients that wait for their answer. Whoever removes one has it: the program that sees the answer, or the
/// daemon when none comes.
#[map]
pub static DNS_QUERIES: HashMap<QueryKey, Asked> = HashMap::with_max_entries(limits::DEFAULT_DNS_QUERIES, 0);

/// Queries that servers here have not answered yet. A table of their own, so that what the internet sends to a server
/// never takes a client's place.
#[map]
pub static DNS_SERVED: HashMap<QueryKey, Served> = HashMap::with_max_entries(limits::DNS_SERVED, 0);

/// Queries that have timed out; the daemon moves them here, and removes them when no answer is to be expected any more.
#[map]
pub static DNS_LATE: HashMap<QueryKey, Served> = HashMap::with_max_entries(limits::DNS_LATE, 0);

/// How far the messages of a TCP connection were followed, at its socket.
#[btf_map]
pub static DNS_STREAMS: SkStorage<Streams> = SkStorage::new();

/// Questions by a hash of the workload and the question; a later one takes an earlier one's slot.
#[map]
pub static DNS_QUESTIONS: Array<LastQuestion> = Array::with_max_entries(limits::DNS_QUESTIONS, 0);

/// Details let through of late, by [`netcause_common::dns::Outcome`].
#[map]
pub static DNS_DETAILS: Array<DetailWindow> = Array::with_max_entries(2, 0);

/// Details of answers; losing one loses no count.
#[map]
pub static DNS_EVENTS: RingBuf = RingBuf::with_byte_size(limits::DNS_RING_BYTES, 0);

/// Where packets of DNS that a socket sends go on; the daemon puts the programs there when they could be loaded.
#[map]
pub static DNS_SENT: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// The same of packets that a socket receives.
#[map]
pub static DNS_RECEIVED: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Networks of IPv4 whose clients are told apart; the daemon fills it.
#[map]
pub static NETWORKS_V4: LpmTrie<u32, u8> = LpmTrie::with_max_entries(limits::NETWORKS, BPF_F_NO_PREALLOC);

/// The same of IPv6.
#[map]
pub static NETWORKS_V6: LpmTrie<[u32; 4], u8> =
    LpmTrie::with_max_entries(limits::NETWORKS, BPF_F_NO_PREALLOC);

/// TCP sockets by the address of their `struct sock`.
#[map]
pub static SOCKETS: HashMap<u64, SocketState> = HashMap::with_max_entries(limits::DEFAULT_SOCKETS, 0);

/// As [`TCP_FLOWS_SPARE`], for [`SOCKETS`].
#[map]
pub static SOCKETS_SPARE: HashMap<u64, SocketState> = HashMap::with_max_entries(limits::SPARE_SOCKETS, 0);

/// Ports that listen or did: a hint, so the least used may be forgotten.
#[map]
pub static LISTENERS: LruHashMap<ListenerKey, u8> =
    LruHashMap::with_max_entries(limits::DEFAULT_LISTENERS, 0);

/// Accept queues, as the last sweep found them. The daemon removes those that it did not find.
#[map]
pub static QUEUES: HashMap<QueueKey, AcceptQueue> = HashMap::with_max_entries(limits::DEFAULT_LISTENERS, 0);

/// The sweep that runs, or ran last.
#[map]
pub static SWEEP: Array<Sweep> = Array::with_max_entries(1, 0);

/// Detail events; losing one loses no count.
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

/// Adds to a counter in a map without losing what another CPU, or an interrupt on this one, adds meanwhile.
///
/// The instruction is written out: every kernel has this one, while the fetching form that a compiler may prefer
/// needs 5.12.
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
