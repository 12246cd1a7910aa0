//! Keys and counters of flows.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::HashMap;
use aya_ebpf::maps::lpm_trie::Key;
use aya_log_ebpf::debug;
use netcause_common::dns::DnsCounters;
use netcause_common::drops::DropCause;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    CloseReason, ConnectFailure, FlowKey, IcmpError, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER, ResetDirection,
    ResetReason, RetransmitKind, TcpCounters, Timeouts, UdpCounters,
};
use netcause_common::histogram::{CONNECT_BOUNDS_NS, Histogram, RTT_BOUNDS_US, bucket};
use netcause_common::networks;
use netcause_common::statistics::Statistic;

use crate::emit::{Beginning, First, Unseen, announce};
use crate::kernel::{Memory, TcpSock};
use crate::maps::{
    DNS_FLOWS, DNS_FLOWS_SPARE, E2BIG, EEXIST, ENOMEM, NETWORKS_V4, NETWORKS_V4_FIRST, NETWORKS_V6,
    TCP_FLOWS, TCP_FLOWS_SPARE, UDP_FLOWS, UDP_FLOWS_SPARE, add, count,
};
use crate::quota::{self, Quota};
use crate::stray;

/// Initial values of new entries, in read-only data because they are too large for a program's stack.
static ZERO_TCP: TcpCounters = TcpCounters::ZERO;
static ZERO_UDP: UdpCounters = UdpCounters::ZERO;
static ZERO_DNS: DnsCounters = DnsCounters::ZERO;

/// Key of the flow of a local end in its role.
#[inline(always)]
pub fn key(protocol: u8, local: u64, remote: Address, service_port: u16, role: u8) -> FlowKey {
    let remote = if role == ROLE_SERVER { client(remote) } else { remote };
    FlowKey { local, remote, service_port, protocol, role, reserved: 0 }
}

/// Key of the flow of a TCP socket.
#[inline(always)]
pub fn of_socket<M: Memory>(socket: TcpSock<M>, role: u8) -> FlowKey {
    let service_port = if role == ROLE_CLIENT { socket.common().remote_port() } else { socket.local_port() };
    key(PROTOCOL_TCP, socket.local(), socket.common().remote_address(), service_port, role)
}

/// Clients outside the known networks share one address: the internet has more than any map holds.
#[inline(always)]
pub fn client(remote: Address) -> Address {
    let is_known = match remote.to_v4_network_order() {
        // Where its first byte says it, as in private networks, the trie need not be walked.
        Some(v4) => match NETWORKS_V4_FIRST.get(u32::from(v4.to_ne_bytes()[0])) {
            Some(&networks::ALL_KNOWN) => true,
            Some(&networks::NONE_KNOWN) => false,
            _ => NETWORKS_V4.get(Key::new(32, v4)).is_some(),
        },
        None => NETWORKS_V6.get(Key::new(128, remote.to_network_order())).is_some(),
    };
    if is_known { remote } else { Address::EXTERNAL }
}

/// The counters of a TCP flow, inserted when it is new. When the map is full, those of [`FlowKey::other`]: only the name is
/// lost.
#[inline(always)]
pub fn counters(key: &FlowKey) -> Option<Counters> {
    counters_from(key, Unseen)
}

/// The same as [`counters`]; a new flow is announced with its first connection, which is read only then.
#[inline(always)]
fn counters_from(key: &FlowKey, beginning: impl Beginning) -> Option<Counters> {
    find_or_insert(&TCP_FLOWS, &TCP_FLOWS_SPARE, &ZERO_TCP, key, beginning).map(Counters)
}

/// The same as [`counters`], for the flow of a socket.
#[inline(always)]
pub fn counters_of<M: Memory>(socket: TcpSock<M>, key: &FlowKey) -> Option<Counters> {
    counters_from(key, socket)
}

impl<M: Memory> Beginning for TcpSock<M> {
    #[inline(always)]
    fn first(self, flow: &FlowKey) -> First {
        let (own, namespace) = (self.common().local_address(), self.namespace());
        if flow.role != ROLE_CLIENT {
            // The port shows the daemon which connection of a client on this node it is.
            return First { client_port: self.common().remote_port(), own, namespace };
        }
        stray::insert_owner(flow, namespace);
        // The port lets the daemon look up where the address of a Service was translated to.
        First { client_port: self.local_port(), own, namespace }
    }
}

/// The counters of a TCP flow that has an entry.
#[inline(always)]
pub fn existing_counters(key: &FlowKey) -> Option<Counters> {
    TCP_FLOWS.get_ptr_mut(key).or_else(|| TCP_FLOWS_SPARE.get_ptr_mut(key)).map(Counters)
}

