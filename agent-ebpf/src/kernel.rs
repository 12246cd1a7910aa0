//! The only place that reads kernel memory.
//!
//! Offsets come from the layout that the daemon fills from the running kernel's BTF before the load: the verifier sees
//! constants. Arguments of BTF tracepoints are typed pointers that may be read directly, at the price of one load; what
//! is reached through untyped pointers goes through `bpf_probe_read_kernel`. Only this module can make such a pointer.
#![expect(unsafe_code, reason = "reading kernel memory is what this module is for")]

mod address;
mod headers;
mod inet;
mod layout;
mod memory;
mod mptcp;
mod packet;
mod sock;
mod task;
mod tcp;

pub use address::SocketAddress;
pub use headers::{Headers, TcpRange};
pub use inet::InetSock;
pub use layout::{
    drop_has_socket, first_ephemeral_port, has_sock_from_file, long_idle_ticks, retransmit_has_error,
    udp_drop_has_packet,
};
pub use memory::{Memory, Typed, Untyped};
pub use packet::{Segment, SkBuff};
pub use sock::{SockCommon, UdpSock, address_from_file, namespace_of_packet_socket, sock_from_file};
pub use task::Task;
pub use tcp::{Limited, TcpSock, state as tcp_state};
