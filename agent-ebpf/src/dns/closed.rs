//! Sockets that do not wait for an answer any more, and why.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netcause_common::dns::ClosedSocket;
use netcause_common::limits::DNS_CLOSED as SLOTS;

use crate::maps::DNS_CLOSED;

/// The socket with this cookie is closed. What the kernel reported to it before stays.
#[inline(always)]
pub fn closed(socket: u64) {
    if let Some(slot) = slot(socket)
        && (slot.socket != socket || slot.at_ns < ClosedSocket::REFUSED)
    {
        *slot = ClosedSocket { socket, at_ns: now() };
    }
}

/// The kernel reports to the socket with this cookie that its query cannot be answered.
#[inline(always)]
pub fn refused(socket: u64) {
    if let Some(slot) = slot(socket) {
        *slot = ClosedSocket { socket, at_ns: now() | ClosedSocket::REFUSED };
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    unsafe {
        bpf_ktime_get_ns()
    }
}

#[inline(always)]
fn slot(socket: u64) -> Option<&'static mut ClosedSocket> {
    let slot = DNS_CLOSED.get_ptr_mut(socket as u32 & (SLOTS - 1))?;
    // SAFETY: the pointer comes from a map lookup. Two CPUs may write at once; the result is a lost hint at worst.
    #[expect(unsafe_code, reason = "map value")]
    Some(unsafe { &mut *slot })
}
