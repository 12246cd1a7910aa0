//! The queues of a listening port: connections that are not accepted, handshakes that are not completed.

use super::places::{LEAST, Seen};
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Impact, Signal, Subject, server};
use crate::enrich::Workload;

/// An accept queue so full, on average, is not emptied fast enough.
const LONG: f64 = 0.5;

/// What is wrong with the queues of a port, if anything.
pub(super) fn judge(seen: &Seen<'_>, workload: &Workload, port: Option<u16>) -> Option<Draft> {
    let full = seen.count("accept_queue_full");
    // As it is now: else the requests that wait there are taken for those of a slow server at first.
    let length = seen.recent.and(seen.recent_level("accept_queue_length")).unwrap_or(0.0);
    let limit = seen.level("accept_queue_limit").unwrap_or(0.0);
    let at = server(workload, port);
    let queue = Signal {
        of: Some(limit),
        ..Signal::value(
            "tcp_accept_queue_length",
            length,
            "connections",
            format!("{length:.0} of {limit:.0} places in the accept queue are taken"),
        )
    };
    let command = port.map_or_else(|| "ss -tln".to_owned(), |port| format!("ss -tlnp 'sport = :{port}'"));
    let hurts = |count: u64| Impact {
        failed_connections_per_second: count as f64 / seen.seconds.max(1.0),
        ..Impact::default()
    };
    let subject = Subject::Listener(workload.clone(), port);
    // Those who wait for it repeat what was dropped later and later.
    let is_still_full = (seen.has)(Cause::AcceptQueueOverflow, &subject) && limit >= 1.0 && length >= limit;
    if (full >= LEAST && seen.recently("accept_queue_full") > 0) || is_still_full {
        let summary = format!(
            "{at} does not accept connections fast enough: its accept queue is full, and the kernel drops handshakes."
        );
        return Some(
            Draft::new(Cause::AcceptQueueOverflow, subject, Confidence::High, summary)
                .weighs(full as f64, full >= 10)
                .hurts(hurts(full))
                .because(Signal::value("tcp_dropped_handshakes", full as f64, "handshakes", format!("{full} handshakes were dropped at the full accept queue")))
                .because(queue)
                .not(Cause::SynFlood, "the handshakes were completed; nobody accepted them")
                .then("See the queue (Recv-Q) against its limit (Send-Q): the application must accept faster, or listen with a larger backlog.", command),
        );
    }
    // With net.ipv4.tcp_syncookies=2 every SYN is answered with a cookie, and connections come to be.
    let flood = seen.sum(&["request_queue_full", "syn_cookies_sent"]);
    if flood >= 10 && seen.recent_sum(&["request_queue_full", "syn_cookies_sent"]) > 0 {
        let cookies = seen.count("syn_cookies_sent");
        let summary = format!(
            "{at}: more handshakes are begun than the queue for them holds, and not completed: a SYN flood, or answers that do not reach the clients."
        );
        // Cookies alone let connections come to be.
        let is_dropping = seen.count("request_queue_full") > 0;
        let confidence = if is_dropping { Confidence::High } else { Confidence::Medium };
        return Some(
            Draft::new(Cause::SynFlood, subject, confidence, summary)
                .weighs(flood as f64, flood >= 100)
                .hurts(hurts(seen.count("request_queue_full")))
                .because(Signal::value(
                    "tcp_syn_cookies_sent",
                    cookies as f64,
                    "cookies",
                    format!("{cookies} SYNs were answered with a cookie, {} dropped", flood - cookies),
                ))
                .although(Some(queue))
                .not(Cause::AcceptQueueOverflow, "nothing was dropped at the accept queue")
                .then("See who begins the handshakes.", "ss -tn state syn-recv".to_owned()),
        );
    }
    if limit >= 1.0 && length >= LONG * limit && length >= 4.0 {
        let summary = format!(
            "{at} accepts connections late: {length:.0} of at most {limit:.0} wait in its accept queue."
        );
        return Some(
            Draft::new(Cause::SlowAccept, subject, Confidence::Medium, summary)
                .weighs(length, false)
                .hurts(Impact { stalled_connections: length, ..Impact::default() })
                .because(queue)
                .not(Cause::AcceptQueueOverflow, "nothing is dropped as yet")
                .then("See the queue (Recv-Q) against its limit (Send-Q).", command),
        );
    }
    None
}
