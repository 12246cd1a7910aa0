//! Two passes over all open files, run once when the agent starts: which ports listen, and which connections are
//! older than the agent, with the role that follows.
//!
//! ```c
//! struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; u32 fd; struct file *file; };
//! ```
//!
//! The iterator walks the tasks of the opener's PID namespace, and sees the sockets of every network namespace.

use core::ffi::c_void;

use netcause_common::flow::{ROLE_CLIENT, ROLE_SERVER};
use netcause_common::socket::{PHASE_CONNECTING, PHASE_OPEN, SocketState};

use crate::kernel::tcp_state::{CLOSE, LISTEN, SYN_SENT};
use crate::kernel::{TcpSock, Untyped};
use crate::socket::{insert, is_listening, listens};

/// The iterator's argument; every member takes eight octets.
#[repr(C)]
pub struct TaskFile {
    meta: u64,
    task: u64,
    descriptor: u64,
    file: *const c_void,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
#[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
extern "C" fn listening_ports(context: *const TaskFile) -> i32 {
    if let Some(socket) = socket(context)
        && socket.common().state() == LISTEN
    {
        listens(socket);
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
#[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
extern "C" fn older_connections(context: *const TaskFile) -> i32 {
    if let Some(socket) = socket(context) {
        let state = socket.common().state();
        if state != LISTEN && state != CLOSE {
            let role = if is_listening(socket) { ROLE_SERVER } else { ROLE_CLIENT };
            let retransmits_counted = socket.total_retransmits();
            let phase = if state == SYN_SENT { PHASE_CONNECTING } else { PHASE_OPEN };
            // One that began while the agent started is known already, and stays as it is.
            insert(
                socket.id,
                SocketState { started_ns: 0, retransmits_counted, role, phase, reserved: [0; 2] },
            );
        }
    }
    0
}

#[inline(always)]
fn socket(context: *const TaskFile) -> Option<TcpSock<Untyped>> {
    // SAFETY: the kernel passes the iterator's context; the verifier checks the offset.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    let file = unsafe { (*context).file };
    // NULL marks the end of the walk.
    if file.is_null() { None } else { TcpSock::from_file(file) }
}
