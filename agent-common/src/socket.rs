//! What the kernel side remembers of one TCP socket while it lives.

/// Value of the socket table; the key is the address of the kernel's `struct sock`, which never leaves the maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// When the SYN was sent, in nanoseconds of CLOCK_MONOTONIC; 0 when that was before the agent, or for a server.
    pub started_ns: u64,
    /// How much of the socket's `total_retrans` has been counted already.
    pub retransmits_counted: u32,
    /// [`crate::flow::ROLE_CLIENT`] or [`crate::flow::ROLE_SERVER`].
    pub role: u8,
    /// How far it has come, as counted: [`PHASE_CONNECTING`], [`PHASE_OPEN`] or [`PHASE_CLOSED`].
    pub phase: u8,
    /// Always zero.
    pub reserved: [u8; 2],
}

/// The SYN was sent.
pub const PHASE_CONNECTING: u8 = 1;
/// Counted as opened, or older than the agent.
pub const PHASE_OPEN: u8 = 2;
/// Counted as closed or failed; kept until the socket is destroyed, for the reset that may follow.
pub const PHASE_CLOSED: u8 = 3;

const _: () = assert!(size_of::<SocketState>() == 16);
