//! Iterators over all open files, to find their sockets, and over the socket map, to find those without a file.
//!
//! ```c
//! struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; u32 fd; struct file *file; };
//! struct bpf_iter__bpf_map_elem { struct bpf_iter_meta *meta; struct bpf_map *map; void *key; void *value; };
//! ```
//!
//! Kernels: 5.10 on; from 5.11 on with the helper `bpf_sock_from_file`, which makes each socket cheaper.
//!
//! The first iterator walks the tasks of the opener's PID namespace and sees sockets of every network namespace. A socket that
//! several processes hold comes several times. Files that no process has in its table of descriptors it does not see: direct
//! descriptors of io_uring, descriptors on their way through a Unix socket. Nor are there files of connections that wait to be
//! accepted, that are closed and still send, and of the kernel itself. Such connections are in the socket map if they are younger than
//! the agent, or in its network namespace.

mod adopt;
mod namespace;
mod report;

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_ANY;
use netcause_common::flow::Counted;
use netcause_common::probe::open_sockets::{Holders, ListeningNamespace, OpenConnection, Visit};
use netcause_common::socket::{PHASE_LISTENING, PHASE_OPEN, SocketState};

use self::adopt::{adopt, adopt_as_counted};
use self::report::report;
use crate::flow::counters;
use crate::holders;
use crate::kernel::tcp_state::{CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LISTEN};
use crate::kernel::{Memory, Task, TcpSock, UdpSock, address_from_file, has_sock_from_file, sock_from_file};
use crate::maps::{LISTENING_NAMESPACES, SWEEP, add};
use crate::socket::{Tracked, accept_queue, insert, insert_listener, state_of};
use crate::traffic::{has_moved, is_fin_acknowledged, settle, sweeping, ticks};

/// A program's answer: it wants the next object.
const NEXT: i32 = 0;
/// A program's answer: it wants the same object again, once the daemon has taken what was found (see [`report`](mod@report)).
const AGAIN: i32 = 1;

/// The iterator's argument; every member takes eight bytes.
#[repr(C)]
pub struct TaskFile {
    meta: *const c_void,
    task: *const c_void,
    descriptor: u64,
    file: *const c_void,
}

/// The argument of the iterator over a map's entries.
#[repr(C)]
pub struct MapEntry {
    meta: *const c_void,
    map: *const c_void,
    key: *const u64,
    value: *const SocketState,
}

/// Declares a program that answers what `visit(context, socket)` does, called with the TCP socket of the iterator's file, if it is one,
/// or with the first subflow of its MPTCP socket; and calls another function, if there is one, with a UDP socket that receives from
/// anybody. With the helper a TCP socket has a type and a member costs one load; without it each read is a call. The verifier removes
/// the branch that does not apply.
macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident => $visit:ident $(, $receiver:ident)?) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "iter/task_file")]
        #[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
        extern "C" fn $name(context: *const TaskFile) -> i32 {
            // NULL marks the end of the iteration.
            let Some(file) = file(context) else { return NEXT };
            let untyped = if has_sock_from_file() {
                let Some(sock) = sock_from_file(file) else { return NEXT };
                if let Some(socket) = TcpSock::from_argument(sock) {
                    return $visit(context, socket);
                }
                $(if let Some(socket) = UdpSock::receiver(sock) {
                    $receiver(context, socket);
                    return NEXT;
                })?
                TcpSock::from_mptcp(sock)
            } else {
                let Some(address) = address_from_file(file) else { return NEXT };
                let socket = TcpSock::from_address(address);
                $(if socket.is_none() && let Some(socket) = UdpSock::receiver_at(address) {
                    $receiver(context, socket);
                    return NEXT;
                })?
                socket.or_else(|| TcpSock::from_mptcp_address(address))
            };
            match untyped {
                Some(socket) => $visit(context, socket),
                None => NEXT,
            }
        }
    };
}

iterator! {
    /// Run first, once: finds the listening ports.
    listening_ports => find_listener
}

iterator! {
    /// Run second, once, when traffic from before the agent started is not to be counted: marks it as counted.
    older_connections => skip_older
}

