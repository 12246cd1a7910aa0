//! Flows of peers whose address is unverified: of segments without a connection, and of handshakes that are not complete.
//!
//! Anybody can send such segments, from any address and to any port, so that a table with an entry for each would soon be full.
//! They count for the flow that they belong to if it has an entry; some get an entry of their own
//! (`UNVERIFIED_FLOWS` of agent-common); the others count for one unknown peer of each listening port, or network namespace.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER};

use crate::flow::{Counters, counters, existing_counters, key};
use crate::kernel::Segment;
use crate::maps::{EEXIST, OWNERS, UNVERIFIED_ROOM, add};
use crate::socket::listener_at;

/// A flow, and its counters.
pub struct Counted {
    /// The key of the flow.
    pub flow: FlowKey,
    /// Its counters.
    pub counters: Counters,
}

/// The flow of a segment to which no connection belongs, in this network namespace. `listener` is the local end of the
/// listening socket that received it, 0 without one.
#[inline(always)]
pub fn of_segment(segment: &Segment, namespace: u32, listener: u64) -> Option<Counted> {
    let Segment { source, source_port, destination_port, is_first } = *segment;
    let of_namespace = LOCAL_IS_NAMESPACE | u64::from(namespace);
    let listener =
        if listener == 0 { listener_at(namespace, destination_port).unwrap_or(0) } else { listener };
    if listener != 0 {
        let flow = key(PROTOCOL_TCP, listener, source, destination_port, ROLE_SERVER);
        return if is_first { of_peer(flow) } else { existing(flow).or_else(|| of_unknown(flow)) };
    }
    // The port that an application asks for is a service's, even if nothing listens there.
    if is_first {
        return of_peer(key(PROTOCOL_TCP, of_namespace, source, destination_port, ROLE_SERVER));
    }
    // Too late for the client's socket. A server that sent nothing asked for is not a peer, nor is the port a service's.
    let of_client = key(PROTOCOL_TCP, of_namespace, source, source_port, ROLE_CLIENT);
    let owned = owner(&of_client).and_then(|local| existing(FlowKey { local, ..of_client }));
    owned.or_else(|| of_unknown(key(PROTOCOL_TCP, of_namespace, Address::UNKNOWN, 0, ROLE_SERVER)))
}

/// The flow of a peer that asks for a connection; that of the unknown peer if it has no entry and can have none.
#[inline(always)]
pub fn of_peer(flow: FlowKey) -> Option<Counted> {
    if let Some(found) = existing(flow) {
        return Some(found);
    }
    let room = UNVERIFIED_ROOM.get_ptr_mut(0)?;
    // SAFETY: the pointer comes from a map lookup, checked for NULL. CPUs that read the same value insert one each.
    #[expect(unsafe_code, reason = "map value")]
    let left = unsafe { room.read_volatile() };
    if left > 0 {
        add(room.cast(), u64::MAX);
        return counters(&flow).map(|counters| Counted { flow, counters });
    }
    // Nobody listens there, and the ports that a scan tries are many.
    let is_closed = flow.local & LOCAL_IS_NAMESPACE != 0;
    of_unknown(FlowKey { service_port: if is_closed { 0 } else { flow.service_port }, ..flow })
}

#[inline(always)]
fn of_unknown(flow: FlowKey) -> Option<Counted> {
    let flow = FlowKey { remote: Address::UNKNOWN, ..flow };
    counters(&flow).map(|counters| Counted { flow, counters })
}

#[inline(always)]
fn existing(flow: FlowKey) -> Option<Counted> {
    existing_counters(&flow).map(|counters| Counted { flow, counters })
}

/// Remembers whose flow this client's flow is.
#[inline(always)]
pub fn insert_owner(flow: &FlowKey, namespace: u32) {
    let of_namespace = FlowKey { local: LOCAL_IS_NAMESPACE | u64::from(namespace), ..*flow };
    // Two workloads of a namespace talk to one server: a late segment may be of either.
    if OWNERS.insert(of_namespace, flow.local, u64::from(BPF_NOEXIST)) == Err(EEXIST)
        && owner(&of_namespace) != Some(flow.local)
    {
        let _ = OWNERS.insert(of_namespace, 0, u64::from(BPF_ANY));
    }
}

#[inline(always)]
fn owner(of_namespace: &FlowKey) -> Option<u64> {
    // SAFETY: a copy is made at once; the entry found in its flow's place is another owner's, whose flow is looked up.
    #[expect(unsafe_code, reason = "map value")]
    unsafe { OWNERS.get(of_namespace) }.copied()
}
