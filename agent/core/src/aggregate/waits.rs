//! What the connections of each flow wait for and have carried, by one sweep after the other.

mod carried;

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::flow::{FlowKey, TcpCounters};
use netcause_common::histogram::{Histogram, RTT_BOUNDS_US, RoundTrips, bucket};
use netcause_common::probe::open_sockets::QueueKey;

use super::totals::Totals;
use super::turn::{Habit, On, WAIT_BOUNDS_MS, WaitTimes, overdue, response, turn, unanswered};
use crate::ingest::Connection;

use self::carried::Carried;

/// Flows that are kept apart unless [`Waiting::new`] says otherwise: as many as the kernel's table has by default.
const MAX_FLOWS: usize = 16_384;

/// What flows wait for.
#[derive(Debug)]
pub struct Waiting {
    /// Flows that are kept apart; further ones count for [`FlowKey::other`].
    max_flows: usize,
    /// Of the sweep that is going on.
    found: HashMap<FlowKey, Found>,
    /// Connections by [`On`] at the last sweep.
    waiting: HashMap<FlowKey, [u32; On::COUNT]>,
    /// For how long the oldest connection of each listener has waited to be accepted, by the sweep that is going on.
    unaccepted: HashMap<QueueKey, Duration>,
    /// The same, by the last one.
    oldest: HashMap<QueueKey, Duration>,
    habits: HashMap<FlowKey, Habit>,
    /// When the last sweep ended; before the first, when the agent began.
    swept: Option<Duration>,
}

/// What a sweep has found.
#[derive(Debug)]
pub struct Ended {
    /// Microseconds since the sweep before it.
    pub since_us: u64,
    /// By flow, some of which the kernel's tables have folded into another.
    pub flows: HashMap<FlowKey, Found>,
}

/// What a sweep has found of a flow's connections.
#[derive(Debug, Default)]
pub struct Found {
    waiting: [u32; On::COUNT],
    responses: Option<Box<WaitTimes>>,
    unacknowledged: Option<Box<WaitTimes>>,
    unanswered: Option<Box<WaitTimes>>,
    used: [u32; 2],
    queueing: Option<Box<RoundTrips>>,
    traffic: Option<Box<Carried>>,
}

/// Adds an observation to a histogram that most flows do not have.
fn observe<const BOUNDS: usize, const BUCKETS: usize>(
    histogram: &mut Option<Box<Histogram<BUCKETS>>>,
    bounds: &[u64; BOUNDS],
    value: u128,
) {
    const { assert!(BUCKETS == BOUNDS + 1) };
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    let histogram = histogram.get_or_insert_with(|| Box::new(Histogram::ZERO));
    histogram.buckets[bucket(bounds, value)] += 1;
    histogram.sum = histogram.sum.saturating_add(value);
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new(MAX_FLOWS)
    }
}

impl Waiting {
    /// With room for so many flows, which should be as many as the kernel's table has.
    #[must_use]
    pub fn new(max_flows: usize) -> Self {
        Self {
            max_flows,
            found: HashMap::new(),
            waiting: HashMap::new(),
            unaccepted: HashMap::new(),
            oldest: HashMap::new(),
            habits: HashMap::new(),
            swept: None,
        }
    }

    /// Notes when the agent began, at the first call.
    pub fn begin(&mut self, now: Duration) {
        self.swept.get_or_insert(now);
    }

    /// Takes what a flow has counted: of connections that end between two sweeps this is all there is.
    pub fn count(&mut self, flow: &FlowKey, counted: &TcpCounters) {
        if (counted.sent_bytes != 0 || counted.received_bytes != 0)
            && let Some(habit) = habit(&mut self.habits, self.max_flows, *flow)
        {
            habit.learn_directions(counted.sent_bytes != 0, counted.received_bytes != 0);
        }
    }

