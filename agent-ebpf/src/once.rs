//! Twin programs: both are attached to one tracepoint, and each event is handled exactly once.
//!
//! From 6.1 on the kernel skips a program that is already running on the same CPU (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c): the close of a socket in a soft interrupt is missed when it interrupts the program during
//! another socket's connect; where tracepoints are preemptible, so is an event of the next task on the CPU. On an emulated
//! 7.2 between one and six connections in a hundred were miscounted. So where an event is a count, two programs are
//! attached, in this order. The first marks what it handles; the second finds the mark and returns, or does the work
//! itself, because the first was skipped. (Probes of one priority run in the order in which they were attached: `func_add`,
//! kernel/tracepoint.c.)

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

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

const SLOTS: u32 = 16;

/// What the first program has handled on this CPU and the second has not seen yet, by event.
#[map]
static HANDLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SLOTS, 0);

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
    ///
    /// When a soft interrupt with an event of the same kind comes exactly between the two, both handle it: a change of state
    /// has no effect the second time, but a reset or a SYN-ACK counts twice.
    #[inline(always)]
    pub fn has_to_work(self, subject: *const c_void, event: Event) -> bool {
        let slot = match event {
            Event::State(state) => u32::from(state),
            Event::ResetSent => 13,
            Event::ResetReceived => 14,
            Event::SynAckRetransmitted => 15,
        };
        let Some(handled) = HANDLED.get_ptr_mut(slot) else {
            return true;
        };
        // SAFETY: the pointer comes from a map lookup, checked for NULL; this CPU's own value.
        #[expect(unsafe_code, reason = "map value")]
        let handled = unsafe { &mut *handled };
        match self {
            Self::First => {
                *handled = subject as u64;
                true
            }
            Self::Again if *handled == subject as u64 => {
                // The next event at this address may be of another socket.
                *handled = 0;
                false
            }
            Self::Again => true,
        }
    }
}

/// Declares two programs of a tracepoint, which call `handle(&context, turn)`. Inlined: most events end after a few instructions,
/// of which a call would be as many. They have names of their own because each is
/// loaded and attached by name.
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
