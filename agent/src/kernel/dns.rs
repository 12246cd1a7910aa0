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
    Asked, LastQuestion, PROTOCOL_DNS, QueryKey, Served, question_hash, question_tag,
};
use netcause_common::flow::FlowKey;
use netcause_common::limits;

use netcause_core::aggregate::dns::timeout::Timeouts;

use super::flows::Flows;
use super::maps::{Fullness, take};
use super::options::Options;

/// DNS queries that have timed out, all from one entry of the map.
pub struct TimedOut<'a> {
    /// The query, as the client or the server saw it.
    pub key: QueryKey,
    /// The flow that counts it; the `other` flow if the map of flows was full.
    pub flow: FlowKey,
    /// Number of queries: retries share an entry.
    pub queries: u64,
    /// The start of the DNS message; empty if it was overwritten, and at a server.
    pub message: &'a [u8],
}

/// The maps of pending DNS queries.
pub(super) struct Dns {
    queries: Table<MapData, QueryKey, Asked>,
    served: Table<MapData, QueryKey, Served>,
    late: Table<MapData, QueryKey, Served>,
    questions: Array<MapData, LastQuestion>,
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
            timeouts: Timeouts::after(options.dns_timeout),
            max_queries: options.max_dns_queries.into(),
            waiting: 0,
            serving: 0,
        })
    }

    /// Removes the queries that have timed out and calls `timed_out` with each.
    pub(super) fn expire(&mut self, flows: &Flows, mut timed_out: impl FnMut(TimedOut<'_>)) -> Result<()> {
        let flow_of = |key: &QueryKey| {
            let flow = key.flow();
            if flows.has_dns(&flow) { flow } else { FlowKey::other(PROTOCOL_DNS, flow.role) }
        };
        let now = super::monotonic();
        let (waiting, due) =
            overdue(&self.queries, self.max_queries, |asked| self.timeouts.is_over(asked, now))?;
        self.waiting = waiting;
        for (key, asked) in due {
            self.remove_late(now);
            let late = Served { since_ns: asked.since_ns, unanswered: asked.unanswered };
            // Inserted into the map of late queries before it is removed from this one, so that an answer in between finds it
            // in either. If that map is full, the answer will be counted as unmatched.
            let is_late = asked.unanswered != 0 && self.late.insert(key, late, 0).is_ok();
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
                let question = self.question(&key, asked.question);
                let message = question.as_ref().map_or(&[][..], |last| kept(last));
                timed_out(TimedOut { key, flow: flow_of(&key), queries: asked.unanswered, message });
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
                    let (flow, queries) = (flow_of(&key), served.unanswered);
                    timed_out(TimedOut { key, flow, queries, message: &[] });
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

    /// The message of a query, unless another query overwrote its slot, or two CPUs wrote to it concurrently.
    fn question(&self, key: &QueryKey, hash: u64) -> Option<LastQuestion> {
        let tag = question_tag(key.local, hash);
        let slot = u32::try_from(tag % u64::from(limits::DNS_QUESTIONS)).ok()?;
        let last = self.questions.get(&slot, 0).ok()?;
        (last.tag == tag && question_hash(kept(&last)) == Some(hash)).then_some(last)
    }
}

fn kept(last: &LastQuestion) -> &[u8] {
    last.message.get(..last.length.into()).unwrap_or_default()
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
