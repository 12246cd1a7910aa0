//! Packets that the kernel dropped for a reason that means a fault.
//!
//! ```c
//! TP_PROTO(struct sk_buff *skb, void *location)                                                          // kfree_skb, before 5.17
//! TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason)                             // then
//! TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason, struct sock *rx_sk)         // from 6.11 on
//! ```
//!
//! Kernels: 5.17 on; before that there is no reason, and most packets that are freed here were not lost.
//!
//! One hit is a buffer, which with segmentation offload has several segments; `nft` and `tc` count it as one packet as well.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use netcause_common::drops::{DropDirection, DropKey, DropReason};
use netcause_common::endpoint::Address;
use netcause_common::flow::LOCAL_IS_NAMESPACE;
use netcause_common::statistics::Statistic;

use crate::flow::client;
use crate::kernel::{Headers, InetSock, SkBuff, drop_has_socket};
use crate::lost;
use crate::maps::{DROPS, EEXIST, add, count};
use crate::settings::drop_reason;

#[btf_tracepoint(function = "kfree_skb")]
fn packet_drop(context: BtfTracePointContext) -> i32 {
    // First of all: most packets come here for other reasons.
    if let Some(reason) = drop_reason(context.arg(2))
        && let Some(packet) = SkBuff::from_argument(context.arg(0))
    {
        dropped(&context, packet, reason);
    }
    0
}

#[inline(always)]
fn dropped(context: &BtfTracePointContext, packet: SkBuff, reason: u8) {
    let headers = packet.headers();
    let Some(key) = key(context, packet, headers, reason) else { return };
    if let Some(counter) = counter(&key) {
        add(counter, 1);
    }
    // Copies that raw sockets receive are no loss; a full buffer of TCP has another reason.
    if let Some(headers) = headers
        && reason != DropReason::SocketRcvbuff as u8
    {
        lost::dropped(packet, &headers, reason, |start| was_sent(packet, reason, key.direction, start));
    }
}

/// Whether TCP takes for sent what was dropped. A refusal in the sender's own namespace it hears of; on its way through the node a packet
/// may still have the sender's socket, and on its way out of a socket it may have no device yet.
#[inline(always)]
fn was_sent(packet: SkBuff, reason: u8, direction: u8, start: u32) -> bool {
    if lost::facts(reason).refuses_to_send == 0 || direction != DropDirection::Sent as u8 {
        return true;
    }
    let Some(sender) = InetSock::of(packet) else { return true };
    let at = packet.namespace();
    let is_on_its_way = at != 0 && at != sender.namespace();
    is_on_its_way || sender.has_sent(start)
}

/// Whom a dropped packet counts for; `None` if nobody was to have it in particular.
#[inline(always)]
fn key(
    context: &BtfTracePointContext,
    packet: SkBuff,
    headers: Option<Headers>,
    reason: u8,
) -> Option<DropKey> {
    if packet.is_to_many() || headers.is_some_and(|headers| headers.is_to_many()) {
        return None;
    }
    // Raw sockets filter and overflow on copies of packets that others receive.
    let is_of_socket = reason == DropReason::SocketFilter as u8 || reason == DropReason::SocketRcvbuff as u8;
    if is_of_socket && headers.is_some_and(|headers| !headers.has_ports()) {
        return None;
    }
    let receiver: *const c_void = if drop_has_socket() { context.arg(3) } else { core::ptr::null() };
    let (local, direction, source, destination) = if let Some(socket) = InetSock::from_argument(receiver) {
        let source = headers.map_or(Address::UNKNOWN, |headers| client(headers.source));
        (socket.local(), DropDirection::Received, source, Address::EXTERNAL)
    } else if let Some(socket) = InetSock::of(packet) {
        of_owner(socket, headers)
    } else {
        let (source, destination) = headers.map_or((Address::UNKNOWN, Address::UNKNOWN), |headers| {
            (client(headers.source), client(headers.destination))
        });
        let local = LOCAL_IS_NAMESPACE | u64::from(packet.namespace());
        (local, DropDirection::InTransit, source, destination)
    };
    Some(DropKey { local, source, destination, reason, direction: direction as u8, reserved: [0; 6] })
}

/// Of a packet with a socket, which is its sender's unless the packet goes to the socket's port.
#[inline(always)]
fn of_owner(socket: InetSock, headers: Option<Headers>) -> (u64, DropDirection, Address, Address) {
    let (local, port) = (socket.local(), socket.port());
    match headers {
        Some(headers) if headers.destination_port == port && headers.source_port != port => {
            (local, DropDirection::Received, client(headers.source), Address::EXTERNAL)
        }
        Some(headers) => (local, DropDirection::Sent, Address::EXTERNAL, client(headers.destination)),
        None => (local, DropDirection::Sent, Address::EXTERNAL, client(socket.peer())),
    }
}

#[inline(always)]
fn counter(key: &DropKey) -> Option<*mut u64> {
    if let Some(counter) = DROPS.get_ptr_mut(key) {
        return Some(counter);
    }
    match DROPS.insert(key, 0, u64::from(BPF_NOEXIST)) {
        Ok(()) | Err(EEXIST) => DROPS.get_ptr_mut(key),
        Err(_) => {
            count(Statistic::DropsFolded);
            DROPS.get_ptr_mut(DropKey::other(key.reason, key.direction))
        }
    }
}
