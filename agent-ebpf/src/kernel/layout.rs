//! Where the running kernel keeps the members that the programs read, and what else differs between kernels.

use netcause_common::layout::KernelLayout;

/// Set by the daemon. Read-only for the programs, so the verifier knows every value and prunes unreachable branches.
#[unsafe(no_mangle)]
pub(super) static LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

/// One value of [`LAYOUT`], read so that the compiler cannot replace it by the default it sees here.
macro_rules! layout {
    ($field:ident) => {
        // SAFETY: a static is valid and aligned; volatile because the daemon replaces the value before the load.
        unsafe { (&raw const $crate::kernel::layout::LAYOUT.$field).read_volatile() }
    };
}
pub(super) use layout;

/// True when [`sock_from_file`](super::sock_from_file) can be called (`bpf_sock_from_file`, 5.11 on).
#[inline(always)]
pub fn has_sock_from_file() -> bool {
    layout!(has_sock_from_file) == 1
}

/// The lowest port that the kernel may have chosen for a client.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a port")]
pub fn first_ephemeral_port() -> u16 {
    layout!(first_ephemeral_port) as u16
}

/// True when `udp_fail_queue_rcv_skb` has a third argument, the packet.
#[inline(always)]
pub fn udp_drop_has_packet() -> bool {
    layout!(udp_drop_has_packet) == 1
}

/// How many ticks without a word from the peer make a connection idle for long.
#[inline(always)]
pub fn long_idle_ticks() -> u32 {
    layout!(long_idle_ticks)
}

/// True when `tcp_retransmit_skb` has a third argument, the result of the transmission.
#[inline(always)]
pub fn retransmit_has_error() -> bool {
    layout!(retransmit_has_error) == 1
}

/// True when `kfree_skb` has a fourth argument, the socket that was to receive the packet.
#[inline(always)]
pub fn drop_has_socket() -> bool {
    layout!(drop_has_socket) == 1
}
