//! What is usual: of each edge, what it did before, so that it is compared with itself.
//!
//! Old times weigh less and less, and bad ones are learned slowly: what is wrong for long does not become usual within minutes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::CloseReason;
use serde::{Deserialize, Serialize};

use super::identity;
use super::symptoms::{responses, round_trips, unanswered as unanswered_ages};
use crate::aggregate::totals::Totals;
use crate::aggregate::turn::On;
use crate::aggregate::{Edge, Reporter};

/// What an edge did loses half of its weight in this time.
const HALF_LIFE: Duration = Duration::from_mins(5);
/// What happens while something is wrong weighs so much.
const BAD: f64 = 0.05;
/// Who resets always, as health checks that only connect, has done so within this many seconds.
const WITHOUT_RESETS: f64 = 15.0;
/// What is usual has been so for so many times as long as the time that is judged.
const TIMES_AS_LONG: f64 = 3.0;
/// Of connections that ended, one before for more than so many now is hardly any.
const FEW: f64 = 4.0;
/// An edge without traffic is forgotten after this.
const KEPT: Duration = Duration::from_mins(30);
/// Edges that are remembered: as many as the windows have at most.
const MAX_EDGES: usize = 16_384;

/// A sum with the weight of what it is of. Seven digits are enough for what fades, and there are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Weighted {
    sum: f32,
    of: f32,
}

#[expect(clippy::cast_possible_truncation, reason = "to the next f32: it has enough digits")]
impl Weighted {
    fn of(sum: f64, of: f64) -> Self {
        Self { sum: sum as f32, of: of as f32 }
    }

    /// Adds what is new with a weight of its own to what fades by a factor.
    fn add(&mut self, factor: f64, new: Self, weight: f64) {
        let (factor, weight) = (factor as f32, weight as f32);
        self.sum = self.sum * factor + new.sum * weight;
        self.of = self.of * factor + new.of * weight;
    }

    /// `None` below so much of what it is of.
    fn value(self, at_least: f64) -> Option<f64> {
        (f64::from(self.of) >= at_least).then(|| f64::from(self.sum) / f64::from(self.of))
    }
}

/// What an edge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    seconds: f64,
    last: Duration,
    sent: Weighted,
    retransmitted: Weighted,
    failed_connects: Weighted,
    resets_sent: Weighted,
    resets_received: Weighted,
    round_trip: Weighted,
    response: Weighted,
    unanswered: Weighted,
    waited_for_peer: Weighted,
    waited_here: Weighted,
    waited_for_reader: Weighted,
    unread: Weighted,
    received: Weighted,
    dns_time: Weighted,
    dns_failed: Weighted,
}

