//! What rules look at: what an edge has counted in the last seconds, what it did before, and what the rest of the node shows.

use std::sync::Arc;

use netcause_common::drops::DropCause;
use netcause_common::flow::{ConnectFailure, RetransmitKind, TcpCounters};
use netcause_common::histogram::RoundTrips;

use super::around::Around;
use super::cause::{Cause, Confidence};
use super::finding::{Impact, Signal, name, server};
use super::past::Past;
use super::statistics::{mean, share};
use crate::aggregate::totals::Totals;
use crate::aggregate::turn::{On, Waits};
use crate::aggregate::{Edge, Reporter};
use crate::enrich::Workload;

/// Connections that wait for less, in a span, hold nobody up: a second and a half.
const LEAST_WAITED_US: u64 = 1_500_000;

/// An edge to be judged.
pub struct Case<'a> {
    /// Who talks to whom.
    pub edge: &'a Arc<Edge>,
    /// What was counted in the span that is judged.
    pub lately: &'a Totals,
    /// What was counted in the last part of it: whether it goes on.
    pub recent: &'a Totals,
    /// What was counted in the last window alone: whether it goes on at this moment.
    pub now: &'a Totals,
    /// The time of `lately`, in seconds.
    pub seconds: f64,
    /// The time of `recent`, in seconds.
    pub recent_seconds: f64,
    /// What it did before.
    pub past: Past,
    /// What the rest of the node shows.
    pub around: &'a Around,
    /// The causes that were found of it and go on as far as is known: less evidence is enough for them.
    pub active: &'a [(Cause, Confidence)],
}

/// True if anything that a rule begins with was counted: most edges have nothing of it.
#[must_use]
pub fn is_suspect(totals: &Totals) -> bool {
    let Totals { tcp, dns, waits, .. } = totals;
    let is_any = |counts: &[u64]| counts.iter().any(|count| *count > 0);
    let waited = [On::Network, On::PeerWindow, On::LocalReader, On::LocalApplication, On::PeerApplication];
    is_any(&tcp.retransmitted_segments)
        || tcp.reordering_events > 0
        || is_any(&tcp.connect_failures)
        || is_any(&tcp.timeouts)
        || is_any(&tcp.resets)
        || is_any(&tcp.resets_sent)
        || is_any(&tcp.closed[1..])
        || waited.into_iter().any(|on| waits.waited_us[on as usize] >= LEAST_WAITED_US)
        || waits.queueing.sum > 0
        || dns.timeouts > 0
        || dns.truncated > 0
        || failed_answers(totals) > 0
        || dns.duration.sum > 0
}

