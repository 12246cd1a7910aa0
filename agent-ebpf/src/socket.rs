//! The socket map: state of TCP sockets, and their role.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_log_ebpf::debug;
use netcause_common::flow::{Counted, FlowKey, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::probe::open_sockets::{AcceptQueue, ListenerKey, QueueKey, Visit};
use netcause_common::socket::SocketState;
use netcause_common::statistics::Statistic;

use crate::kernel::{Memory, TcpSock, Typed};
use crate::maps::{
    E2BIG, EEXIST, ENOMEM, LISTENERS, QUEUES, SOCKETS, SOCKETS_SPARE, SOCKETS_SPARE_USED, count,
};

/// Inserts a socket, or replaces the entry of an earlier one at the same address; false when the map is full.
#[inline(always)]
pub fn insert_or_replace(id: u64, earlier: Option<Tracked>, state: &SocketState) -> bool {
    match earlier {
        Some(earlier) => {
            earlier.replace(state);
            true
        }
        None => insert(id, state),
    }
}

/// Inserts a socket without an entry; false when the map is full.
#[inline(always)]
pub fn insert(id: u64, state: &SocketState) -> bool {
    let inserted = match SOCKETS.insert(id, state, u64::from(BPF_NOEXIST)) {
        Err(EEXIST) => return true,
        Err(error) if error != E2BIG && error != ENOMEM => {
            // Before the entry is there, so that nobody misses it.
            let _ = SOCKETS_SPARE_USED.set(0, 1, 0);
            SOCKETS_SPARE.insert(id, state, u64::from(BPF_ANY))
        }
        result => result,
    };
    match inserted {
        Ok(()) => count(Statistic::SocketsInserted),
        Err(error) => {
            count(Statistic::SocketsRefused);
            debug!((), "cannot insert a socket: error {}", error);
        }
    }
    inserted.is_ok()
}

/// The entry of a socket.
#[inline(always)]
pub fn state_of(id: u64) -> Option<Tracked> {
    SOCKETS.get_ptr_mut(id).or_else(|| spare_of(id)).map(Tracked)
}

#[inline(always)]
fn spare_of(id: u64) -> Option<*mut SocketState> {
    let used = SOCKETS_SPARE_USED.get_ptr(0)?;
    // SAFETY: the pointer comes from a map lookup, checked for NULL; volatile because another CPU may set it meanwhile.
    #[expect(unsafe_code, reason = "map value")]
    let is_used = unsafe { used.read_volatile() } != 0;
    if is_used { SOCKETS_SPARE.get_ptr_mut(id) } else { None }
}

/// Removes a socket. If that fails with -EBUSY, the entry stays, marked as closed; the next socket at its address replaces
/// it.
#[inline(always)]
pub fn remove(id: u64) {
    if SOCKETS.remove(id).is_ok() || SOCKETS_SPARE.remove(id).is_ok() {
        count(Statistic::SocketsRemoved);
    }
}

/// A socket's state, in the map. The kernel runs the programs with the socket locked, so only one at a time.
#[derive(Clone, Copy)]
pub struct Tracked(*mut SocketState);

#[expect(unsafe_code, reason = "map value")]
impl Tracked {
    /// [`ROLE_CLIENT`] or [`ROLE_SERVER`].
    #[inline(always)]
    pub fn role(self) -> u8 {
        // SAFETY: the pointer comes from a map lookup, checked for NULL; plain integers.
        unsafe { (*self.0).flow.role }
    }

    /// Key of its flow.
    #[inline(always)]
    pub fn flow(self) -> &'static FlowKey {
        // SAFETY: as in `role`. The flow is written when the entry is made or replaced, and used at once.
        unsafe { &(*self.0).flow }
    }

    /// When it started to connect; 0 when that is unknown.
    #[inline(always)]
    pub fn started_ns(self) -> u64 {
        // SAFETY: as in `role`.
        unsafe { (*self.0).started_ns }
    }

    /// One of `PHASE_…`.
    #[inline(always)]
    pub fn phase(self) -> u8 {
        // SAFETY: as in `role`.
        unsafe { (*self.0).phase }
    }

    /// Sets the phase.
    #[inline(always)]
    pub fn enter(self, phase: u8) {
        // SAFETY: as in `role`.
        unsafe { (*self.0).phase = phase }
    }

    /// Replaces the state.
    #[inline(always)]
    pub fn replace(self, state: &SocketState) {
        // SAFETY: as in `role`.
        unsafe { *self.0 = *state }
    }

    /// True when its final totals have been added. A volatile read: the sweep and the close may run on different CPUs.
    #[inline(always)]
    pub fn is_settled(self) -> bool {
        // SAFETY: as in `role`.
        unsafe { (&raw const (*self.0).settled).read_volatile() != 0 }
    }

    /// Sets whether its final totals have been added.
    #[inline(always)]
    pub fn set_settled(self, settled: bool) {
        // SAFETY: as in `role`.
        unsafe { (&raw mut (*self.0).settled).write_volatile(settled.into()) }
    }

    /// Whether the FIN was acknowledged, as determined at the close.
    #[inline(always)]
    pub fn is_fin_acknowledged(self) -> bool {
        // SAFETY: as in `role`.
        unsafe { (*self.0).fin_acknowledged != 0 }
    }

    /// Sets whether the FIN was acknowledged.
    #[inline(always)]
    pub fn set_fin_acknowledged(self, acknowledged: bool) {
        // SAFETY: as in `role`.
        unsafe { (*self.0).fin_acknowledged = acknowledged.into() }
    }

    /// Length of its queue of ICMP errors when it started to connect, modulo 256.
    #[inline(always)]
    pub fn errors_queued(self) -> u8 {
        // SAFETY: as in `role`.
        unsafe { (*self.0).errors_queued }
    }

    /// Notes whether it has failed within the call of connect(2).
    #[inline(always)]
    pub fn set_failed_in_call(self, failed: bool) {
        // SAFETY: as in `role`.
        unsafe { (*self.0).failed_in_call = failed.into() }
    }

    /// True when it has failed within the call of connect(2) since the last call of this function.
    #[inline(always)]
    pub fn take_failed_in_call(self) -> bool {
        // SAFETY: as in `role`.
        let failed = unsafe { &mut (*self.0).failed_in_call };
        core::mem::take(failed) != 0
    }

    /// The totals that have been added to its flow.
    #[inline(always)]
    pub fn counted(self) -> *mut Counted {
        // SAFETY: as in `role`; only an address is taken.
        unsafe { &raw mut (*self.0).counted }
    }

    /// When the sweep last reported it.
    #[inline(always)]
    pub fn visit(self) -> Visit {
        // SAFETY: as in `role`.
        Visit(unsafe { (*self.0).visit })
    }

    /// Sets when the sweep last reported it.
    #[inline(always)]
    pub fn set_visit(self, visit: Visit) {
        // SAFETY: as in `role`; only the sweep writes it.
        unsafe { (*self.0).visit = visit.0 }
    }

    /// The lowest round-trip time in microseconds that a sweep has found, this one among them; `u32::MAX` before the first.
    #[inline(always)]
    pub fn lowest_round_trip_us(self, now: u32) -> u32 {
        // SAFETY: as in `role`; only the sweep writes it. 0 wraps to the highest.
        let stored = unsafe { &mut (*self.0).lowest_round_trip_us };
        let lowest = stored.wrapping_sub(1).min(now);
        *stored = lowest.wrapping_add(1);
        lowest
    }

    /// Notes that something was retransmitted.
    #[inline(always)]
    pub fn set_retransmitted(self) {
        // SAFETY: as in `role`.
        unsafe { (*self.0).retransmitted = 1 }
    }

    /// True when something was retransmitted since the last call. A retransmission at the same time may be missed.
    #[inline(always)]
    pub fn take_retransmitted(self) -> bool {
        // SAFETY: as in `role`.
        let retransmitted = unsafe { &mut (*self.0).retransmitted };
        core::mem::replace(retransmitted, 0) != 0
    }

    /// Of a listening socket: segments discarded since the last call.
    #[inline(always)]
    pub fn take_uncounted_discards(self, total: u32) -> u32 {
        // SAFETY: as in `role`. The field is free: a listening socket receives no segments itself.
        let counted = unsafe { &mut (*self.0).counted.reordered_segments };
        total.wrapping_sub(core::mem::replace(counted, total))
    }

    /// Retransmissions since the last call.
    #[inline(always)]
    pub fn take_uncounted_retransmits(self, total: u32) -> u32 {
        // SAFETY: as in `role`.
        let counted = unsafe { &mut (*self.0).counted.retransmits };
        total.wrapping_sub(core::mem::replace(counted, total))
    }
}

