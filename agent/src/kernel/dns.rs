//! DNS as the kernel side has it: totals, and the queries that wait for their answer.
//!
//! A query in the table belongs to whoever removes it: to the program that sees the answer, or to the daemon when the
//! resolver's patience is over. So each is counted once, as answered or as timed out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Pod;
use aya::maps::{Array, HashMap as Table, MapData, MapError};
use netcause_common::dns::{
    Asked, DnsCounters, LastQuestion, PROTOCOL_DNS, QueryKey, Served, question_hash, question_tag,
};
use netcause_common::flow::FlowKey;
use netcause_common::limits;

use super::load::Loaded;
use super::options::Options;
use super::tables::{Flows, Fullness, take};

/// An answer is still told from one that nobody asked for when it comes so long after the timeout.
const LATEST: Duration = Duration::from_secs(60);
/// Late queries that are to be forgotten, answered ones included.
const MAX_FORGET: usize = 4 * limits::DNS_LATE as usize;
/// A server here that has not answered by then will not.
const SERVICE_PATIENCE: Duration = Duration::from_secs(30);

/// The tables of DNS.
pub(super) struct Dns {
    flows: Flows<DnsCounters>,
    queries: Table<MapData, QueryKey, Asked>,
    served: Table<MapData, QueryKey, Served>,
    late: Table<MapData, QueryKey, Served>,
    questions: Array<MapData, LastQuestion>,
    /// What is in `late`, by when it is to be removed; in that order.
    forget_late: VecDeque<(Duration, QueryKey)>,
    /// Timeouts that were counted here, which the kernel's table does not have.
    timeouts: HashMap<FlowKey, u64>,
    patience: Duration,
    limits: Limits,
    waiting: u64,
    serving: u64,
}

struct Limits {
    flows: u64,
    queries: u64,
}

impl Dns {
    pub(super) fn take(loaded: &mut Loaded, options: &Options) -> Result<Self> {
        Ok(Self {
            flows: Flows::take(loaded, "DNS_FLOWS")?,
            queries: take(loaded, "DNS_QUERIES")?.try_into()?,
            served: take(loaded, "DNS_SERVED")?.try_into()?,
            late: take(loaded, "DNS_LATE")?.try_into()?,
            questions: take(loaded, "DNS_QUESTIONS")?.try_into()?,
            forget_late: VecDeque::new(),
            timeouts: HashMap::new(),
            patience: options.dns_patience,
            limits: Limits { flows: options.max_dns_flows.into(), queries: options.max_dns_queries.into() },
            waiting: 0,
            serving: 0,
        })
    }

    /// Ends the waiting of queries whose time is over, and passes on each client's, with the message's beginning if it
    /// is known.
    pub(super) fn expire(&mut self, mut timed_out: impl FnMut(&QueryKey, &[u8])) -> Result<()> {
        let now = monotonic();
        let (waiting, due) = overdue(&self.queries, self.limits.queries, |asked| {
            asked.unanswered == 0 || older(asked.last_ns, now, self.patience)
        })?;
        self.waiting = waiting;
        for (key, asked) in due {
            self.forget_late_before(now);
            let late = Served { since_ns: asked.since_ns, unanswered: asked.unanswered };
            // First there, then gone here: an answer that comes in between finds it in one of the two. A table that
            // is full makes its answer one that nobody asked for.
            let is_late = asked.unanswered != 0 && self.late.insert(key, late, 0).is_ok();
            if self.queries.remove(&key).is_err() {
                if is_late {
                    let _ = self.late.remove(&key);
                }
                continue;
            }
            self.waiting = self.waiting.saturating_sub(1);
            if is_late {
                self.forget_late.push_back((now + LATEST, key));
                self.forget_late_beyond(MAX_FORGET);
            }
            if asked.unanswered != 0 {
                self.count_timeouts(&key, asked.unanswered);
                let question = self.question(&key, asked.question);
                timed_out(&key, question.as_ref().map_or(&[], |last| kept(last)));
            }
        }
        let (serving, due) = overdue(&self.served, limits::DNS_SERVED.into(), |served| {
            served.unanswered == 0 || older(served.since_ns, now, SERVICE_PATIENCE)
        })?;
        self.serving = serving;
        for (key, served) in due {
            if self.served.remove(&key).is_ok() {
                self.serving = self.serving.saturating_sub(1);
                self.count_timeouts(&key, served.unanswered);
            }
        }
        self.forget_late_before(now);
        Ok(())
    }

