//! Adding to the flow table.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_log_ebpf::debug;
use netcause_common::flow::{ConnectFailure, FlowCounters, FlowKey, ResetDirection, RetransmitKind};
use netcause_common::histogram::connect_bucket;
use netcause_common::statistics::Statistic;

use crate::emit::announce;
use crate::maps::{E2BIG, EEXIST, ENOMEM, FLOWS, FLOWS_SPARE, add, count};

/// What a new entry starts from: too large for a program's stack, so it stands in read-only data.
static ZERO: FlowCounters = FlowCounters::ZERO;

/// The counters of a flow, made when it is new. When the table is full, the counters that keep the totals of all
/// that found no room: nothing is lost but the name.
#[inline(always)]
pub fn counters(key: &FlowKey) -> Option<Counters> {
    let counters = FLOWS.get_ptr_mut(key).or_else(|| insert(key))?;
    Some(Counters(counters))
}

#[inline(always)]
fn insert(key: &FlowKey) -> Option<*mut FlowCounters> {
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    match FLOWS.insert(key, &ZERO, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            announce(key);
            return FLOWS.get_ptr_mut(key);
        }
        // Another CPU was first, which is as good.
        Err(EEXIST) => return FLOWS.get_ptr_mut(key),
        Err(E2BIG | ENOMEM) => {}
        Err(_) => {
            let _ = FLOWS_SPARE.insert(key, &ZERO, u64::from(BPF_NOEXIST));
            if let Some(counters) = FLOWS_SPARE.get_ptr_mut(key) {
                return Some(counters);
            }
        }
    }
    count(Statistic::FlowsFolded);
    debug!((), "no room for a flow of {} to service port {}", key.local, key.service_port);
    FLOWS.get_ptr_mut(FlowKey::other(key.role))
}

/// The counters of one flow, in the table: adding is all that can be done to them.
#[derive(Clone, Copy)]
pub struct Counters(*mut FlowCounters);

/// The address of one counter.
macro_rules! counter {
    ($counters:expr, $($field:tt)+) => {{
        // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; only an address is taken.
        #[expect(unsafe_code, reason = "map value")]
        unsafe { &raw mut (*$counters.0).$($field)+ }
    }};
}

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

/// Adds to one of several counters; every caller's index comes from an enum or function of that array.
#[inline(always)]
fn add_at<const N: usize>(counters: *mut [u64; N], index: usize, amount: u64) {
    add(counters.cast::<u64>().wrapping_add(index), amount);
}