/// The counters of a UDP flow; see [`counters`]. A new flow is announced with its first packet, which is read only then.
#[inline(always)]
pub fn udp_counters(key: &FlowKey, beginning: impl Beginning) -> Option<DatagramCounters> {
    find_or_insert(&UDP_FLOWS, &UDP_FLOWS_SPARE, &ZERO_UDP, key, beginning).map(DatagramCounters)
}

/// The counters of a DNS flow; see [`udp_counters`].
#[inline(always)]
pub fn dns_counters(key: &FlowKey, beginning: impl Beginning) -> Option<*mut DnsCounters> {
    find_or_insert(&DNS_FLOWS, &DNS_FLOWS_SPARE, &ZERO_DNS, key, beginning)
}

#[inline(always)]
fn find_or_insert<V>(
    table: &'static HashMap<FlowKey, V>,
    overflow: &'static HashMap<FlowKey, V>,
    zero: &'static V,
    key: &FlowKey,
    beginning: impl Beginning,
) -> Option<*mut V> {
    if let Some(counters) = table.get_ptr_mut(key) {
        return Some(counters);
    }
    let quota = quota::take(key);
    if quota == Quota::Full {
        count(Statistic::FlowsFolded);
        let others = key.others_of();
        let _ = table.insert(others, zero, u64::from(BPF_NOEXIST));
        if let Some(counters) = table.get_ptr_mut(others) {
            return Some(counters);
        }
        return table.get_ptr_mut(FlowKey::other(key.protocol, key.role));
    }
    match table.insert(key, zero, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            announce(key, beginning, quota == Quota::Unused);
            return table.get_ptr_mut(key);
        }
        // Another CPU has inserted it.
        Err(EEXIST) => return table.get_ptr_mut(key),
        Err(E2BIG | ENOMEM) => {}
        Err(_) => {
            let _ = overflow.insert(key, zero, u64::from(BPF_NOEXIST));
            if let Some(counters) = overflow.get_ptr_mut(key) {
                return Some(counters);
            }
        }
    }
    count(Statistic::FlowsFolded);
    debug!((), "flow map full: no entry for {} to service port {}", key.local, key.service_port);
    table.get_ptr_mut(FlowKey::other(key.protocol, key.role))
}

/// The counters of one flow, in the map. They only grow.
#[derive(Clone, Copy)]
pub struct Counters(pub *mut TcpCounters);

/// The counters of a UDP flow, in the map. They only grow.
#[derive(Clone, Copy)]
pub struct DatagramCounters(*mut UdpCounters);

/// The address of one counter.
macro_rules! counter {
    ($counters:expr, $($field:tt)+) => {{
        // SAFETY: the pointer comes from a map lookup, checked for NULL; only an address is taken.
        #[expect(unsafe_code, reason = "map value")]
        unsafe { &raw mut (*$counters.0).$($field)+ }
    }};
}
pub(crate) use counter;

impl Counters {
    /// A handshake was completed.
    #[inline(always)]
    pub fn opened(self) {
        add(counter!(self, opened), 1);
    }

    /// An established connection ended.
    #[inline(always)]
    pub fn closed(self, reason: CloseReason) {
        add_at(counter!(self, closed), reason as usize, 1);
    }

    /// The connection that ended last was ended by a reset of the local end, and not as it was counted.
    #[inline(always)]
    pub fn closed_by_reset(self, not: CloseReason) {
        add_at(counter!(self, closed), not as usize, u64::MAX);
        self.closed(CloseReason::ResetSent);
    }

    /// A connection in the socket map is open.
    #[inline(always)]
    pub fn one_more_open(self) {
        add(counter!(self, open).cast(), 1);
    }

    /// A connection in the socket map is no longer open.
    #[inline(always)]
    pub fn one_less_open(self) {
        add(counter!(self, open).cast(), u64::MAX);
    }

    /// Adds to one of the counters what a total has grown by since the last reading; 0 is allowed.
    #[inline(always)]
    pub fn advance(self, counter: fn(Self) -> *mut u64, more: u64) {
        // Most totals have not grown, and an atomic addition costs more than the test.
        if more == 0 {
            return;
        }
        add(counter(self), more);
    }