iterator! {
    /// The sweep: adds what is new of the totals of open connections, reports what they wait for, and reads the accept queues and who
    /// holds sockets of others.
    open_sockets => sweep, receiver
}

/// The sweep's second part, over the socket map: open connections that the first has not found.
///
/// Nothing holds these sockets, but in this critical section of RCU the memory of one that is in the map stays a TCP socket's
/// (`SLAB_TYPESAFE_BY_RCU`, `tcp_prot` in net/ipv4/tcp_ipv4.c), and it is removed from the map before it is freed.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
#[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
extern "C" fn tracked_sockets(context: *const MapEntry) -> i32 {
    let Some((id, phase, visit)) = entry(context) else { return NEXT };
    if phase != PHASE_OPEN || is_found(visit) {
        return NEXT;
    }
    let (Some(tracked), Some(socket)) = (state_of(id), TcpSock::from_address(id)) else { return NEXT };
    let mut answer = NEXT;
    sweeping(id, tracked);
    if tracked.phase() == PHASE_OPEN && !tracked.is_settled() {
        let state = socket.common().state();
        // One that is closed and still sends has no file either, but is in another state.
        let is_unaccepted = matches!(state, ESTABLISHED | CLOSE_WAIT) && !socket.has_file();
        let has = if is_unaccepted { OpenConnection::UNACCEPTED } else { 0 };
        let segments = socket.segments();
        let moved = has_moved(segments, tracked.counted()).then_some(segments);
        answer = account(socket, state, tracked, has, moved);
    }
    sweeping(0, tracked);
    answer
}

#[inline(always)]
fn find_listener<M: Memory>(_: *const TaskFile, socket: TcpSock<M>) -> i32 {
    if socket.common().state() == LISTEN {
        insert_listener(socket);
    }
    NEXT
}

#[inline(always)]
fn skip_older<M: Memory>(_: *const TaskFile, socket: TcpSock<M>) -> i32 {
    adopt_as_counted(socket);
    NEXT
}

#[inline(always)]
fn sweep<M: Memory>(context: *const TaskFile, socket: TcpSock<M>) -> i32 {
    match socket.common().state() {
        LISTEN => {
            if let Some(task) = task(context) {
                listener(task, socket);
                namespace(task, socket);
            }
            NEXT
        }
        state => connection(socket, state),
    }
}

#[inline(always)]
fn connection<M: Memory>(socket: TcpSock<M>, state: u8) -> i32 {
    let tracked = match state_of(socket.id) {
        Some(tracked) => tracked,
        None if state == CLOSE => return NEXT,
        None => {
            // When the map is full, its totals are counted at its close, in full.
            let Some(tracked) = adopt(socket, state) else { return NEXT };
            tracked
        }
    };
    let segments = socket.segments();
    if !has_moved(segments, tracked.counted()) {
        return account(socket, state, tracked, 0, None);
    }
    sweeping(socket.id, tracked);
    let answer = account(socket, state, tracked, 0, (!tracked.is_settled()).then_some(segments));
    sweeping(0, tracked);
    answer
}

/// Counts what is new of the connection's totals, and reports it. `moved` are its segments, if there is anything new.
#[inline(always)]
fn account<M: Memory>(
    socket: TcpSock<M>,
    state: u8,
    tracked: Tracked,
    has: u8,
    moved: Option<[u32; 2]>,
) -> i32 {
    // The daemon knows the flows of connections that were counted as opened. Others are about to be, or to end.
    let is_reported = matches!(state, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT);
    if is_reported && tracked.phase() == PHASE_OPEN {
        return report(socket, state, tracked, has, moved);
    }
    if moved.is_some() {
        add_totals(socket, state, tracked);
    }
    NEXT
}

#[inline(always)]
fn add_totals<M: Memory>(socket: TcpSock<M>, state: u8, tracked: Tracked) {
    let Some(counters) = counters(tracked.flow()) else { return };
    let fin_acknowledged = || match state {
        CLOSE => tracked.is_fin_acknowledged(),
        state => is_fin_acknowledged(socket, state),
    };
    settle(socket, tracked.role(), fin_acknowledged, tracked.counted(), counters);
}

