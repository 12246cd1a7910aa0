//! Adding to the flow table.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::HashMap;
use aya_ebpf::maps::lpm_trie::Key;
use aya_log_ebpf::debug;
use netcause_common::dns::DnsCounters;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    ConnectFailure, FlowKey, LimitedBy, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER, ResetDirection,
    RetransmitKind, TcpCounters, UdpCounters,
};
use netcause_common::histogram::{RoundTrips, connect_bucket, rtt_bucket};
use netcause_common::statistics::Statistic;

use crate::emit::announce;
use crate::kernel::{Memory, TcpSock};
use crate::maps::{
    DNS_FLOWS, DNS_FLOWS_SPARE, E2BIG, EEXIST, ENOMEM, NETWORKS_V4, NETWORKS_V6, TCP_FLOWS, TCP_FLOWS_SPARE,
    UDP_FLOWS, UDP_FLOWS_SPARE, add, count,
};

/// What a new entry starts from: too large for a program's stack, so it stands in read-only data.
static ZERO_TCP: TcpCounters = TcpCounters::ZERO;
static ZERO_UDP: UdpCounters = UdpCounters::ZERO;
static ZERO_DNS: DnsCounters = DnsCounters::ZERO;

/// The flow of a local end in its role.
#[inline(always)]
pub fn key(protocol: u8, local: u64, remote: Address, service_port: u16, role: u8) -> FlowKey {
    let remote = if role == ROLE_SERVER { client(remote) } else { remote };
    FlowKey { local, remote, service_port, protocol, role, reserved: 0 }
}

/// The flow a TCP socket belongs to.
#[inline(always)]
pub fn of_socket<M: Memory>(socket: TcpSock<M>, role: u8) -> FlowKey {
    let service_port = if role == ROLE_CLIENT { socket.common().remote_port() } else { socket.local_port() };
    key(PROTOCOL_TCP, socket.local(), socket.common().remote_address(), service_port, role)
}

/// Clients from outside the known networks are one: the internet is larger than any table.
#[inline(always)]
fn client(remote: Address) -> Address {
    let is_known = match remote.to_v4_network_order() {
        Some(v4) => NETWORKS_V4.get(Key::new(32, v4)).is_some(),
        None => NETWORKS_V6.get(Key::new(128, remote.to_network_order())).is_some(),
    };
    if is_known { remote } else { Address::EXTERNAL }
}

/// The counters of a TCP flow, made when it is new. When the table is full, the counters that keep the totals of all
/// that found no room: nothing is lost but the name.
#[inline(always)]
pub fn counters(key: &FlowKey) -> Option<Counters> {
    counters_from(key, || 0)
}

/// The same; a flow that is new is announced with the port that its client connects from, which is asked for only then.
#[inline(always)]
pub fn counters_from(key: &FlowKey, client_port: impl FnOnce() -> u16) -> Option<Counters> {
    find_or_make(&TCP_FLOWS, &TCP_FLOWS_SPARE, &ZERO_TCP, key, client_port).map(Counters)
}

/// As [`counters`], of a UDP flow.
#[inline(always)]
pub fn udp_counters(key: &FlowKey) -> Option<DatagramCounters> {
    find_or_make(&UDP_FLOWS, &UDP_FLOWS_SPARE, &ZERO_UDP, key, || 0).map(DatagramCounters)
}

/// As [`counters`], of DNS.
#[inline(always)]
pub fn dns_counters(key: &FlowKey) -> Option<*mut DnsCounters> {
    find_or_make(&DNS_FLOWS, &DNS_FLOWS_SPARE, &ZERO_DNS, key, || 0)
}

#[inline(always)]
fn find_or_make<V>(
    table: &'static HashMap<FlowKey, V>,
    spare: &'static HashMap<FlowKey, V>,
    zero: &'static V,
    key: &FlowKey,
    client_port: impl FnOnce() -> u16,
) -> Option<*mut V> {
    if let Some(counters) = table.get_ptr_mut(key) {
        return Some(counters);
    }
    match table.insert(key, zero, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            announce(key, client_port());
            return table.get_ptr_mut(key);
        }
        // Another CPU was first, which is as good.
        Err(EEXIST) => return table.get_ptr_mut(key),
        Err(E2BIG | ENOMEM) => {}
        Err(_) => {
            let _ = spare.insert(key, zero, u64::from(BPF_NOEXIST));
            if let Some(counters) = spare.get_ptr_mut(key) {
                return Some(counters);
            }
        }
    }
    count(Statistic::FlowsFolded);
    debug!((), "no room for a flow of {} to service port {}", key.local, key.service_port);
    table.get_ptr_mut(FlowKey::other(key.protocol, key.role))
}

