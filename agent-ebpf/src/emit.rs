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
    if EVENTS.output::<E>(event, wakeup(false)).is_err() {
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

/// What the first connection or packet of a flow is read from, once it is known that the flow is new.
pub trait Beginning {
    /// What is announced of this flow.
    fn first(self, flow: &FlowKey) -> First;
}

/// Nothing is known.
pub struct Unseen;

impl Beginning for Unseen {
    #[inline(always)]
    fn first(self, _: &FlowKey) -> First {
        First::default()
    }
}

/// Emits a new flow. The first one of a workload wakes the daemon, which has to look up its cgroup while it exists.
#[inline(always)]
pub fn announce(flow: &FlowKey, beginning: impl Beginning, is_first_of_workload: bool) {
    // Not by `output`: programs of DNS have no room for the event on their stacks.
    let Some(mut entry) = EVENTS.reserve::<NewFlow>(0) else { return count(Statistic::FlowsUnannounced) };
    let event = entry.as_mut_ptr();
    // SAFETY: the entry has the event's size, and every byte of it is written.
    #[expect(unsafe_code, reason = "memory of the ring buffer")]
    unsafe {
        let header = &raw mut (*event).header;
        (&raw mut (*header).timestamp_ns).write(now());
        (&raw mut (*header).flow).write(*flow);
        let First { client_port, own, namespace } = beginning.first(flow);
        (&raw mut (*header).client_port).write(client_port);
        (&raw mut (*header).probe).write(NEW_FLOW);
        (&raw mut (*header).reserved).write([0; 5]);
        (&raw mut (*event).own).write(own);
        (&raw mut (*event).namespace).write(namespace);
        (&raw mut (*event).reserved).write(0);
    }
    entry.submit(wakeup(is_first_of_workload));
}

/// Whether an event wakes the daemon.
///
/// The daemon drains it at short intervals and is woken only for an urgent event and when a quarter is used, because a wake-up
/// costs the interrupted CPU more than the rest of the program.
#[inline(always)]
fn wakeup(is_urgent: bool) -> u64 {
    let wakes = is_urgent || EVENTS.query(BPF_RB_AVAIL_DATA) >= EVENTS.query(BPF_RB_RING_SIZE) / 4;
    if wakes { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }
}