    /// What a query asked, unless another question took its slot, or two CPUs wrote there at once.
    fn question(&self, key: &QueryKey, hash: u64) -> Option<LastQuestion> {
        let tag = question_tag(key.local, hash);
        let slot = u32::try_from(tag % u64::from(limits::DNS_QUESTIONS)).ok()?;
        let last = self.questions.get(&slot, 0).ok()?;
        (last.tag == tag && question_hash(kept(&last)) == Some(hash)).then_some(last)
    }

    fn count_timeouts(&mut self, key: &QueryKey, queries: u64) {
        let mut flow = key.flow();
        if !self.flows.has(&flow) {
            flow = FlowKey::other(PROTOCOL_DNS, flow.role);
        }
        *self.timeouts.entry(flow).or_default() += queries;
    }

    /// Forgets the oldest: those that were answered stand here too, so that there may be more than the table holds.
    fn forget_late_beyond(&mut self, most: usize) {
        while self.forget_late.len() > most
            && let Some((_, key)) = self.forget_late.pop_front()
        {
            let _ = self.late.remove(&key);
        }
    }

    fn forget_late_before(&mut self, now: Duration) {
        while let Some((_, key)) = self.forget_late.pop_front_if(|(until, _)| *until <= now) {
            // It may have been answered.
            let _ = self.late.remove(&key);
        }
    }

    /// Passes all flows on; one may come twice, with a part each.
    pub(super) fn flows(&self, mut to: impl FnMut(&FlowKey, &DnsCounters)) -> Result<[Fullness; 5]> {
        let mut counted_here = self.timeouts.clone();
        let (entries, spare) = self.flows.read(|key, counters| {
            let timeouts = counted_here.remove(key).unwrap_or_default();
            to(key, &with_timeouts(*counters, timeouts));
        })?;
        Ok([
            Fullness { map: "dns_flows", entries, limit: self.limits.flows },
            Fullness { map: "dns_flows_spare", entries: spare, limit: limits::SPARE_DNS_FLOWS.into() },
            Fullness { map: "dns_queries", entries: self.waiting, limit: self.limits.queries },
            Fullness {
                map: "dns_late",
                entries: self.late.keys().filter(Result::is_ok).count() as u64,
                limit: limits::DNS_LATE.into(),
            },
            Fullness { map: "dns_served", entries: self.serving, limit: limits::DNS_SERVED.into() },
        ])
    }

    /// Removes a flow if `agrees` to what it has counted by now; returns that.
    pub(super) fn remove(
        &mut self,
        key: &FlowKey,
        agrees: impl FnOnce(&DnsCounters) -> bool,
    ) -> Option<DnsCounters> {
        let timeouts = self.timeouts.get(key).copied().unwrap_or_default();
        let counters = self.flows.remove(key, |counters| agrees(&with_timeouts(*counters, timeouts)))?;
        self.timeouts.remove(key);
        Some(with_timeouts(counters, timeouts))
    }
}

fn kept(last: &LastQuestion) -> &[u8] {
    last.message.get(..last.length.into()).unwrap_or_default()
}

fn with_timeouts(mut counters: DnsCounters, timeouts: u64) -> DnsCounters {
    counters.timeouts = counters.timeouts.saturating_add(timeouts);
    counters
}

fn older(since_ns: u64, now: Duration, than: Duration) -> bool {
    now.saturating_sub(Duration::from_nanos(since_ns)) > than
}

/// How many entries a table has, and those of them that are due.
///
/// Entries come and go meanwhile, and the kernel begins anew when the one that it goes on from is gone: after twice as
/// many as there can be the rest waits for the next time.
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
            Err(error) => return Err(error).context("cannot read the table of DNS queries"),
        }
        if entries >= limit * 2 {
            break;
        }
    }
    Ok((entries.min(limit), due))
}

/// The clock of the programs (`bpf_ktime_get_ns`).
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}
