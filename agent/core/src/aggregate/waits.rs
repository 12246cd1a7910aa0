//! What the connections of each flow wait for, by one sweep after the other.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::flow::{FlowKey, TcpCounters};
use netcause_common::histogram::{Histogram, RTT_BOUNDS_US, RoundTrips, bucket};
use netcause_common::probe::open_sockets::QueueKey;

use super::model::Model;
use super::totals::Totals;
use super::turn::{Habit, On, WAIT_BOUNDS_MS, WaitTimes, overdue, response, turn, unanswered};
use crate::enrich::Names;
use crate::ingest::Connection;

/// Flows that are kept apart, as many as the kernel's table has by default; further ones count for [`FlowKey::other`].
const MAX_FLOWS: usize = 16_384;

/// What flows wait for.
#[derive(Debug, Default)]
pub struct Waiting {
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

#[derive(Debug, Default)]
struct Found {
    waiting: [u32; On::COUNT],
    responses: Option<Box<WaitTimes>>,
    unacknowledged: Option<Box<WaitTimes>>,
    unanswered: Option<Box<WaitTimes>>,
    used: [u32; 2],
    queueing: Option<Box<RoundTrips>>,
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

impl Waiting {
    /// Notes when the agent began, at the first call.
    pub fn begin(&mut self, now: Duration) {
        self.swept.get_or_insert(now);
    }

    /// Takes what a flow has counted: of connections that end between two sweeps this is all there is.
    pub fn count(&mut self, flow: &FlowKey, counted: &TcpCounters) {
        if (counted.sent_bytes != 0 || counted.received_bytes != 0)
            && let Some(habit) = habit(&mut self.habits, *flow)
        {
            habit.learn_directions(counted.sent_bytes != 0, counted.received_bytes != 0);
        }
    }

    /// Takes a connection that a sweep has found.
    pub fn see(&mut self, connection: &Connection, now: Duration) {
        let since_sweep = self.since_sweep(now);
        let flow = connection.flow;
        let mut unlearned = Habit::default();
        let habit = habit(&mut self.habits, flow).unwrap_or(&mut unlearned);
        habit.learn(connection);
        let on = turn(connection, habit);
        let response = response(connection, habit, since_sweep);
        let has_room = self.found.len() < MAX_FLOWS || self.found.contains_key(&flow);
        let found = self
            .found
            .entry(if has_room { flow } else { FlowKey::other(flow.protocol, flow.role) })
            .or_default();
        found.waiting[on as usize] += 1;
        found.used[usize::from(connection.has_retransmitted)] += u32::from(connection.was_used);
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
            let has_room = self.unaccepted.len() < MAX_FLOWS || self.unaccepted.contains_key(&listener);
            if has_room {
                // Before it is accepted nobody sends on it, so that this is its age.
                let oldest = self.unaccepted.entry(listener).or_default();
                *oldest = connection.since_sent.max(*oldest);
            }
        }
    }

    /// Ends a sweep and counts what it has found. A flow that the model does not know is one that the kernel's tables have folded
    /// into another.
    pub fn end_sweep(&mut self, now: Duration, model: &mut Model, names: &Names) {
        let since_sweep = u64::try_from(self.since_sweep(now).as_micros()).unwrap_or(u64::MAX);
        self.swept = Some(now);
        self.waiting.clear();
        self.oldest = std::mem::take(&mut self.unaccepted);
        for (flow, found) in std::mem::take(&mut self.found) {
            let other = FlowKey::other(flow.protocol, flow.role);
            let flow = [flow, flow.others_of()].into_iter().find(|flow| model.knows(flow));
            let flow = flow.unwrap_or(other);
            let waiting = self.waiting.entry(flow).or_default();
            let mut more = Totals::ZERO;
            for ((all, waited), more) in waiting.iter_mut().zip(&mut more.waits.waited_us).zip(found.waiting)
            {
                *all += more;
                *waited = since_sweep.wrapping_mul(more.into());
            }
            more.waits.responses = found.responses.map_or(WaitTimes::ZERO, |times| *times);
            more.waits.unacknowledged = found.unacknowledged.map_or(WaitTimes::ZERO, |times| *times);
            more.waits.unanswered = found.unanswered.map_or(WaitTimes::ZERO, |times| *times);
            more.waits.used = found.used.map(u64::from);
            more.waits.queueing = found.queueing.map_or(RoundTrips::ZERO, |delays| *delays);
            model.count(&flow, &more, now, names.is_contested(&flow));
        }
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
fn habit(habits: &mut HashMap<FlowKey, Habit>, flow: FlowKey) -> Option<&mut Habit> {
    let has_room = habits.len() < MAX_FLOWS || habits.contains_key(&flow);
    has_room.then(|| habits.entry(flow).or_default())
}

#[cfg(test)]
mod tests;
