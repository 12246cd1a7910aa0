//! What connections of a flow have carried between two sweeps.
//!
//! [`TcpCounters`] would do, but for its size: there is one of these for each flow with traffic while a sweep goes on.

use std::time::Duration;

use netcause_common::flow::{Counted, LimitedBy, TcpCounters};
use netcause_common::histogram::{RTT_BOUNDS_US, RoundTrips, bucket};

use crate::ingest::Traffic;

/// Sums under the names of [`TcpCounters`].
#[derive(Debug)]
pub(super) struct Carried {
    sent_bytes: u64,
    received_bytes: u64,
    sent_segments: u64,
    received_segments: u64,
    spurious_retransmits: u64,
    reordered_segments: u64,
    reordering_events: u64,
    limited_ticks: [u64; LimitedBy::COUNT],
    rtt: RoundTrips,
    min_rtt: RoundTrips,
}

impl Default for Carried {
    fn default() -> Self {
        Self {
            sent_bytes: 0,
            received_bytes: 0,
            sent_segments: 0,
            received_segments: 0,
            spurious_retransmits: 0,
            reordered_segments: 0,
            reordering_events: 0,
            limited_ticks: [0; LimitedBy::COUNT],
            rtt: RoundTrips::ZERO,
            min_rtt: RoundTrips::ZERO,
        }
    }
}

impl Carried {
    /// Adds what one connection has, whose smoothed round-trip time is zero without a measurement.
    pub(super) fn add(&mut self, traffic: &Traffic, round_trip: Duration) {
        let Counted {
            sent_bytes,
            received_bytes,
            sent_segments,
            received_segments,
            spurious_retransmits,
            reordered_segments,
            reordering_events,
            limited_ticks,
            retransmits: _,
            reserved: _,
        } = traffic.growth;
        self.sent_bytes = self.sent_bytes.wrapping_add(sent_bytes);
        self.received_bytes = self.received_bytes.wrapping_add(received_bytes);
        self.sent_segments += u64::from(sent_segments);
        self.received_segments += u64::from(received_segments);
        self.spurious_retransmits += u64::from(spurious_retransmits);
        self.reordered_segments += u64::from(reordered_segments);
        self.reordering_events += u64::from(reordering_events);
        for (sum, ticks) in self.limited_ticks.iter_mut().zip(limited_ticks) {
            *sum += u64::from(ticks);
        }
        if !round_trip.is_zero() {
            observe(&mut self.rtt, round_trip);
        }
        if let Some(minimum) = traffic.minimum_round_trip {
            observe(&mut self.min_rtt, minimum);
        }
    }

    /// Adds all to counters, which have nothing of it yet.
    pub(super) fn add_to(&self, counters: &mut TcpCounters) {
        counters.sent_bytes = self.sent_bytes;
        counters.received_bytes = self.received_bytes;
        counters.sent_segments = self.sent_segments;
        counters.received_segments = self.received_segments;
        counters.spurious_retransmits = self.spurious_retransmits;
        counters.reordered_segments = self.reordered_segments;
        counters.reordering_events = self.reordering_events;
        counters.limited_ticks = self.limited_ticks;
        counters.rtt = self.rtt;
        counters.min_rtt = self.min_rtt;
    }
}

fn observe(histogram: &mut RoundTrips, time: Duration) {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    histogram.buckets[bucket(&RTT_BOUNDS_US, microseconds)] += 1;
    histogram.sum = histogram.sum.saturating_add(microseconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_in_sweeps_arrives() {
        let growth = Counted {
            sent_bytes: 1 << 40,
            received_bytes: 2,
            sent_segments: 3,
            received_segments: 4,
            spurious_retransmits: 5,
            reordered_segments: 6,
            reordering_events: 20,
            limited_ticks: [7, 8, 9],
            retransmits: 0,
            reserved: 0,
        };
        let mut carried = Carried::default();
        let minimum_round_trip = Some(Duration::from_micros(60));
        carried.add(&Traffic { growth, minimum_round_trip }, Duration::from_micros(130));
        carried.add(&Traffic { growth, minimum_round_trip: None }, Duration::ZERO);
        let mut counters = TcpCounters::ZERO;
        carried.add_to(&mut counters);
        let (rtt, min_rtt) = (counters.rtt, counters.min_rtt);
        let [long, short] = [130, 60].map(|time| bucket(&RTT_BOUNDS_US, time));
        assert_eq!((rtt.buckets[long], rtt.sum, min_rtt.buckets[short], min_rtt.sum), (1, 130, 1, 60));
        assert_eq!(rtt.buckets.iter().chain(&min_rtt.buckets).sum::<u64>(), 2);
        let expected = TcpCounters {
            sent_bytes: 2 << 40,
            received_bytes: 4,
            sent_segments: 6,
            received_segments: 8,
            spurious_retransmits: 10,
            reordered_segments: 12,
            reordering_events: 40,
            limited_ticks: [14, 16, 18],
            rtt,
            min_rtt,
            ..TcpCounters::ZERO
        };
        assert_eq!(counters, expected);
    }
}
