//! The same by kprobes, where the end of functions cannot be traced otherwise, as on older kernels for arm64.
//!
//! A program at the end of a function gets its return value alone, so one at the beginning keeps the arguments per thread.
//! `tcp_v6_connect` replaces those of its own when it calls `tcp_v4_connect`.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use netcause_common::probe::tcp_connect::Call;

use super::{denied, failed};
use crate::kernel::{TcpSock, Untyped};
use crate::maps::CONNECTS;

#[kprobe]
fn tcp_connect_begins(context: ProbeContext) -> u32 {
    let (Some(socket), Some(address), Some(length)) = (context.arg(0), context.arg(1), context.arg(2)) else {
        return 0;
    };
    let _ = CONNECTS.insert(bpf_get_current_pid_tgid(), Call { socket, address, length, reserved: 0 }, 0);
    0
}

#[kretprobe]
fn tcp_connect_ends(context: RetProbeContext) -> u32 {
    if let Some((socket, call, error)) = ended(&context) {
        failed(socket, call.address, call.length, error);
    }
    0
}

#[kretprobe]
fn tcp_connect_policy_ends(context: RetProbeContext) -> u32 {
    if let Some((socket, call, error)) = ended(&context) {
        denied(socket, call.address, call.length, error);
    }
    0
}

/// The call that has ended, and its error number; `None` for one without an error.
#[inline(always)]
fn ended(context: &RetProbeContext) -> Option<(TcpSock<Untyped>, Call, i32)> {
    let error = -context.ret::<i32>();
    let thread = bpf_get_current_pid_tgid();
    if error == 0 {
        let _ = CONNECTS.remove(thread);
        return None;
    }
    // SAFETY: a copy is made at once; only this thread writes the entry.
    #[expect(unsafe_code, reason = "map value")]
    let call = unsafe { CONNECTS.get(thread) }.copied()?;
    let _ = CONNECTS.remove(thread);
    Some((TcpSock::from_address(call.socket)?, call, error))
}