    /// Takes a connection that a sweep has found.
    pub fn see(&mut self, connection: &Connection, now: Duration) {
        let since_sweep = self.since_sweep(now);
        let flow = connection.flow;
        let mut unlearned = Habit::default();
        let habit = habit(&mut self.habits, self.max_flows, flow).unwrap_or(&mut unlearned);
        habit.learn(connection);
        let on = turn(connection, habit);
        let response = response(connection, habit, since_sweep);
        let has_room = self.found.len() < self.max_flows || self.found.contains_key(&flow);
        let found = self
            .found
            .entry(if has_room { flow } else { FlowKey::other(flow.protocol, flow.role) })
            .or_default();
        found.waiting[on as usize] += 1;
        if let Some(traffic) = &connection.traffic {
            found.used[usize::from(connection.has_retransmitted)] += 1;
            found.traffic.get_or_insert_default().add(traffic, connection.round_trip);
        }
        if let Some(queueing) = connection.queueing {
            observe(&mut found.queueing, &RTT_BOUNDS_US, queueing.as_micros());
        }
        if let Some(response) = response {
            observe(&mut found.responses, &WAIT_BOUNDS_MS, response.as_millis());
        }
        if let Some(waited) = overdue(connection) {
            observe(&mut found.unacknowledged, &WAIT_BOUNDS_MS, waited.as_millis());
        }
        if let Some(waited) = unanswered(connection, on) {
            observe(&mut found.unanswered, &WAIT_BOUNDS_MS, waited.as_millis());
        }
        if connection.is_unaccepted {
            let listener = QueueKey { local: flow.local, port: flow.service_port, ..QueueKey::default() };
            let has_room = self.unaccepted.len() < self.max_flows || self.unaccepted.contains_key(&listener);
            if has_room {
                // Before it is accepted nobody sends on it, so that this is its age.
                let oldest = self.unaccepted.entry(listener).or_default();
                *oldest = connection.since_sent.max(*oldest);
            }
        }
    }

    /// Ends a sweep: what it has found of each flow goes to [`Self::take`], under the flow that the kernel's tables count it for.
    pub fn end_sweep(&mut self, now: Duration) -> Ended {
        let since_us = u64::try_from(self.since_sweep(now).as_micros()).unwrap_or(u64::MAX);
        self.swept = Some(now);
        self.waiting.clear();
        self.oldest = std::mem::take(&mut self.unaccepted);
        Ended { since_us, flows: std::mem::take(&mut self.found) }
    }

    /// What is to be counted for a flow, by what the last sweep has found.
    pub fn take(&mut self, flow: FlowKey, found: Found, since_us: u64) -> Totals {
        let waiting = self.waiting.entry(flow).or_default();
        let mut more = Totals::ZERO;
        for ((all, waited), found) in waiting.iter_mut().zip(&mut more.waits.waited_us).zip(found.waiting) {
            *all += found;
            *waited = since_us.wrapping_mul(found.into());
        }
        more.waits.responses = found.responses.map_or(WaitTimes::ZERO, |times| *times);
        more.waits.unacknowledged = found.unacknowledged.map_or(WaitTimes::ZERO, |times| *times);
        more.waits.unanswered = found.unanswered.map_or(WaitTimes::ZERO, |times| *times);
        more.waits.used = found.used.map(u64::from);
        more.waits.queueing = found.queueing.map_or(RoundTrips::ZERO, |delays| *delays);
        if let Some(traffic) = found.traffic {
            traffic.add_to(&mut more.tcp);
        }
        more
    }

    /// Forgets a flow.
    pub fn remove(&mut self, flow: &FlowKey) {
        self.habits.remove(flow);
        self.waiting.remove(flow);
    }

    /// Connections of each flow by [`On`], at the last sweep.
    pub fn flows(&self) -> impl Iterator<Item = (&FlowKey, &[u32; On::COUNT])> {
        self.waiting.iter()
    }

    /// For how long the oldest connection of a listener had waited to be accepted at the last sweep; zero when none waited.
    #[must_use]
    pub fn oldest_unaccepted(&self, listener: &QueueKey) -> Duration {
        self.oldest.get(listener).copied().unwrap_or_default()
    }

    fn since_sweep(&self, now: Duration) -> Duration {
        self.swept.map(|swept| now.saturating_sub(swept)).unwrap_or_default()
    }
}

/// What is known of a flow, if there is room for it.
fn habit(habits: &mut HashMap<FlowKey, Habit>, max_flows: usize, flow: FlowKey) -> Option<&mut Habit> {
    let has_room = habits.len() < max_flows || habits.contains_key(&flow);
    has_room.then(|| habits.entry(flow).or_default())
}

#[cfg(test)]
mod tests;
