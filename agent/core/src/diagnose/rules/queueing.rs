//! Round trips that are long because packets wait in a queue on the way: in one that a transfer fills itself, or in a deep one.

use crate::aggregate::totals::Totals;
use crate::aggregate::turn::On;
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::Signal;
use crate::diagnose::statistics::share;
use crate::diagnose::symptoms::{Case, data_retransmits, mean_of, round_trips, time};

/// So many times what is usual is another state.
const WORSE: f64 = 3.0;
/// A standing queue of so many seconds is felt.
const QUEUEING: f64 = 0.05;
/// From so many seconds on it is a queue, and not how long CPUs and links take.
const FILLED: f64 = 0.01;
/// The same of what loses segments together, as a short queue does.
const FILLED_SHORT: f64 = 0.003;
/// From so many seconds on a queue is too deep, whoever fills it.
const DEEP: f64 = 0.5;
/// Connections, on average, that have more to send at any time: a bulk transfer.
const HAS_MORE: f64 = 0.5;
/// What congestion alone loses at most.
const CONGESTION: f64 = 0.05;

/// What a short queue drops of transfers that overrun it again and again.
const OVERFLOW: f64 = 0.3;
/// Payload of a segment of full size, in bytes.
const SEGMENT: f64 = 1400.0;

/// How long packets wait in queues, on average, in seconds.
fn waited_in_queues(totals: &Totals) -> Option<f64> {
    let queueing = &totals.waits.queueing;
    Some(mean_of(queueing.sum, &queueing.buckets)? / 1e6)
}

/// True if more gets through than TCP would send if as much were lost by chance: what is lost is lost together, where a queue
/// overflows. (Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm": 1.22 segments per round trip and
/// the root of the share that is lost.)
fn outruns_loss(case: &Case<'_>, connections: f64, lost: f64) -> bool {
    let (sum, count) = round_trips(&case.recent.tcp.rtt);
    if count == 0 || sum <= 0.0 || lost <= 0.0 || case.recent_seconds <= 0.0 {
        return false;
    }
    let by_chance = connections.max(1.0) * 1.22 * SEGMENT / (sum / count as f64) / lost.sqrt();
    case.recent.tcp.sent_bytes as f64 / case.recent_seconds > 2.0 * by_chance
}

/// A deep queue that is full drops, too: what is lost there is no loss of its own.
pub(super) fn deep(case: &Case<'_>, lost: f64) -> Option<Draft> {
    let queueing = waited_in_queues(case.recent)?;
    if queueing < DEEP || lost > CONGESTION { None } else { bufferbloat(case) }
}

/// A transfer that always has more to send fills the queue before the narrowest link, and now and then a segment is lost there: that
/// is how TCP finds out how fast it may send.
pub(super) fn bottleneck(case: &Case<'_>, lost: f64) -> Option<Draft> {
    // As it is in the last window, where that has just begun.
    let queueing = waited_in_queues(case.recent)?.max(waited_in_queues(case.now).unwrap_or(0.0));
    let (sum, count) = round_trips(&case.lately.tcp.rtt);
    let round_trip = if count > 0 { sum / count as f64 } else { 0.0 };
    let has_more = case.waited_recently(On::CongestionWindow) + case.waited_recently(On::SendBuffer);
    let (most, filled, part) = match outruns_loss(case, has_more, lost) {
        true => (OVERFLOW, FILLED_SHORT, 1.0 / 8.0),
        false => (CONGESTION, FILLED, 1.0 / 4.0),
    };
    let is_own = has_more >= HAS_MORE && queueing >= filled && queueing >= round_trip * part;
    if !is_own || lost > most || queueing >= DEEP {
        return None;
    }
    let per_second = case.lately.tcp.sent_bytes as f64 / case.seconds.max(1.0);
    let summary = format!(
        "{}: a transfer fills its own path with {:.1} Mbit/s. That is no fault; what else takes this path waits {} behind it.",
        case.ends(),
        per_second * 8.0 / 1e6,
        time(queueing)
    );
    let says = format!("{has_more:.1} connections have more to send than the path takes");
    Some(
        Draft::of_edge(Cause::BottleneckFull, case.edge, Confidence::Low, summary)
            .weighs(0.0, false)
            .because(Signal::value("tcp_waiting_connections", has_more, "connections", says))
            .because(Signal::value(
                "tcp_queueing_delay_seconds",
                queueing,
                "seconds",
                format!("round trips exceed the lowest of their connection by {}", time(queueing)),
            ))
            .although(Some(case.retransmitted()))
            .not(
                Cause::PathLoss,
                "as much is lost as a full queue drops, and it is the sender itself that fills it",
            )
            .then("See which transfer it is, and limit it if others suffer.", case.sockets()),
    )
}

/// Round trips are long because packets wait in a queue on the way.
pub(super) fn judge(case: &Case<'_>) -> Option<Draft> {
    let again = |totals: &Totals| share(data_retransmits(&totals.tcp), totals.tcp.sent_segments);
    // Where acknowledgements are lost, round trips are long as well.
    if again(case.lately).max(again(case.recent)) > 0.01 {
        return None;
    }
    let found = bufferbloat(case)?;
    bottleneck(case, again(case.lately)).or(Some(found))
}

/// A queue on the way that is too long.
fn bufferbloat(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let observed: u64 = case.lately.waits.queueing.buckets.iter().sum();
    let (queueing, recent) = (waited_in_queues(case.lately)?, waited_in_queues(case.recent)?);
    let (sum, count) = round_trips(&tcp.rtt);
    let usual = case.past.round_trip();
    let now = sum / count.max(1) as f64;
    let is_unusual = usual.is_some_and(|usual| now > WORSE * usual);
    if observed < 3 || queueing < QUEUEING || recent < QUEUEING || !is_unusual {
        return None;
    }
    let lowest = mean_of(tcp.min_rtt.sum, &tcp.min_rtt.buckets).unwrap_or(0.0) / 1e6;
    let summary = format!(
        "{}: packets wait {} in a queue on the way. Round trips take {}, and can take {}; hardly anything is lost.",
        case.ends(),
        time(queueing),
        time(now),
        time(lowest)
    );
    Some(
        Draft::of_edge(Cause::Bufferbloat, case.edge, Confidence::Medium, summary)
            .weighs(queueing * observed as f64, false)
            .hurts(case.impact())
            .because(Signal::value(
                "tcp_queueing_delay_seconds",
                queueing,
                "seconds",
                format!("round trips exceed the lowest of their connection by {}", time(queueing)),
            ))
            .because_of(case.round_trip())
            .although(Some(case.retransmitted()))
            .not(Cause::PathLoss, "hardly anything is sent again")
            .not(Cause::SlowServer, "the kernels' own acknowledgements are late, not the application")
            .then("Find the link that is full.", "ip -s link; tc -s qdisc show".to_owned()),
    )
}