impl Case<'_> {
    /// True where this node runs the client.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.edge.reporter == Reporter::Source
    }

    /// True if this was found already.
    #[must_use]
    pub fn has(&self, cause: Cause) -> bool {
        self.found(cause).is_some()
    }

    /// How sure it was, if it was found already.
    #[must_use]
    pub fn found(&self, cause: Cause) -> Option<Confidence> {
        self.active.iter().find(|(known, _)| *known == cause).map(|(_, confidence)| *confidence)
    }

    /// True if connections wait for acknowledgements now, though nothing be sent again at this moment: timeouts back off.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.waited_recently(On::Network) >= 0.5
    }

    /// The workload at the other end.
    #[must_use]
    pub fn peer(&self) -> &Workload {
        peer(self.edge)
    }

    /// Segments that have come from the workload at the other end, over all its edges, in the last part of the span.
    #[must_use]
    pub fn received_from_peer(&self) -> u64 {
        self.around.received_from(self.peer())
    }

    /// DNS answers that have come from it to clients here, in the last part of the span: packets pass in both directions, whatever
    /// becomes of TCP.
    #[must_use]
    pub fn answers_from_peer(&self) -> u64 {
        self.around.resolvers.get(self.peer()).map_or(0, |resolver| resolver.answers)
    }

    /// Those answers, if there are any: its path is alive.
    #[must_use]
    pub fn dns_answers(&self) -> Option<Signal> {
        let answers = self.answers_from_peer();
        let says = format!("{answers} DNS answers came from it within {}", time(self.recent_seconds));
        (answers > 0).then(|| Signal::value("dns_responses", answers as f64, "answers", says))
    }

    /// Packets between both ends that this node dropped for this cause in the last part of the span, in either direction.
    #[must_use]
    pub fn dropped_here(&self, cause: DropCause) -> u64 {
        let (one, other) = (&self.edge.source, &self.edge.destination);
        let pairs = [(one, other), (other, one)].map(|(one, other)| (one.clone(), other.clone()));
        let dropped = pairs.iter().filter_map(|pair| self.around.drops.get(pair));
        dropped.map(|counts| counts[cause as usize]).sum()
    }

    /// The same over its other edges.
    #[must_use]
    pub fn received_from_others(&self) -> u64 {
        self.received_from_peer().saturating_sub(self.heard())
    }

    /// Those of this edge among them.
    fn heard(&self) -> u64 {
        if self.around.has_heard(self.edge) { self.recent.tcp.received_segments } else { 0 }
    }

    /// The same, to this local workload alone.
    #[must_use]
    pub fn received_between_others(&self) -> u64 {
        self.around.received_between(self.local(), self.peer()).saturating_sub(self.heard())
    }

    /// The local workload.
    #[must_use]
    pub fn local(&self) -> &Workload {
        local(self.edge)
    }

    /// `source → destination:port`.
    #[must_use]
    pub fn ends(&self) -> String {
        format!("{} → {}", name(&self.edge.source), self.server())
    }

    /// `destination:port`.
    #[must_use]
    pub fn server(&self) -> String {
        server(&self.edge.destination, self.edge.port)
    }

    /// A command that shows the connections of the edge, where they are: on the node, or in the pod's network namespace.
    #[must_use]
    pub fn sockets(&self) -> String {
        match (self.edge.port, self.is_client()) {
            (Some(port), true) => format!("ss -tino 'dport = :{port}'"),
            (Some(port), false) => format!("ss -tino 'sport = :{port}'"),
            (None, _) => "ss -tino".to_owned(),
        }
    }

    /// A command that shows the listening port, on the server's node or in its network namespace.
    #[must_use]
    pub fn listeners(&self) -> String {
        self.edge.port.map_or_else(|| "ss -tln".to_owned(), |port| format!("ss -tlnp 'sport = :{port}'"))
    }

    /// How much it hurts, as far as counters say.
    #[must_use]
    pub fn impact(&self) -> Impact {
        let tcp = &self.lately.tcp;
        let per_second = |count: u64| if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 };
        let stalled = self.waited(On::Network) + self.waited(On::PeerWindow) + self.waited(On::LocalReader);
        Impact {
            failed_connections_per_second: per_second(failed_connects(tcp)),
            stalled_connections: stalled,
            retransmitted_share: share(data_retransmits(tcp), tcp.sent_segments),
            failed_queries_per_second: per_second(failed_queries(self.lately)),
        }
    }

    /// Connections that waited for this, on average.
    #[must_use]
    pub fn waited(&self, on: On) -> f64 {
        waited(&self.lately.waits, on, self.seconds)
    }

    /// The same, in the last part of the span.
    #[must_use]
    pub fn waited_recently(&self, on: On) -> f64 {
        waited(&self.recent.waits, on, self.recent_seconds)
    }

    /// Segments sent again, against all.
    #[must_use]
    pub fn retransmitted(&self) -> Signal {
        let tcp = &self.lately.tcp;
        let (count, sent) = (data_retransmits(tcp), tcp.sent_segments);
        let usual = self.past.retransmitted();
        let before = usual.map_or_else(String::new, |usual| format!("; {} before", percent(usual)));
        let says = format!(
            "{} of the segments were sent again ({count} of {sent}){before}",
            percent(share(count, sent))
        );
        Signal::part("tcp_retransmitted_segments", count, sent, "segments", says).usually(usual)
    }

    /// The path is fine: round trips and retransmissions.
    #[must_use]
    pub fn healthy_path(&self) -> Vec<Signal> {
        let mut signals = vec![self.retransmitted()];
        signals.extend(self.round_trip());
        signals
    }

    /// The mean round-trip time.
    #[must_use]
    pub fn round_trip(&self) -> Option<Signal> {
        let (sum, count) = round_trips(&self.lately.tcp.rtt);
        let rtt = (count > 0).then(|| sum / count as f64)?;
        let usual = self.past.round_trip();
        let before = usual.map_or_else(String::new, |usual| format!("; {} before", time(usual)));
        Some(
            Signal::value(
                "tcp_rtt_seconds",
                rtt,
                "seconds",
                format!("round trips take {}{before}", time(rtt)),
            )
            .usually(usual),
        )
    }
}