    /// Observes the current round-trip times of a connection; a time without a measurement is left out.
    #[inline(always)]
    pub fn round_trips(self, smoothed_us: u32, minimum_us: u32) {
        if smoothed_us != 0 {
            observe(counter!(self, rtt), &RTT_BOUNDS_US, smoothed_us.into());
        }
        if minimum_us != u32::MAX {
            observe(counter!(self, min_rtt), &RTT_BOUNDS_US, minimum_us.into());
        }
    }

    /// A connection attempt failed.
    #[inline(always)]
    pub fn connect_failed(self, reason: ConnectFailure) {
        add_at(counter!(self, connect_failures), reason as usize, 1);
    }

    /// Segments were retransmitted; 0 is allowed.
    #[inline(always)]
    pub fn retransmitted(self, kind: RetransmitKind, segments: u32) {
        if segments != 0 {
            add_at(counter!(self, retransmitted_segments), kind as usize, u64::from(segments));
        }
    }

    /// Segments were retransmitted that this node had dropped; 0 is allowed.
    #[inline(always)]
    pub fn retransmitted_after_drop(self, cause: u8, segments: u32) {
        if segments != 0 {
            let counters = counter!(self, retransmitted_after_drop);
            add_at(counters, usize::from(cause) & (DropCause::COUNT - 1), segments.into());
        }
    }

    /// Segments that were retransmitted are as large as the connection's maximum; 0 is allowed.
    #[inline(always)]
    pub fn retransmitted_full_size(self, segments: u32) {
        if segments != 0 {
            add(counter!(self, full_size_retransmits), u64::from(segments));
        }
    }

    /// The retransmission timer has expired.
    #[inline(always)]
    pub fn timed_out(self, timeouts: Timeouts) {
        add_at(counter!(self, timeouts), timeouts as usize, 1);
    }

    /// It has, and what was lost was sent after a long idle time.
    #[inline(always)]
    pub fn timed_out_after_idle(self) {
        add(counter!(self, timeouts_after_idle), 1);
    }

    /// A reset was sent.
    #[inline(always)]
    pub fn reset_sent(self, reason: ResetReason) {
        add_at(counter!(self, resets), ResetDirection::Sent as usize, 1);
        add_at(counter!(self, resets_sent), reason as usize, 1);
    }

    /// A reset was received.
    #[inline(always)]
    pub fn reset_received(self) {
        add_at(counter!(self, resets), ResetDirection::Received as usize, 1);
    }

    /// The reset counted last was none.
    #[inline(always)]
    pub fn take_back_reset(self, direction: ResetDirection) {
        add_at(counter!(self, resets), direction as usize, u64::MAX);
    }

    /// A client's connection was established after this time.
    #[inline(always)]
    pub fn connected_after(self, duration_ns: u64) {
        observe(counter!(self, connect_duration), &CONNECT_BOUNDS_NS, duration_ns);
    }
}

impl DatagramCounters {
    /// Datagrams were sent.
    #[inline(always)]
    pub fn sent(self, datagrams: u64, bytes: u64) {
        add(counter!(self, sent_datagrams), datagrams);
        add(counter!(self, sent_bytes), bytes);
    }

    /// Datagrams arrived.
    #[inline(always)]
    pub fn received(self, datagrams: u64, bytes: u64) {
        add(counter!(self, received_datagrams), datagrams);
        add(counter!(self, received_bytes), bytes);
    }

    /// ICMP has reported an error to a socket.
    #[inline(always)]
    pub fn icmp_error(self, error: IcmpError) {
        add_at(counter!(self, icmp_errors), error as usize, 1);
    }

    /// A datagram was dropped because the receive buffer was full.
    #[inline(always)]
    pub fn dropped(self) {
        add(counter!(self, receive_drops), 1);
    }
}

/// Adds an observation to a histogram with these bounds.
#[inline(always)]
pub fn observe<const BOUNDS: usize, const BUCKETS: usize>(
    histogram: *mut Histogram<BUCKETS>,
    bounds: &[u64; BOUNDS],
    value: u64,
) {
    const { assert!(BUCKETS == BOUNDS + 1) };
    // SAFETY: the pointer lies in a map value, which the verifier checks; only addresses are taken.
    #[expect(unsafe_code, reason = "map value")]
    let (buckets, sum) = unsafe { (&raw mut (*histogram).buckets, &raw mut (*histogram).sum) };
    add_at(buckets, bucket(bounds, value), 1);
    add(sum, value);
}

/// Adds to a counter of an array. Every caller's index is a variant of the enum, or a bucket, that the array is for.
#[inline(always)]
pub fn add_at<const N: usize>(counters: *mut [u64; N], index: usize, amount: u64) {
    add(counters.cast::<u64>().wrapping_add(index), amount);
}
