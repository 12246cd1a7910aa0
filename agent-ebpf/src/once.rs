//! Each event once, although two programs see it.
//!
//! From 6.1 on the kernel skips a program that is already running on the same CPU (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c): a socket's close in a soft interrupt is missed when it
//! interrupts the program in the middle of another's connect; where tracepoints are preemptible, so is whatever the
//! next task on the CPU does. On an emulated 7.2 one to six connections in a hundred were miscounted. So where an event is a count, two
//! programs are attached, in this order. The first marks what it handles; the second finds the mark and leaves, or it
//! does the work itself, because the first was skipped. (Probes of one priority run in the order in which they were
//! attached: `func_add`, kernel/tracepoint.c.)

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;

/// What may happen to a socket, a request or a packet.
#[derive(Clone, Copy)]
pub enum Event {
    /// A socket enters this TCP state; the kernel has 13.
    State(u8),
    /// A reset is sent.
    ResetSent,
    /// A reset is received.
    ResetReceived,
    /// A SYN-ACK is sent again.
    SynAckRetransmitted,
}

const SLOTS: u32 = 16;

/// What one of the two programs has handled on this CPU and the other has not seen yet, by event.
#[map]
static HANDLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Which of the two programs is running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The one that was attached first.
    First,
    /// Its twin.
    Again,
}

impl Turn {
    /// True for the program that has to do the work of what happens to `subject`.
    ///
    /// When a soft interrupt with an event of the same kind comes exactly between the two, both do the work: changing
    /// the state of a remembered socket is harmless twice; a reset or a SYN-ACK would be counted twice.
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
        // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; this CPU's own value.
        #[expect(unsafe_code, reason = "map value")]
        let handled = unsafe { &mut *handled };
        match self {
            Self::First => {
                *handled = subject as u64;
                true
            }
            Self::Again if *handled == subject as u64 => {
                // The next socket at this address is another one.
                *handled = 0;
                false
            }
            Self::Again => true,
        }
    }
}
