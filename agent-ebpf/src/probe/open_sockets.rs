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

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_ANY;
use netcause_common::flow::Counted;
use netcause_common::probe::open_sockets::{
    Holders, ListeningNamespace, OpenConnection, SPEAKER_NONE, Visit,
};
use netcause_common::socket::{PHASE_LISTENING, PHASE_OPEN, SocketState};

use self::adopt::{adopt, adopt_as_counted};
use crate::flow::counters;
use crate::holders;
use crate::kernel::tcp_state::{CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LISTEN};
use crate::kernel::{
    Memory, Reader, Task, TcpSock, UdpSock, address_from_file, has_sock_from_file, sock_from_file,
};
use crate::maps::{LISTENING_NAMESPACES, SWEEP, add};
use crate::socket::{Tracked, accept_queue, insert, insert_listener, state_of};
use crate::traffic::{has_moved, is_fin_acknowledged, settle, sweeping, ticks};
use crate::verifier::{forget8, forget32};

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

/// Declares a program that calls `visit(context, socket)` with the TCP socket of the iterator's file, if it is one, or with
/// the first subflow of its MPTCP socket; and another function, if there is one, with a UDP socket that receives from anybody. With the helper a TCP socket has a type and a member costs one load; without it
/// each read is a call. The verifier removes the branch that does not apply.
macro_rules! iterator {
    ($(#[$doc:meta])* $name:ident => $visit:ident $(, $receiver:ident)?) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "iter/task_file")]
        #[expect(unsafe_code, reason = "the loader finds the program by its section and name")]
        extern "C" fn $name(context: *const TaskFile) -> i32 {
            // NULL marks the end of the iteration.
            let Some(file) = file(context) else { return 0 };
            let untyped = if has_sock_from_file() {
                let Some(sock) = sock_from_file(file) else { return 0 };
                if let Some(socket) = TcpSock::from_argument(sock) {
                    $visit(context, socket);
                    return 0;
                }
                $(if let Some(socket) = UdpSock::receiver(sock) {
                    $receiver(context, socket);
                    return 0;
                })?
                TcpSock::from_mptcp(sock)
            } else {
                let Some(address) = address_from_file(file) else { return 0 };
                let socket = TcpSock::from_address(address);
                $(if socket.is_none() && let Some(socket) = UdpSock::receiver_at(address) {
                    $receiver(context, socket);
                    return 0;
                })?
                socket.or_else(|| TcpSock::from_mptcp_address(address))
            };
            if let Some(socket) = untyped {
                $visit(context, socket);
            }
            0
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
    let Some((id, phase, visit)) = entry(context) else { return 0 };
    if phase != PHASE_OPEN || is_found(visit) {
        return 0;
    }
    let (Some(tracked), Some(socket)) = (state_of(id), TcpSock::from_address(id)) else { return 0 };
    sweeping(id, tracked);
    if tracked.phase() == PHASE_OPEN && !tracked.is_settled() {
        let state = socket.common().state();
        let mut has = 0;
        if has_moved(socket, tracked.counted()) {
            has = OpenConnection::USED;
            add_totals(socket, state, tracked);
        }
        // One that is closed and still sends has no file either, but is in another state.
        if matches!(state, ESTABLISHED | CLOSE_WAIT) && !socket.has_file() {
            has |= OpenConnection::UNACCEPTED;
        }
        report(context.cast(), socket, state, tracked, has);
    }
    sweeping(0, tracked);
    0
}

#[inline(always)]
fn find_listener<M: Memory>(_: *const TaskFile, socket: TcpSock<M>) {
    if socket.common().state() == LISTEN {
        insert_listener(socket);
    }
}

#[inline(always)]
fn skip_older<M: Memory>(_: *const TaskFile, socket: TcpSock<M>) {
    adopt_as_counted(socket);
}

#[inline(always)]
fn sweep<M: Memory>(context: *const TaskFile, socket: TcpSock<M>) {
    match socket.common().state() {
        LISTEN => {
            let Some(task) = task(context) else { return };
            listener(task, socket);
            namespace(task, socket);
        }
        state => connection(context, socket, state),
    }
}

#[inline(always)]
fn connection<M: Memory>(context: *const TaskFile, socket: TcpSock<M>, state: u8) {
    let tracked = match state_of(socket.id) {
        Some(tracked) => tracked,
        None if state == CLOSE => return,
        None => {
            // When the map is full, its totals are counted at its close, in full.
            let Some(tracked) = adopt(socket, state) else { return };
            tracked
        }
    };
    let mut has = 0;
    if has_moved(socket, tracked.counted()) {
        has = OpenConnection::USED;
        sweeping(socket.id, tracked);
        if !tracked.is_settled() {
            add_totals(socket, state, tracked);
        }
        sweeping(0, tracked);
    }
    report(context.cast(), socket, state, tracked, has);
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
    sweep.began != 0 && visit.age(now) <= now.wrapping_sub(sweep.began)
}

/// Writes the connection's record to the reader of the sweep, once in each sweep, unless it is about to end. `has` are bits of
/// [`OpenConnection::has`].
#[inline(always)]
fn report<M: Memory>(context: *const c_void, socket: TcpSock<M>, state: u8, tracked: Tracked, mut has: u8) {
    if !matches!(state, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT) {
        return;
    }
    let Some(sweep) = SWEEP.get_ptr_mut(0) else { return };
    // SAFETY: the pointer comes from a map lookup, checked for NULL; plain integers, and no other program uses these members.
    #[expect(unsafe_code, reason = "map value")]
    let (began, quiet) = unsafe { (&mut (*sweep).began, (*sweep).quiet) };
    let now = ticks();
    if *began == 0 {
        *began = now.max(1);
    }
    let visit = tracked.visit();
    let since_visit = visit.age(now);
    // Several processes hold it, and it was reported through another one.
    if since_visit <= now.wrapping_sub(*began) {
        return;
    }
    let [since_sent, since_received, since_acknowledged] = socket.idle_ticks(now);
    let (limited_by, since_limited) = socket.limited(now);
    let (unacknowledged, unsent) = socket.outstanding();
    // SAFETY: the pointer lies in a map value, which the verifier checks; plain integers.
    #[expect(unsafe_code, reason = "map value")]
    let (sent, received) = unsafe { ((*tracked.counted()).sent_bytes, (*tracked.counted()).received_bytes) };
    let mut lowest_round_trip_us = u32::MAX;
    if has & OpenConnection::USED != 0 {
        lowest_round_trip_us = tracked.lowest_round_trip_us(socket.min_rtt_us());
        if tracked.take_retransmitted() {
            has |= OpenConnection::RETRANSMITTED;
        }
    }
    if sent != 0 || unacknowledged != 0 {
        has |= OpenConnection::SENT;
    }
    if received != 0 {
        has |= OpenConnection::RECEIVED;
    }
    let mut connection = OpenConnection {
        flow: *tracked.flow(),
        since_sent,
        since_received,
        since_acknowledged,
        since_limited,
        since_visit: forget32(since_visit, now),
        round_trip_us: socket.smoothed_rtt_us(),
        unacknowledged,
        unsent,
        unread: socket.unread_bytes(),
        state,
        limited_by,
        has: forget8(has, now),
        speaker: SPEAKER_NONE,
        speaker_before: visit.speaker(),
        quiet_before: visit.is_quiet(),
        reserved: [0; 2],
        lowest_round_trip_us: forget32(lowest_round_trip_us, now),
    };
    let speaker = connection.last_speaker(socket.is_peer_silent_since_acknowledgement());
    connection.speaker = forget8(speaker, now);
    let reader = Reader::from_argument(reader(context));
    if reader.write(&connection) {
        let is_quiet = since_sent.min(since_received) >= quiet;
        tracked.set_visit(Visit::new(now, connection.speaker, is_quiet));
    }
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

/// The first member of an iterator's argument.
#[inline(always)]
fn reader(context: *const c_void) -> *const c_void {
    // SAFETY: as in `file`.
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    unsafe {
        *context.cast::<*const c_void>()
    }
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
