//! Types that the daemon copies to and from the kernel's maps.
#![expect(unsafe_code, reason = "the promise that a type may be read from raw bytes")]

use aya::Pod;

use crate::dns::{Asked, ClosedSocket, DetailWindow, DnsCounters, LastQuestion, QueryKey, Served, Settings};
use crate::drops::{DropKey, DropReasons};
use crate::flow::{FlowKey, Quotas, TcpCounters, Tenant, UdpCounters};
use crate::layout::KernelLayout;
use crate::probe::open_sockets::{AcceptQueue, ListenerKey, ListeningNamespace, QueueKey, UdpHolders};
use crate::socket::SocketState;

// SAFETY: integers only, in `repr(C)`, and the size assertions beside the types rule out padding.
unsafe impl Pod for FlowKey {}
// SAFETY: as above.
unsafe impl Pod for TcpCounters {}
// SAFETY: as above.
unsafe impl Pod for SocketState {}
// SAFETY: as above.
unsafe impl Pod for ListenerKey {}
// SAFETY: as above.
unsafe impl Pod for UdpCounters {}
// SAFETY: as above.
unsafe impl Pod for QueueKey {}
// SAFETY: as above.
unsafe impl Pod for AcceptQueue {}
// SAFETY: as above.
unsafe impl Pod for UdpHolders {}
// SAFETY: as above.
unsafe impl Pod for ListeningNamespace {}
// SAFETY: `u32` only.
unsafe impl Pod for KernelLayout {}
// SAFETY: as the first.
unsafe impl Pod for DnsCounters {}
// SAFETY: as the first.
unsafe impl Pod for QueryKey {}
// SAFETY: as the first.
unsafe impl Pod for Asked {}
// SAFETY: as the first.
unsafe impl Pod for Served {}
// SAFETY: as the first.
unsafe impl Pod for Settings {}
// SAFETY: as the first.
unsafe impl Pod for DetailWindow {}
// SAFETY: as the first.
unsafe impl Pod for LastQuestion {}
// SAFETY: as the first.
unsafe impl Pod for ClosedSocket {}
// SAFETY: as the first.
unsafe impl Pod for DropKey {}
// SAFETY: bytes only.
unsafe impl Pod for DropReasons {}
// SAFETY: as the first.
unsafe impl Pod for Tenant {}
// SAFETY: as the first.
unsafe impl Pod for Quotas {}
