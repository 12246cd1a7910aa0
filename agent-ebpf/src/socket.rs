//! What is remembered of a socket while it lives, and the role that follows from it.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_log_ebpf::debug;
use netcause_common::flow::{FlowKey, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::probe::open_sockets::ListenerKey;
use netcause_common::socket::{Counted, SocketState};
use netcause_common::statistics::Statistic;

use crate::kernel::{Memory, TcpSock, Typed};
use crate::maps::{E2BIG, EEXIST, ENOMEM, LISTENERS, SOCKETS, SOCKETS_SPARE, count};

/// Remembers a socket, in place of what an earlier one has left at the same address; false when there is no room.
#[inline(always)]
pub fn remember(id: u64, earlier: Option<Remembered>, state: &SocketState) -> bool {
    match earlier {
        Some(earlier) => {
            earlier.replace(state);
            true
        }
        None => insert(id, state),
    }
}

/// Remembers a socket that nothing is known of; false when there is no room.
#[inline(always)]
pub fn insert(id: u64, state: &SocketState) -> bool {
    let inserted = match SOCKETS.insert(id, state, u64::from(BPF_NOEXIST)) {
        Err(EEXIST) => return true,
        Err(error) if error != E2BIG && error != ENOMEM => {
            SOCKETS_SPARE.insert(id, state, u64::from(BPF_ANY))
        }
        result => result,
    };
    match inserted {
        Ok(()) => count(Statistic::SocketsInserted),
        Err(error) => {
            count(Statistic::SocketsRefused);
            debug!((), "a socket is not remembered: error {}", error);
        }
    }
    inserted.is_ok()
}

/// The remembered state of a socket.
#[inline(always)]
pub fn state_of(id: u64) -> Option<Remembered> {
    SOCKETS.get_ptr_mut(id).or_else(|| SOCKETS_SPARE.get_ptr_mut(id)).map(Remembered)
}

/// Forgets a socket. One whose table is being changed on this CPU stays, marked as closed; the next socket at its
/// address replaces it.
#[inline(always)]
pub fn forget(id: u64) {
    if SOCKETS.remove(id).is_ok() || SOCKETS_SPARE.remove(id).is_ok() {
        count(Statistic::SocketsRemoved);
    }
}

/// A socket's state, in the table. The kernel calls the programs under the socket's lock: no two at once.
#[derive(Clone, Copy)]
pub struct Remembered(*mut SocketState);

#[expect(unsafe_code, reason = "map value")]
impl Remembered {
    /// [`ROLE_CLIENT`] or [`ROLE_SERVER`].
    #[inline(always)]
    pub fn role(self) -> u8 {
        // SAFETY: the pointer comes from the table's lookup, which the verifier makes us check; plain integers.
        unsafe { (*self.0).flow.role }
    }

    /// The flow it belongs to.
    #[inline(always)]
    pub fn flow(self) -> &'static FlowKey {
        // SAFETY: as in `role`. The flow is written when the entry is made or replaced, and used at once.
        unsafe { &(*self.0).flow }
    }

    /// When it began to connect; 0 when that is unknown.
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

    /// Begins anew.
    #[inline(always)]
    pub fn replace(self, state: &SocketState) {
        // SAFETY: as in `role`.
        unsafe { *self.0 = *state }
    }

    /// True when its totals have been added for the last time. Read anew each time: the sweep and the close look
    /// across processors.
    #[inline(always)]
    pub fn is_settled(self) -> bool {
        // SAFETY: as in `role`.
        unsafe { (&raw const (*self.0).settled).read_volatile() != 0 }
    }

    /// Says whether its totals have been added for the last time.
    #[inline(always)]
    pub fn set_settled(self, settled: bool) {
        // SAFETY: as in `role`.
        unsafe { (&raw mut (*self.0).settled).write_volatile(settled.into()) }
    }

    /// Whether the end of the stream was acknowledged, as found at the close.
    #[inline(always)]
    pub fn is_fin_acknowledged(self) -> bool {
        // SAFETY: as in `role`.
        unsafe { (*self.0).fin_acknowledged != 0 }
    }

    /// Notes whether the end of the stream was acknowledged.
    #[inline(always)]
    pub fn set_fin_acknowledged(self, acknowledged: bool) {
        // SAFETY: as in `role`.
        unsafe { (*self.0).fin_acknowledged = acknowledged.into() }
    }

    /// What is counted already.
    #[inline(always)]
    pub fn counted(self) -> *mut Counted {
        // SAFETY: as in `role`; only an address is taken.
        unsafe { &raw mut (*self.0).counted }
    }

    /// Of a listening socket: drops that were not counted yet; from now on they are.
    #[inline(always)]
    pub fn take_uncounted_drops(self, total: u32) -> u32 {
        // SAFETY: as in `role`. A listening socket receives no segments of its own: the field is free.
        let counted = unsafe { &mut (*self.0).counted.reordered_segments };
        total.wrapping_sub(core::mem::replace(counted, total))
    }

    /// Retransmits of the socket's total that were not counted yet; from now on they are.
    #[inline(always)]
    pub fn take_uncounted_retransmits(self, total: u32) -> u32 {
        // SAFETY: as in `role`.
        let counted = unsafe { &mut (*self.0).counted.retransmits };
        total.wrapping_sub(core::mem::replace(counted, total))
    }
}

/// The role of a socket that is not remembered: server when its port listens. Where that is unknown too,
/// the lower port is taken for the service's.
#[inline(always)]
pub fn infer_role<M: Memory>(socket: TcpSock<M>) -> u8 {
    if is_listening(socket) || socket.local_port() < socket.common().remote_port() {
        ROLE_SERVER
    } else {
        ROLE_CLIENT
    }
}

/// True when the socket's local port listens, in its network namespace.
#[inline(always)]
pub fn is_listening<M: Memory>(socket: TcpSock<M>) -> bool {
    LISTENERS.get_ptr(listener(socket)).is_some()
}

/// Remembers that the socket's port listens. What is forgotten costs a socket its role, which the ports then tell: see
/// [`infer_role`].
#[inline(always)]
pub fn listens<M: Memory>(socket: TcpSock<M>) {
    let _ = LISTENERS.insert(listener(socket), 1, u64::from(BPF_ANY));
}

#[inline(always)]
fn listener<M: Memory>(socket: TcpSock<M>) -> ListenerKey {
    ListenerKey { namespace: socket.namespace(), port: socket.local_port(), reserved: 0 }
}

/// The client's port of a socket.
#[inline(always)]
pub fn client_port(socket: TcpSock<Typed>, role: u8) -> u16 {
    if role == ROLE_CLIENT { socket.local_port() } else { socket.common().remote_port() }
}
