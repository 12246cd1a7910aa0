//! The iterator over all TCP sockets of the network namespace that the agent is in, when it starts: finds those that no process has
//! a descriptor of.
//!
//! ```c
//! struct bpf_iter__tcp { struct bpf_iter_meta *meta; struct sock_common *sk_common; uid_t uid; };
//! ```
//!
//! Kernels: 5.10 on.
//!
//! Listening sockets come first (`bpf_iter_tcp_ops`, net/ipv4/tcp_ipv4.c), so that roles can be inferred.

use core::ffi::c_void;

use super::adopt::{adopt, adopt_as_counted};
use crate::kernel::tcp_state::{CLOSE, LISTEN};
use crate::kernel::{TcpSock, Typed};
use crate::socket::{insert_listener, state_of};

/// The iterator's argument; every member takes eight bytes.
#[repr(C)]
pub struct TcpEntry {
    meta: *const c_void,
    socket: *mut c_void,
}

/// Run when traffic from before the agent started is not to be counted, after the programs over files.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
#[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
extern "C" fn older_in_namespace(context: *const TcpEntry) -> i32 {
    if let Some(socket) = other_than_listener(context) {
        adopt_as_counted(socket);
    }
    0
}

/// Run last: sweeps find what it inserts.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
#[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
extern "C" fn open_in_namespace(context: *const TcpEntry) -> i32 {
    if let Some(socket) = other_than_listener(context) {
        let state = socket.common().state();
        if state != CLOSE && state_of(socket.id).is_none() {
            let _ = adopt(socket, state);
        }
    }
    0
}

/// The iterator's socket, which is whole; a listening one is remembered.
#[inline(always)]
fn other_than_listener(context: *const TcpEntry) -> Option<TcpSock<Typed>> {
    // SAFETY: the kernel passes the iterator's context; the verifier checks the offset. NULL marks the end of the iteration.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    let socket = TcpSock::from_argument(unsafe { (*context).socket })?;
    if socket.common().state() == LISTEN {
        insert_listener(socket);
        return None;
    }
    Some(socket)
}
