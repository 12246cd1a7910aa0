//! Events: rare, and allowed to be lost as long as the loss is counted.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netcause_common::endpoint::Address;
use netcause_common::flow::FlowKey;
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;
use netcause_common::wire::{Event, EventHeader, NEW_FLOW, NewFlow};

use crate::maps::{EVENTS, count, count_at};

const BPF_RB_AVAIL_DATA: u64 = 0;
const BPF_RB_RING_SIZE: u64 = 1;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// Header of an event that happens now.
#[inline(always)]
pub fn header(probe: ProbeId, flow: FlowKey, client_port: u16) -> EventHeader {
    EventHeader { timestamp_ns: now(), flow, client_port, probe: probe as u8, reserved: [0; 5] }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    unsafe {
        bpf_ktime_get_ns()
    }
}

/// Emits an event, or counts it as lost when the ring buffer is full.
#[inline(always)]
pub fn emit<E: Event>(probe: ProbeId, event: &E) {
    if !output(event, false) {
        count_at(Statistic::EventsLost as u32 + probe as u32);
    }
}

/// What is announced of a flow's first connection; all zero where it is unknown.
#[derive(Default)]
pub struct First {
    /// The client's port.
    pub client_port: u16,
    /// The address of the local end.
    pub own: Address,
    /// The network namespace of the local end.
    pub namespace: u32,
}

/// Emits a new flow. The first one of a workload wakes the daemon, which has to look up its cgroup while it exists.
#[inline(always)]
pub fn announce(flow: &FlowKey, first: First, is_first_of_workload: bool) {
    let First { client_port, own, namespace } = first;
    let timestamp_ns = now();
    let header = EventHeader { timestamp_ns, flow: *flow, client_port, probe: NEW_FLOW, reserved: [0; 5] };
    let event = NewFlow { header, own, namespace, reserved: 0 };
    if !output(&event, is_first_of_workload) {
        count(Statistic::FlowsUnannounced);
    }
}

/// False when the ring buffer is full.
///
/// The daemon drains it at short intervals and is woken only for an urgent event and when a quarter is used, because a wake-up
/// costs the interrupted CPU more than the rest of the program.
#[inline(always)]
fn output<E: Event>(event: &E, is_urgent: bool) -> bool {
    let wakes = is_urgent || EVENTS.query(BPF_RB_AVAIL_DATA) >= EVENTS.query(BPF_RB_RING_SIZE) / 4;
    let flags = if wakes { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    EVENTS.output::<E>(event, flags).is_ok()
}
