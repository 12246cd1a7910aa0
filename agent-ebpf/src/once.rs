//! Twin programs: both are attached to one tracepoint, and each event is handled exactly once.
//!
//! From 6.1 on the kernel skips a program that is already running on the same CPU (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c): the close of a socket in a soft interrupt is missed when it interrupts the program during
//! another socket's connect; where tracepoints are preemptible, so is an event of the next task on the CPU. On an emulated
//! 7.2 between one and six connections in a hundred were miscounted. So where an event is a count, two programs are
//! attached, in this order. The first marks what it handles; the second finds the mark and returns, or does the work
//! itself, because the first was skipped. (Probes of one priority run in the order in which they were attached: `func_add`,
//! kernel/tracepoint.c.)
//!
//! Both are whole programs. A tail call from the second into the first would save a second verification, but would also run
//! the first within itself: from 6.13 on a tracing program has one private stack on each CPU (`bpf_enable_priv_stack`,
//! kernel/bpf/verifier.c), which the inner run overwrites. On an emulated 7.2 that was an oops within minutes.

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};

/// An event of a socket, a request or a packet.
#[derive(Clone, Copy)]
pub enum Event {
    /// A socket enters this TCP state; the kernel has 13.
    State(u8),
    /// A reset is sent.
    ResetSent,
    /// A reset is received.
    ResetReceived,
    /// A SYN-ACK is retransmitted.
    SynAckRetransmitted,
}

const STATES: u32 = 13;

/// The changes of state that the first program has handled on this CPU and the second has not seen yet, by state. Another one
/// may come between the two, and both then handle the first: a change of state has no effect the second time.
#[map]
static HANDLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATES, 0);

const COUNTED_BITS: u32 = 12;

/// The other events that the first program has handled and the second has not seen yet, by a hash of event and subject. These
/// would count twice, so nothing may come between the two: neither a soft interrupt with an event of the same kind, nor, where
/// tracepoints are preemptible, another task or another CPU. Only one event of a kind of a subject happens at a time.
#[map]
static COUNTED: Array<u64> = Array::with_max_entries(1 << COUNTED_BITS, 0);

/// Which of the twins is running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The one attached first.
    First,
    /// The one attached second.
    Again,
}

impl Turn {
    /// True for the program that has to handle the event of `subject`.
    #[inline(always)]
    pub fn has_to_work(self, subject: *const c_void, event: Event) -> bool {
        let Some(mark) = mark_of(subject, event) else {
            return true;
        };
        // SAFETY: the pointer comes from a map lookup, checked for NULL; an aligned word, which is read and written whole.
        #[expect(unsafe_code, reason = "map value")]
        let marked = unsafe { mark.read_volatile() } == subject as u64;
        let set = |value: u64| {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "map value")]
            unsafe {
                mark.write_volatile(value);
            }
        };
        match self {
            Self::First => {
                set(subject as u64);
                true
            }
            Self::Again if marked => {
                // The next event at this address may be of another socket.
                set(0);
                false
            }
            Self::Again => true,
        }
    }
}

/// Where the mark of this event is.
#[inline(always)]
fn mark_of(subject: *const c_void, event: Event) -> Option<*mut u64> {
    let kind = match event {
        Event::State(state) => return HANDLED.get_ptr_mut(u32::from(state)),
        Event::ResetSent => 1,
        Event::ResetReceived => 2,
        Event::SynAckRetransmitted => 3,
    };
    // Verifiers refuse to compute with a pointer, but for the distance to another one.
    let distance = (subject as u64).wrapping_sub(COUNTED.get_ptr_mut(0)? as u64);
    // Fibonacci hashing; the lowest six bits are the same for all.
    let hash = ((distance >> 6) ^ kind).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    COUNTED.get_ptr_mut((hash >> (u64::BITS - COUNTED_BITS)) as u32)
}

/// Declares two programs of a tracepoint, which call `handle(&context, turn)`. Inlined: most events end after a few instructions,
/// of which a call would be as many. They have names of their own because each is loaded and attached by name.
macro_rules! twins {
    ($tracepoint:tt: $first:ident, $again:ident => $handle:path) => {
        #[::aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        #[inline(always)]
        fn $first(context: ::aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $handle(&context, $crate::once::Turn::First);
            0
        }

        #[::aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        #[inline(always)]
        fn $again(context: ::aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $handle(&context, $crate::once::Turn::Again);
            0
        }
    };
}
pub(crate) use twins;