/// Role of a socket without an entry: server when it was accepted, or its port is in the map of listening ports.
#[inline(always)]
pub fn infer_role<M: Memory>(socket: TcpSock<M>) -> u8 {
    if socket.is_accepted() || listener_at(socket.namespace(), socket.local_port()).is_some() {
        ROLE_SERVER
    } else {
        ROLE_CLIENT
    }
}

/// The local end of the socket that listens at this port, or did.
#[inline(always)]
pub fn listener_at(namespace: u32, port: u16) -> Option<u64> {
    // SAFETY: a copy is made at once; an entry that is replaced meanwhile is another listener's, at this port too.
    #[expect(unsafe_code, reason = "map value")]
    unsafe { LISTENERS.get(ListenerKey { namespace, port, reserved: 0 }) }.copied()
}

/// Inserts the socket's port into the map of listening ports.
#[inline(always)]
pub fn insert_listener<M: Memory>(socket: TcpSock<M>) {
    let key = ListenerKey { namespace: socket.namespace(), port: socket.local_port(), reserved: 0 };
    let _ = LISTENERS.insert(key, socket.local(), u64::from(BPF_ANY));
}

/// The entry of a listening socket in the map of accept queues, inserted when it is new.
#[inline(always)]
pub fn accept_queue<M: Memory>(socket: TcpSock<M>) -> Option<*mut AcceptQueue> {
    let key = QueueKey { local: socket.local(), port: socket.local_port(), reserved: [0; 3] };
    if let Some(queue) = QUEUES.get_ptr_mut(key) {
        return Some(queue);
    }
    // A full map is visible: its limit and number of entries are metrics.
    let queue = AcceptQueue { namespace: socket.namespace(), ..AcceptQueue::default() };
    let _ = QUEUES.insert(key, queue, u64::from(BPF_NOEXIST));
    QUEUES.get_ptr_mut(key)
}

/// The client's port of a socket.
#[inline(always)]
pub fn client_port(socket: TcpSock<Typed>, role: u8) -> u16 {
    if role == ROLE_CLIENT { socket.local_port() } else { socket.common().remote_port() }
}
