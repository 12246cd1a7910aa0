//! Counters of a DNS flow.

use netcause_common::dns::{DnsCounters, QueryType};
use netcause_common::flow::FlowKey;
use netcause_common::histogram::DNS_BOUNDS_NS;

use super::message::{Message, Response};
use crate::emit::Unseen;
use crate::flow::{add_at, counter, dns_counters, observe};
use crate::maps::{DNS_FLOWS, add};
use crate::packet::{Direction, FirstPacket, Volume};

/// The counters of one flow, in the map. They only grow.
#[derive(Clone, Copy)]
pub struct Counters(*mut DnsCounters);

impl Counters {
    /// Those of a flow, which is inserted when it is new; those of [`FlowKey::other`] when the map is full.
    #[inline(always)]
    pub fn of(flow: &FlowKey) -> Option<Self> {
        dns_counters(flow, Unseen).map(Self)
    }

    /// The same of a query, which most flows begin with: a new one is announced with its addresses.
    #[inline(always)]
    pub fn of_query(flow: &FlowKey, message: Message, direction: Direction) -> Option<Self> {
        dns_counters(flow, FirstPacket { packet: message.packet, direction }).map(Self)
    }

    /// Those of an existing flow: a response without a query inserts none.
    #[inline(always)]
    pub fn of_known(flow: &FlowKey) -> Option<Self> {
        DNS_FLOWS.get_ptr_mut(flow).map(Self)
    }

    /// Datagrams were sent; none for TCP.
    #[inline(always)]
    pub fn sent(self, datagrams: Volume) {
        if datagrams.count != 0 {
            add(counter!(self, udp.sent), datagrams.count);
            add(counter!(self, udp.sent_bytes), datagrams.bytes);
        }
    }

    /// Datagrams were received; none for TCP.
    #[inline(always)]
    pub fn received(self, datagrams: Volume) {
        if datagrams.count != 0 {
            add(counter!(self, udp.received), datagrams.count);
            add(counter!(self, udp.received_bytes), datagrams.bytes);
        }
    }

    /// A query for records of this type, by its number, was sent or received.
    #[inline(always)]
    pub fn query(self, kind: u16) {
        add_at(counter!(self, queries), QueryType::of(kind) as usize, 1);
    }

    /// A query repeated a pending question.
    #[inline(always)]
    pub fn retried(self) {
        add(counter!(self, retries), 1);
    }

    /// A query was not tracked: the map of pending queries is full.
    #[inline(always)]
    pub fn untracked(self) {
        add(counter!(self, untracked), 1);
    }

    /// Queries timed out.
    #[inline(always)]
    pub fn timed_out(self, queries: u64) {
        add(counter!(self, timeouts), queries);
    }

    /// A response came after the timeout.
    #[inline(always)]
    pub fn late(self) {
        add(counter!(self, late), 1);
    }

    /// A query was answered after this time.
    #[inline(always)]
    pub fn answered(self, response: Response, duration_ns: u64) {
        self.response(response);
        observe(counter!(self, duration), &DNS_BOUNDS_NS, duration_ns);
    }

    /// A response came without a pending query: to one that was not tracked, or to none.
    #[inline(always)]
    pub fn unmatched(self, response: Response) {
        // SAFETY: as for `counter`; both only grow, so reading them needs no lock.
        #[expect(unsafe_code, reason = "map value")]
        let is_to_untracked = unsafe { (*self.0).untracked > (*self.0).untracked_answered };
        if is_to_untracked {
            add(counter!(self, untracked_answered), 1);
            self.response(response);
        } else {
            add(counter!(self, unmatched), 1);
        }
    }

    #[inline(always)]
    fn response(self, response: Response) {
        add_at(counter!(self, responses), response.code() as usize, 1);
        if response.is_truncated() {
            add(counter!(self, truncated), 1);
        }
    }
}
