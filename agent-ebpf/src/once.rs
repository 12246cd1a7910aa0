//! Each event once, although two programs see it.
//!
//! From 6.1 on the kernel skips a program that is already running on the same CPU (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c, kernel commit 05b24ff9b2cf): a socket's close in a soft interrupt is missed when it
//! interrupts the program in the middle of another's connect; where tracepoints are preemptible, so is whatever the
//! next task on the CPU does. In a trial on 7.2 one event in a hundred was missed. So where an event is a count, two
//! programs with the same text are attached. The second finds that the first has done the work, and leaves; or it does
//! the work itself, because the first was skipped.

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

/// One per TCP state; the kernel has 13.
const SLOTS: u32 = 16;

/// The sockets that one of the two programs has handled on this CPU and the other has not seen yet, by new state.
#[map]
static HANDLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SLOTS, 0);

/// True for the program that has to do the work of `socket` entering `state`.
///
/// When a soft interrupt takes the slot between the two, both do the work: what they do to a remembered socket is
/// harmless twice.
#[inline(always)]
pub fn is_first(socket: *const c_void, state: u8) -> bool {
    let Some(handled) = HANDLED.get_ptr_mut(u32::from(state)) else {
        return true;
    };
    // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; this CPU's own value.
    #[expect(unsafe_code, reason = "map value")]
    let handled = unsafe { &mut *handled };
    let is_first = *handled != socket as u64;
    *handled = if is_first { socket as u64 } else { 0 };
    is_first
}