/// The counters of one flow, in the table: adding is all that can be done to them.
#[derive(Clone, Copy)]
pub struct Counters(*mut TcpCounters);

/// A total of a connection that moves on.
#[derive(Clone, Copy)]
pub enum Carried {
    /// Payload acknowledged by the peer.
    SentBytes,
    /// Payload received in order.
    ReceivedBytes,
    /// Segments sent.
    SentSegments,
    /// Segments received.
    ReceivedSegments,
    /// Segments that the peer had already.
    SpuriousRetransmits,
    /// Segments that arrived out of order.
    ReorderedSegments,
    /// Ticks with data to send.
    Limited(LimitedBy),
}

/// As [`Counters`], of UDP.
#[derive(Clone, Copy)]
pub struct DatagramCounters(*mut UdpCounters);

/// The address of one counter.
macro_rules! counter {
    ($counters:expr, $($field:tt)+) => {{
        // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; only an address is taken.
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
    pub fn closed(self) {
        add(counter!(self, closed), 1);
    }

    /// There is one more remembered connection that is open.
    #[inline(always)]
    pub fn one_more_open(self) {
        add(counter!(self, open).cast(), 1);
    }

    /// There is one less.
    #[inline(always)]
    pub fn one_less_open(self) {
        add(counter!(self, open).cast(), u64::MAX);
    }

    /// What a connection has carried, suffered or waited since the last time; nothing is fine.
    #[inline(always)]
    pub fn carried(self, what: Carried, more: u64) {
        // Most of what could be added is nothing, and an atomic addition costs more than the look.
        if more == 0 {
            return;
        }
        match what {
            Carried::SentBytes => add(counter!(self, sent_bytes), more),
            Carried::ReceivedBytes => add(counter!(self, received_bytes), more),
            Carried::SentSegments => add(counter!(self, sent_segments), more),
            Carried::ReceivedSegments => add(counter!(self, received_segments), more),
            Carried::SpuriousRetransmits => add(counter!(self, spurious_retransmits), more),
            Carried::ReorderedSegments => add(counter!(self, reordered_segments), more),
            Carried::Limited(by) => add_at(counter!(self, limited_ticks), by as usize, more),
        }
    }

    /// The round-trip times of a connection as they are now; a time that was never measured is left out.
    #[inline(always)]
    pub fn round_trips(self, smoothed_us: u32, least_us: u32) {
        if smoothed_us != 0 {
            observe(counter!(self, rtt), smoothed_us);
        }
        if least_us != u32::MAX {
            observe(counter!(self, min_rtt), least_us);
        }
    }

    /// A connection attempt failed.
    #[inline(always)]
    pub fn connect_failed(self, reason: ConnectFailure) {
        add_at(counter!(self, connect_failures), reason as usize, 1);
    }

    /// Segments were sent again; none is fine.
    #[inline(always)]
    pub fn retransmitted(self, kind: RetransmitKind, segments: u32) {
        if segments != 0 {
            add_at(counter!(self, retransmitted_segments), kind as usize, u64::from(segments));
        }
    }

    /// A reset was sent or received.
    #[inline(always)]
    pub fn reset(self, direction: ResetDirection) {
        add_at(counter!(self, resets), direction as usize, 1);
    }

    /// A client's connection was established after this long.
    #[inline(always)]
    pub fn connected_after(self, duration_ns: u64) {
        add_at(counter!(self, connect_duration.buckets), connect_bucket(duration_ns), 1);
        add(counter!(self, connect_duration.sum_ns), duration_ns);
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

    /// A datagram found no room in the receive buffer.
    #[inline(always)]
    pub fn dropped(self) {
        add(counter!(self, receive_drops), 1);
    }
}

#[inline(always)]
fn observe(times: *mut RoundTrips, rtt_us: u32) {
    // SAFETY: the pointer lies in the table's value, which the verifier checks; only addresses are taken.
    #[expect(unsafe_code, reason = "map value")]
    let (buckets, sum) = unsafe { (&raw mut (*times).buckets, &raw mut (*times).sum_us) };
    add_at(buckets, rtt_bucket(rtt_us), 1);
    add(sum, rtt_us.into());
}

/// Adds to one of several counters; every caller's index comes from an enum or function of that array.
#[inline(always)]
pub fn add_at<const N: usize>(counters: *mut [u64; N], index: usize, amount: u64) {
    add(counters.cast::<u64>().wrapping_add(index), amount);
}