impl Past {
    /// True where enough is known to compare with: what is bad from the begin on takes ten minutes to be usual.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.seconds >= 30.0
    }

    /// When it last counted anything.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.last
    }

    /// Payload that was acknowledged, in bytes per second.
    #[must_use]
    pub fn sent(&self) -> Option<f64> {
        self.sent.value(5.0)
    }

    /// Share of the segments that were sent again.
    #[must_use]
    pub fn retransmitted(&self) -> Option<f64> {
        self.retransmitted.value(100.0).filter(|_| self.is_known())
    }

    /// Share of the connects that failed, to compare with a time in which so many were tried. Where hardly any were before, those of the first
    /// windows of a fault are not what is usual: `None`.
    #[must_use]
    pub fn failed_connects(&self, tried: u64) -> Option<f64> {
        self.failed_connects.value(3.0_f64.max(tried as f64 * TIMES_AS_LONG)).filter(|_| self.is_known())
    }

    /// Resets by the application for each connection that ended, to compare with a time in which so many ended; 0 where hardly any
    /// ended before.
    #[must_use]
    pub fn resets_sent(&self, ended: u64) -> Option<f64> {
        self.resets(self.resets_sent, 3.0, ended)
    }

    /// Connections that the peer reset, of those that ended, to compare with a time in which so many ended; 0 where hardly any
    /// ended before.
    #[must_use]
    pub fn resets_received(&self, ended: u64) -> Option<f64> {
        self.resets(self.resets_received, 1.0, ended)
    }

    /// A few that ended when it began to be bad are not what is usual.
    fn resets(&self, resets: Weighted, at_least: f64, ended: u64) -> Option<f64> {
        let hardly_any = self.seconds >= WITHOUT_RESETS;
        resets.value(at_least.max(ended as f64 / FEW)).or_else(|| hardly_any.then_some(0.0))
    }

    /// Mean round-trip time in seconds.
    #[must_use]
    pub fn round_trip(&self) -> Option<f64> {
        self.round_trip.value(3.0)
    }

    /// Mean time to an answer in seconds.
    #[must_use]
    pub fn response(&self) -> Option<f64> {
        self.response.value(3.0)
    }

    /// Mean age of requests without an answer in seconds, of those that sweeps found.
    #[must_use]
    pub fn unanswered(&self) -> Option<f64> {
        self.unanswered.value(3.0)
    }

    /// Connections that waited for the application of the peer, on average.
    #[must_use]
    pub fn waited_for_peer(&self) -> Option<f64> {
        self.waited_for_peer.value(30.0)
    }

    /// Connections that waited for the local application, on average.
    #[must_use]
    pub fn waited_here(&self) -> Option<f64> {
        self.waited_here.value(30.0)
    }

    /// Connections that waited for the peer to read, on average.
    #[must_use]
    pub fn waited_for_reader(&self) -> Option<f64> {
        self.waited_for_reader.value(30.0)
    }

    /// Share of the connections' time in which they had data that the local application had not read.
    #[must_use]
    pub fn unread(&self) -> Option<f64> {
        self.unread.value(30.0)
    }

    /// Payload that arrived, in bytes per second.
    #[must_use]
    pub fn received(&self) -> Option<f64> {
        self.received.value(30.0)
    }

    /// Mean time to a DNS answer in seconds.
    #[must_use]
    pub fn dns_time(&self) -> Option<f64> {
        self.dns_time.value(3.0)
    }

    /// Share of the DNS answers that were failures.
    #[must_use]
    pub fn dns_failed(&self) -> Option<f64> {
        self.dns_failed.value(3.0).filter(|_| self.is_known())
    }

    /// What an edge did in one window, which ended now and has so many seconds.
    #[must_use]
    pub fn of(totals: &Totals, seconds: f64, now: Duration) -> Self {
        let (tcp, dns, waits) = (&totals.tcp, &totals.dns, &totals.waits);
        let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
        let waited = |on: On| Weighted::of(waits.waited_us[on as usize] as f64 / 1e6, seconds);
        let mean = |(time, count): (f64, u64)| Weighted::of(time, count as f64);
        let failed = sum(&tcp.connect_failures);
        let resets_received = tcp.closed[CloseReason::ResetReceived as usize] as f64;
        let answers = sum(&dns.responses);
        let harmless = (dns.responses[0] + dns.responses[3]) as f64;
        Self {
            seconds,
            last: now,
            sent: Weighted::of(tcp.sent_bytes as f64, seconds),
            retransmitted: Weighted::of(sum(&tcp.retransmitted_segments), tcp.sent_segments as f64),
            failed_connects: Weighted::of(failed, failed + tcp.opened as f64),
            resets_sent: Weighted::of(sum(&tcp.resets_sent[..2]), tcp.closed() as f64),
            resets_received: Weighted::of(resets_received, tcp.closed() as f64),
            round_trip: mean(round_trips(&tcp.rtt)),
            response: mean(responses(waits)),
            unanswered: mean(unanswered_ages(waits)),
            waited_for_peer: waited(On::PeerApplication),
            waited_here: waited(On::LocalApplication),
            waited_for_reader: waited(On::PeerWindow),
            unread: Weighted::of(
                waits.waited_us[On::LocalReader as usize] as f64 / 1e6,
                sum(&waits.waited_us) / 1e6,
            ),
            received: Weighted::of(tcp.received_bytes as f64, seconds),
            dns_time: Weighted::of(dns.duration.sum as f64 / 1e9, sum(&dns.duration.buckets)),
            dns_failed: Weighted::of(answers - harmless, answers),
        }
    }

    /// Adds what the edge did in a window after all of this.
    fn learn(&mut self, mut window: Self, is_bad: bool) {
        let weight = if is_bad { BAD } else { 1.0 };
        let elapsed = window.last.saturating_sub(self.last).as_secs_f64();
        let factor = 0.5_f64.powf(elapsed / HALF_LIFE.as_secs_f64());
        for (known, new) in self.values().into_iter().zip(window.values()) {
            known.add(factor, *new, weight);
        }
        self.seconds = self.seconds * factor + window.seconds * weight;
        self.last = window.last;
    }

    fn values(&mut self) -> [&mut Weighted; 15] {
        let Self {
            seconds: _,
            last: _,
            sent,
            retransmitted,
            failed_connects,
            resets_sent,
            resets_received,
            round_trip,
            response,
            unanswered,
            waited_for_peer,
            waited_here,
            waited_for_reader,
            unread,
            received,
            dns_time,
            dns_failed,
        } = self;
        [
            sent,
            retransmitted,
            failed_connects,
            resets_sent,
            resets_received,
            round_trip,
            response,
            unanswered,
            waited_for_peer,
            waited_here,
            waited_for_reader,
            unread,
            received,
            dns_time,
            dns_failed,
        ]
    }
}

/// The past of all edges, by their identity: an edge that ends and begins again has none at first.
#[derive(Clone, Debug, Default)]
pub struct Pasts {
    edges: HashMap<usize, (Arc<Edge>, Past)>,
}

impl Pasts {
    /// What is known of an edge.
    #[must_use]
    pub fn of(&self, edge: &Arc<Edge>) -> Past {
        self.edges.get(&identity(edge)).map(|(_, past)| *past).unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<Edge>, &Past)> {
        self.edges.values().map(|(edge, past)| (edge, past))
    }

    /// What [`Self::all`] had.
    pub fn of_all(all: impl Iterator<Item = (Arc<Edge>, Past)>) -> Self {
        Self { edges: all.map(|(edge, past)| (identity(&edge), (edge, past))).collect() }
    }

    /// The pairs whose DNS server is on this node and has answered them.
    pub fn served(&self) -> impl Iterator<Item = &Edge> {
        let served = self
            .edges
            .values()
            .filter(|(edge, past)| edge.reporter == Reporter::Destination && past.dns_time.of > 0.0);
        served.map(|(edge, _)| &**edge)
    }

    /// Takes what edges did in the window that has ended now; something is wrong with the bad ones.
    pub fn learn(&mut self, windows: Vec<(Arc<Edge>, Past)>, now: Duration, bad: &HashSet<usize>) {
        for (edge, window) in windows {
            let id = identity(&edge);
            let is_full = self.edges.len() >= MAX_EDGES;
            match self.edges.entry(id) {
                Entry::Occupied(mut known) => known.get_mut().1.learn(window, bad.contains(&id)),
                Entry::Vacant(_) if is_full => {}
                Entry::Vacant(new) => {
                    let mut past = Past { last: now, ..Past::default() };
                    past.learn(window, bad.contains(&id));
                    new.insert((edge, past));
                }
            }
        }
        self.edges.retain(|_, (_, past)| now.saturating_sub(past.last) < KEPT);
    }
}