/// True when the sweep has reported the connection already.
#[inline(always)]
fn is_found(visit: Visit) -> bool {
    let Some(sweep) = SWEEP.get(0) else { return true };
    let now = ticks();
    sweep.began != 0 && visit.is_since(now.wrapping_sub(sweep.began), now)
}

#[inline(always)]
fn listener<M: Memory>(task: Task, socket: TcpSock<M>) {
    let new_discards = match state_of(socket.id) {
        Some(state) => state.take_uncounted_discards(socket.discards()),
        // Counted since the agent first saw the listener.
        None => {
            let counted = Counted { reordered_segments: socket.discards(), ..Counted::default() };
            insert(socket.id, &SocketState { counted, phase: PHASE_LISTENING, ..SocketState::default() });
            0
        }
    };
    let (Some(queue), Some(sweep)) = (accept_queue(socket), SWEEP.get(0)) else { return };
    let (length, limit) = socket.accept_queue();
    // SAFETY: the pointer comes from a map lookup, checked for NULL; only the sweep writes these members.
    #[expect(unsafe_code, reason = "map value")]
    let queue = unsafe { &mut *queue };
    add(&raw mut queue.discards, new_discards.into());
    // Of sockets that share the port, the fullest counts.
    let fuller = u64::from(length) * u64::from(queue.limit) > u64::from(queue.length) * u64::from(limit);
    let is_first = queue.sweep != sweep.number;
    if is_first || fuller {
        queue.sweep = sweep.number;
        queue.length = length;
        queue.limit = limit;
    }
    let requests = socket.incomplete_handshakes();
    if is_first || requests > queue.requests {
        queue.requests = requests;
    }
    if is_first {
        queue.holders = Holders { others: [0; 2], and: 0, reserved: 0 };
    }
    queue.holders.add(task.cgroup(), socket.local());
}

#[inline(always)]
fn receiver<M: Memory>(context: *const TaskFile, socket: UdpSock<M>) {
    if let (Some(task), Some(sweep)) = (task(context), SWEEP.get(0)) {
        holders::found(sweep.number, task.cgroup(), socket);
    }
}

/// Remembers a thread of the socket's network namespace, for the daemon to read the namespace's counters through.
#[inline(always)]
fn namespace<M: Memory>(task: Task, socket: TcpSock<M>) {
    let Some(sweep) = SWEEP.get(0) else { return };
    let namespace = socket.namespace();
    // A descriptor may have been passed to a process of another.
    if task.namespace() != namespace {
        return;
    }
    let found = ListeningNamespace { sweep: sweep.number, thread: task.id(), mark: socket.namespace_mark() };
    // The full map is visible: the daemon counts namespaces that it cannot read.
    let _ = LISTENING_NAMESPACES.insert(namespace, found, u64::from(BPF_ANY));
}

#[inline(always)]
fn task(context: *const TaskFile) -> Option<Task> {
    // SAFETY: as in `file`.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    Task::from_argument(unsafe { (*context).task })
}

/// Key, phase and last visit of an entry of the socket map; `None` at the end of the iteration.
#[inline(always)]
fn entry(context: *const MapEntry) -> Option<(u64, u8, Visit)> {
    // SAFETY: the kernel passes the iterator's context; the verifier checks the offsets.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    let (key, value) = unsafe { ((*context).key, (*context).value) };
    if key.is_null() || value.is_null() {
        return None;
    }
    // SAFETY: the verifier knows the sizes of both, which the kernel compares with those of the map.
    #[expect(unsafe_code, reason = "map key and value")]
    unsafe {
        let (phase, visit) = (&raw const (*value).phase, &raw const (*value).visit);
        Some((key.read_volatile(), phase.read_volatile(), Visit(visit.read_volatile())))
    }
}

#[inline(always)]
fn file(context: *const TaskFile) -> Option<*const c_void> {
    // SAFETY: the kernel passes the iterator's context; the verifier checks the offset.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    let file = unsafe { (*context).file };
    (!file.is_null()).then_some(file)
}
