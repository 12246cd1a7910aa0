//! The totals of one flow of DNS.

use netcause_common::dns::{DnsCounters, QueryType, ResponseCode, answer_bucket};
use netcause_common::flow::FlowKey;

use super::{Carried, Head};
use crate::flow::{add_at, counter, dns_counters};
use crate::maps::{DNS_FLOWS, add};

/// The counters of one flow, in the table: adding is all that can be done to them.
#[derive(Clone, Copy)]
pub struct Counters(*mut DnsCounters);

impl Counters {
    /// Of a flow, made when it is new; of those that found no room when the table is full.
    #[inline(always)]
    pub fn of(flow: &FlowKey) -> Option<Self> {
        dns_counters(flow).map(Self)
    }

    /// Of a flow that there is already: what nobody asked for makes no entry.
    #[inline(always)]
    pub fn of_known(flow: &FlowKey) -> Option<Self> {
        DNS_FLOWS.get_ptr_mut(flow).map(Self)
    }

    /// Datagrams, none for TCP.
    #[inline(always)]
    pub fn sent(self, datagrams: Carried) {
        if datagrams.count != 0 {
            add(counter!(self, udp.sent), datagrams.count);
            add(counter!(self, udp.sent_bytes), datagrams.bytes);
        }
    }

    /// The same the other way.
    #[inline(always)]
    pub fn received(self, datagrams: Carried) {
        if datagrams.count != 0 {
            add(counter!(self, udp.received), datagrams.count);
            add(counter!(self, udp.received_bytes), datagrams.bytes);
        }
    }

    /// A query was sent, or came.
    #[inline(always)]
    pub fn query(self, kind: QueryType) {
        add_at(counter!(self, queries), kind as usize, 1);
    }

    /// It was a repetition.
    #[inline(always)]
    pub fn retried(self) {
        add(counter!(self, retries), 1);
    }

    /// It found no room to wait for its answer.
    #[inline(always)]
    pub fn untracked(self) {
        add(counter!(self, untracked), 1);
    }

    /// Queries were not answered in time.
    #[inline(always)]
    pub fn timed_out(self, queries: u64) {
        add(counter!(self, timeouts), queries);
    }

    /// One of those was answered.
    #[inline(always)]
    pub fn late(self) {
        add(counter!(self, late), 1);
    }

    /// A query was answered after this long.
    #[inline(always)]
    pub fn answered(self, head: Head, duration_ns: u64) {
        self.response(head);
        add_at(counter!(self, duration.buckets), answer_bucket(duration_ns), 1);
        add(counter!(self, duration.sum_ns), duration_ns);
    }

    /// An answer came to nothing that waits: to a query that found no room to, or to none.
    #[inline(always)]
    pub fn unmatched(self, head: Head) {
        // SAFETY: as for `counter`; the two only grow, so that a look at them needs no lock.
        #[expect(unsafe_code, reason = "map value")]
        let waits = unsafe { (*self.0).untracked > (*self.0).untracked_answered };
        if waits {
            add(counter!(self, untracked_answered), 1);
            self.response(head);
        } else {
            add(counter!(self, unmatched), 1);
        }
    }

    #[inline(always)]
    fn response(self, head: Head) {
        add_at(counter!(self, responses), ResponseCode::of(head.rcode()) as usize, 1);
        if head.is_truncated() {
            add(counter!(self, truncated), 1);
        }
    }
}
