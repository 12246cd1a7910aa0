//! Arithmetic on counters.
//!
//! It wraps: counts are added and subtracted in any order, and intermediate results may lie below zero. The end results
//! never do, and 2^64 of anything is out of reach.

use std::mem::offset_of;
use std::slice;

use bytemuck::{Pod, Zeroable};
use netcause_common::dns::{Datagrams, DnsCounters, ResponseCode};
use netcause_common::flow::{TcpCounters, UdpCounters};

use super::turn::Waits;

/// A failure weighs as much as this many segments: an edge that fails keeps its series beside larger ones that do not.
const FAILURE: u64 = 1000;

/// All that is counted of an edge.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Totals {
    /// Of its TCP flows.
    pub tcp: TcpCounters,
    /// Of its UDP flows.
    pub udp: UdpCounters,
    /// Of its DNS.
    pub dns: DnsCounters,
    /// What its open TCP connections wait for.
    pub waits: Waits,
}

impl Totals {
    /// Nothing counted.
    pub const ZERO: Self =
        Self { tcp: TcpCounters::ZERO, udp: UdpCounters::ZERO, dns: DnsCounters::ZERO, waits: Waits::ZERO };

    /// How much an edge with these totals matters when not all can have series. Linear: the weight of a sum is the sum of the
    /// weights.
    #[must_use]
    pub fn weight(&self) -> u64 {
        // Datagrams of DNS are part of `udp`; they weigh as queries.
        let udp = UdpCounters {
            sent_datagrams: self.udp.sent_datagrams.saturating_sub(self.dns.udp.sent),
            received_datagrams: self.udp.received_datagrams.saturating_sub(self.dns.udp.received),
            ..self.udp
        };
        [self.tcp.weight(), udp.weight(), self.dns.weight()].into_iter().fold(0, u64::saturating_add)
    }

    /// Adds each counter.
    pub fn add(&mut self, other: &Self) {
        add(self, other);
    }

    /// The histograms alone. They make most of an edge's series, and are what it can do without first.
    #[must_use]
    pub fn histograms(&self) -> Self {
        let TcpCounters { connect_duration, rtt, min_rtt, .. } = self.tcp;
        let tcp = TcpCounters { connect_duration, rtt, min_rtt, ..TcpCounters::ZERO };
        let dns = DnsCounters { duration: self.dns.duration, ..DnsCounters::ZERO };
        let Waits { responses, unacknowledged, unanswered, queueing, .. } = self.waits;
        let waits = Waits { responses, unacknowledged, unanswered, queueing, ..Waits::ZERO };
        Self { tcp, udp: UdpCounters::ZERO, dns, waits }
    }

    /// All but the histograms.
    #[must_use]
    pub fn plain(&self) -> Self {
        let TcpCounters { connect_duration, rtt, min_rtt, .. } = TcpCounters::ZERO;
        let dns = DnsCounters { duration: DnsCounters::ZERO.duration, ..self.dns };
        let Waits { responses, unacknowledged, unanswered, queueing, .. } = Waits::ZERO;
        let waits = Waits { responses, unacknowledged, unanswered, queueing, ..self.waits };
        Self { tcp: TcpCounters { connect_duration, rtt, min_rtt, ..self.tcp }, udp: self.udp, dns, waits }
    }

    /// What brings these totals back to zero when it is added.
    #[must_use]
    pub fn negative(&self) -> Self {
        negative(*self)
    }
}

/// What a table of the kernel counts of one flow.
pub trait Counters: Pod {
    /// The word that goes up and down, if there is one; all others only grow.
    const GAUGE: Option<usize> = None;

    /// Adds them to their part of the totals.
    fn add_to(&self, totals: &mut Totals);

    /// How much they matter when not everything can be shown; linear, so that the weight of a sum is the sum of weights.
    fn weight(&self) -> u64;
}

impl Counters for TcpCounters {
    const GAUGE: Option<usize> = Some(offset_of!(Self, open) / size_of::<u64>());

    fn add_to(&self, totals: &mut Totals) {
        add(&mut totals.tcp, self);
    }

    fn weight(&self) -> u64 {
        let traffic = [self.opened, self.sent_segments, self.received_segments];
        let failures = self.connect_failures.iter().chain(&self.retransmitted_segments).chain(&self.resets);
        weight(&traffic, failures)
    }
}

