//! Pending DNS queries: expires those that have timed out.
//!
//! Whoever removes a query from the map counts it: the eBPF program that sees the answer, or the daemon after the timeout.
//! So each is counted once, as answered or as timed out.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap as Table, MapData, MapError};
use aya::{Ebpf, Pod};
use netcause_common::dns::{
    Asked, ClosedSocket, LastQuestion, PROTOCOL_DNS, QueryKey, Served, question_hash, question_tag,
};
use netcause_common::flow::FlowKey;
use netcause_common::limits;

use netcause_core::aggregate::dns::timeout::Timeouts;
use netcause_core::ingest::DnsUnanswered;

use super::flows::Flows;
use super::maps::{Fullness, take};
use super::options::Options;

/// The maps of pending DNS queries.
pub(super) struct Dns {
    queries: Table<MapData, QueryKey, Asked>,
    served: Table<MapData, QueryKey, Served>,
    late: Table<MapData, QueryKey, Served>,
    questions: Array<MapData, LastQuestion>,
    closed: Array<MapData, ClosedSocket>,
    timeouts: Timeouts,
    max_queries: u64,
    waiting: u64,
    serving: u64,
}

impl Dns {
    pub(super) fn take(ebpf: &mut Ebpf, options: &Options) -> Result<Self> {
        Ok(Self {
            queries: take(ebpf, "DNS_QUERIES")?.try_into()?,
            served: take(ebpf, "DNS_SERVED")?.try_into()?,
            late: take(ebpf, "DNS_LATE")?.try_into()?,
            questions: take(ebpf, "DNS_QUESTIONS")?.try_into()?,
            closed: take(ebpf, "DNS_CLOSED")?.try_into()?,
            timeouts: Timeouts::after(options.dns_timeout),
            max_queries: options.max_dns_queries.into(),
            waiting: 0,
            serving: 0,
        })
    }

    /// Removes the queries that have timed out and calls `to` with each.
    pub(super) fn expire(&mut self, flows: &Flows, mut to: impl FnMut(DnsUnanswered<'_>)) -> Result<()> {
        let flow_of = |key: &QueryKey| {
            let flow = key.flow();
            let counted = [flow, flow.others_of()].into_iter().find(|flow| flows.has_dns(flow));
            counted.unwrap_or_else(|| FlowKey::other(PROTOCOL_DNS, flow.role))
        };
        let now = super::monotonic();
        let (waiting, due) =
            overdue(&self.queries, self.max_queries, |asked| self.timeouts.is_over(asked, now))?;
        self.waiting = waiting;
        for (key, asked) in due {
            self.remove_late(now);
            let closed = self.closed_socket(&asked);
            let is_abandoned = closed.is_some_and(|closed| Timeouts::is_abandoned(&asked, &closed));
            let is_refused = closed.is_some_and(|closed| Timeouts::is_refused(&asked, &closed));
            let late = Served {
                since_ns: asked.since_ns,
                unanswered: asked.unanswered,
                length: asked.length.into(),
            };
            // Inserted into the map of late queries before it is removed from this one, so that an answer in between finds it
            // in either. If that map is full, the answer will be counted as unmatched.
            let is_late = asked.unanswered != 0 && !is_abandoned && self.late.insert(key, late, 0).is_ok();
            if self.queries.remove(&key).is_err() {
                if is_late {
                    let _ = self.late.remove(&key);
                }
                continue;
            }
            self.waiting = self.waiting.saturating_sub(1);
            if is_late {
                self.timeouts.moved(key, now);
            }
            if asked.unanswered != 0 {
                let message = self.query(key.local, asked.question);
                let (flow, queries) = (flow_of(&key), asked.unanswered.into());
                to(DnsUnanswered { key, flow, queries, is_abandoned, is_refused, message: &message });
            }
        }
        let (serving, due) = overdue(&self.served, limits::DNS_SERVED.into(), |served| {
            Timeouts::is_service_over(served, now)
        })?;
        self.serving = serving;
        for (key, served) in due {
            if self.served.remove(&key).is_ok() {
                self.serving = self.serving.saturating_sub(1);
                if served.unanswered != 0 {
                    let (flow, queries) = (flow_of(&key), served.unanswered.into());
                    to(DnsUnanswered {
                        key,
                        flow,
                        queries,
                        is_abandoned: false,
                        is_refused: false,
                        message: &[],
                    });
                }
            }
        }
        self.remove_late(now);
        Ok(())
    }

    /// Entries of the maps when they were last read.
    pub(super) fn fullness(&self) -> [Fullness; 3] {
        [
            Fullness { map: "dns_queries", entries: self.waiting, limit: self.max_queries },
            Fullness {
                map: "dns_late",
                entries: self.late.keys().filter(Result::is_ok).count() as u64,
                limit: limits::DNS_LATE.into(),
            },
            Fullness { map: "dns_served", entries: self.serving, limit: limits::DNS_SERVED.into() },
        ]
    }

    fn remove_late(&mut self, now: Duration) {
        while let Some(key) = self.timeouts.next_to_remove(now) {
            // It may have been answered.
            let _ = self.late.remove(&key);
        }
    }

    /// The start of the message of a query, by the hash of its question; empty when another query overwrote its slot, or two
    /// CPUs wrote to it concurrently.
    pub(super) fn query(&self, local: u64, question: u64) -> Vec<u8> {
        let tag = question_tag(local, question);
        let slot = u32::try_from(tag % u64::from(limits::DNS_QUESTIONS)).unwrap_or_default();
        let Ok(last) = self.questions.get(&slot, 0) else { return Vec::new() };
        let kept = last.message.get(..last.length.into()).unwrap_or_default();
        let is_it = last.tag == tag && question_hash(kept) == Some(question);
        if is_it { kept.to_vec() } else { Vec::new() }
    }

    /// What the slot of the query's socket has.
    fn closed_socket(&self, asked: &Asked) -> Option<ClosedSocket> {
        let slot = u32::try_from(asked.socket % u64::from(limits::DNS_CLOSED)).unwrap_or_default();
        self.closed.get(&slot, 0).ok()
    }
}

/// Counts the entries of a map and returns those that are due.
///
/// Iteration restarts at the first entry when the current one is removed meanwhile (`bpf_map_get_next_key`), so it stops
/// after twice the capacity of the map; the rest is read the next time.
fn overdue<V: Pod>(
    table: &Table<MapData, QueryKey, V>,
    limit: u64,
    is_due: impl Fn(&V) -> bool,
) -> Result<(u64, HashMap<QueryKey, V>)> {
    let (mut entries, mut due) = (0, HashMap::new());
    for entry in table.iter() {
        match entry {
            Ok((key, value)) => {
                entries += 1;
                if is_due(&value) {
                    due.insert(key, value);
                }
            }
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error).context("cannot read the map of DNS queries"),
        }
        if entries >= limit * 2 {
            break;
        }
    }
    Ok((entries.min(limit), due))
}