/// The workload at the other end.
#[must_use]
pub fn peer(edge: &Edge) -> &Workload {
    match edge.reporter {
        Reporter::Source => &edge.destination,
        Reporter::Destination => &edge.source,
    }
}

/// The workload on this node.
#[must_use]
pub fn local(edge: &Edge) -> &Workload {
    match edge.reporter {
        Reporter::Source => &edge.source,
        Reporter::Destination => &edge.destination,
    }
}

/// Connections that waited for this, on average.
#[must_use]
pub fn waited(waits: &Waits, on: On, seconds: f64) -> f64 {
    if seconds > 0.0 { waits.waited_us[on as usize] as f64 / 1e6 / seconds } else { 0.0 }
}

/// True if anything gets on: data in either direction, or an answer to a connect. A peer that hears nothing repeats itself: its segments
/// arrive, and are no answers.
#[must_use]
pub fn gets_on(tcp: &TcpCounters) -> bool {
    tcp.opened + tcp.received_bytes + tcp.sent_bytes + rejected_connects(tcp) > 0
}

/// Connects that got an answer, and one that is no connection: a reset, or ICMP.
#[must_use]
pub fn rejected_connects(tcp: &TcpCounters) -> u64 {
    let reasons = [ConnectFailure::Refused, ConnectFailure::Denied, ConnectFailure::Unreachable];
    reasons.iter().map(|reason| tcp.connect_failures[*reason as usize]).sum()
}

/// Segments sent again but for handshakes.
#[must_use]
pub fn data_retransmits(tcp: &TcpCounters) -> u64 {
    let handshakes =
        [RetransmitKind::Syn, RetransmitKind::SynAck].map(|kind| tcp.retransmitted_segments[kind as usize]);
    tcp.retransmitted_segments.iter().sum::<u64>().saturating_sub(handshakes.iter().sum())
}

/// Connects that failed, without those that the application gave up before anything was amiss.
#[must_use]
pub fn failed_connects(tcp: &TcpCounters) -> u64 {
    tcp.connect_failures.iter().sum::<u64>() - tcp.connect_failures[ConnectFailure::Aborted as usize]
}

/// DNS queries without an answer, or with one that is a failure.
#[must_use]
pub fn failed_queries(totals: &Totals) -> u64 {
    totals.dns.timeouts + failed_answers(totals)
}

/// DNS answers that are failures: not NXDOMAIN, which is an answer.
#[must_use]
pub fn failed_answers(totals: &Totals) -> u64 {
    let responses = &totals.dns.responses;
    responses.iter().sum::<u64>() - responses[0] - responses[3]
}

/// Round-trip times: their sum in seconds, and how many.
#[must_use]
pub fn round_trips(rtt: &RoundTrips) -> (f64, u64) {
    (rtt.sum as f64 / 1e6, rtt.buckets.iter().sum())
}

/// Times to an answer: their sum in seconds, and how many.
#[must_use]
pub fn responses(waits: &Waits) -> (f64, u64) {
    (waits.responses.sum as f64 / 1e3, waits.responses.buckets.iter().sum())
}

/// Ages of requests without an answer: their sum in seconds, and how many.
#[must_use]
pub fn unanswered(waits: &Waits) -> (f64, u64) {
    (waits.unanswered.sum as f64 / 1e3, waits.unanswered.buckets.iter().sum())
}

/// The mean of times in a histogram, in its unit.
#[must_use]
pub fn mean_of(sum: u64, buckets: &[u64]) -> Option<f64> {
    mean(sum, buckets.iter().sum())
}

/// A share in words.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent >= 10.0 => format!("{percent:.0} %"),
        _ if percent >= 1.0 => format!("{percent:.1} %"),
        _ if percent >= 0.01 || percent == 0.0 => format!("{percent:.2} %"),
        _ => "less than 0.01 %".to_owned(),
    }
}

/// A time in words.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 10.0 => format!("{seconds:.0} s"),
        _ if seconds >= 1.0 => format!("{seconds:.1} s"),
        _ if seconds >= 0.01 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds >= 0.001 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}