impl Counters for UdpCounters {
    fn add_to(&self, totals: &mut Totals) {
        add(&mut totals.udp, self);
    }

    fn weight(&self) -> u64 {
        weight(
            &[self.sent_datagrams, self.received_datagrams],
            [&self.receive_drops].into_iter().chain(&self.icmp_errors),
        )
    }
}

impl Counters for DnsCounters {
    fn add_to(&self, totals: &mut Totals) {
        add(&mut totals.dns, self);
        // Datagrams of DNS are counted here alone.
        let Datagrams { sent, sent_bytes, received, received_bytes } = self.udp;
        let udp = UdpCounters {
            sent_datagrams: sent,
            sent_bytes,
            received_datagrams: received,
            received_bytes,
            ..UdpCounters::ZERO
        };
        add(&mut totals.udp, &udp);
    }

    fn weight(&self) -> u64 {
        // NXDOMAIN is no failure of the server.
        let harmless = [ResponseCode::NoError as usize, ResponseCode::NxDomain as usize];
        let failed = self.responses.iter().enumerate().filter(|(code, _)| !harmless.contains(code));
        let failures = failed.map(|(_, count)| count).chain([&self.timeouts, &self.retries]);
        weight(&self.queries, failures)
    }
}

fn weight<'a>(traffic: &[u64], failures: impl IntoIterator<Item = &'a u64>) -> u64 {
    let sum = |sum: u64, count: &u64| sum.saturating_add(*count);
    traffic.iter().fold(failures.into_iter().fold(0, sum).saturating_mul(FAILURE), sum)
}

/// The counters as 64-bit words.
pub(super) fn words<T: Pod>(counters: &T) -> &[u64] {
    bytemuck::cast_slice(slice::from_ref(counters))
}

/// The counters as 64-bit words, to change them.
pub(crate) fn words_mut<T: Pod>(counters: &mut T) -> &mut [u64] {
    bytemuck::cast_slice_mut(slice::from_mut(counters))
}

/// What brings the counters back to zero when it is added.
pub(super) fn negative<T: Pod>(mut counters: T) -> T {
    for word in words_mut(&mut counters) {
        *word = word.wrapping_neg();
    }
    counters
}

/// Adds each counter, wrapping.
pub fn add<T: Pod>(to: &mut T, from: &T) {
    for (to, from) in words_mut(to).iter_mut().zip(words(from)) {
        *to = to.wrapping_add(*from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_added_and_taken_away() {
        let count: Vec<u64> = (1..=size_of::<Totals>() as u64 / 8).collect();
        let once: Totals = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&count));
        let mut twice = once;
        twice.add(&once);
        assert!(words(&twice).iter().zip(&count).all(|(twice, once)| *twice == 2 * once));
        twice.add(&once.negative());
        assert_eq!(twice, once);
        let mut parts = Totals::ZERO;
        once.tcp.add_to(&mut parts);
        once.udp.add_to(&mut parts);
        let dns = DnsCounters { udp: Zeroable::zeroed(), ..once.dns };
        dns.add_to(&mut parts);
        parts.dns.udp = once.dns.udp;
        parts.waits = once.waits;
        assert_eq!(parts, once);
        // Datagrams of DNS are datagrams.
        parts = Totals::ZERO;
        once.dns.add_to(&mut parts);
        assert_eq!(parts.udp.sent_datagrams, once.dns.udp.sent);
        assert_eq!(parts.udp.received_bytes, once.dns.udp.received_bytes);
    }

    #[test]
    fn a_failure_outweighs_much_traffic() {
        let traffic =
            TcpCounters { sent_segments: 500, received_segments: 400, opened: 9, ..TcpCounters::ZERO };
        let mut failure = TcpCounters::ZERO;
        failure.resets[1] = 1;
        assert_eq!((traffic.weight(), failure.weight()), (909, 1000));
        let drops = UdpCounters { receive_drops: 2, sent_datagrams: 1, ..UdpCounters::ZERO };
        assert_eq!(drops.weight(), 2001);
        let endless = UdpCounters { receive_drops: u64::MAX, ..UdpCounters::ZERO };
        assert_eq!(endless.weight(), u64::MAX);
    }
}
