//! DNS: a server that does not answer, answers slowly, or answers that it failed.

use netcause_common::dns::ResponseCode;
use netcause_common::flow::RetransmitKind;

use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Pair, Signal, Subject};
use crate::diagnose::statistics::{share, share_at_least};
use crate::diagnose::symptoms::{Case, failed_answers, mean_of, percent, time};
use crate::enrich::Workload;

/// Fewer queries say nothing.
const LEAST: u64 = 3;
/// A smaller share of failures is what the Internet is like.
const SHARE: f64 = 0.1;
/// Answers within this are fast for anybody.
const SLOW: f64 = 0.05;
/// So many times what is usual is another state.
const WORSE: f64 = 3.0;

/// What is wrong, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    if !case.is_client() {
        return None;
    }
    down(case).or_else(|| truncated(case)).or_else(|| failing(case)).or_else(|| slow(case))
}

fn draft(case: &Case<'_>, cause: Cause, confidence: Confidence, summary: String) -> Draft {
    Draft::new(cause, Subject::DnsServer(Pair::of(case.edge)), confidence, summary)
        .affects(case.edge)
        .hurts(case.impact())
}

/// A question to the server, where its address is its name or it has a port of its own.
fn dig(case: &Case<'_>, option: &str) -> String {
    match (&case.edge.destination, case.edge.port) {
        (Workload::Address(address), Some(port)) => format!("dig {option}@{address} -p {port} example.com"),
        _ => format!("dig {option}example.com"),
    }
}

/// No answers.
fn down(case: &Case<'_>) -> Option<Draft> {
    let (dns, recent) = (&case.lately.dns, &case.recent.dns);
    let queries: u64 = dns.queries.iter().sum();
    let answers: u64 = dns.responses.iter().sum();
    let lost = dns.timeouts;
    if lost < LEAST || recent.timeouts == 0 || share_at_least(lost, lost + answers) < SHARE {
        return None;
    }
    let is_all = answers == 0;
    let confidence = match (is_all, dns.refused > 0) {
        (true, true) => Confidence::High,
        (true, false) => Confidence::Medium,
        (false, _) => Confidence::Low,
    };
    let how =
        if dns.refused > lost / 2 { "ICMP says that nobody listens there" } else { "nothing comes back" };
    let summary = format!(
        "{}: the DNS server answers {} of the queries: {how}.",
        case.ends(),
        if is_all { "none".to_owned() } else { percent(share(answers, answers + lost)) }
    );
    let says = format!("{lost} queries timed out, {answers} were answered ({queries} sent)");
    Some(
        draft(case, Cause::DnsServerDown, confidence, summary)
            .weighs(lost as f64, is_all && lost >= 5)
            .because(Signal::part("dns_timeouts", lost, lost + answers, "queries", says))
            .because_of((dns.refused > 0).then(|| {
                Signal::value(
                    "dns_refused",
                    dns.refused as f64,
                    "queries",
                    format!("{} of them were refused by ICMP", dns.refused),
                )
            }))
            .not(Cause::DnsFailures, "there are no answers that say so")
            .then("Ask the server from the client's network namespace.", dig(case, "")),
    )
}

/// Long answers, and TCP does not work.
fn truncated(case: &Case<'_>) -> Option<Draft> {
    let syns = case.recent.tcp.retransmitted_segments[RetransmitKind::Syn as usize];
    let cut = case.lately.dns.truncated;
    if cut == 0 || syns == 0 || case.lately.tcp.opened > 0 {
        return None;
    }
    let summary = format!(
        "{}: answers are too long for UDP, and TCP to the DNS server gets no answer: port 53 is open for UDP only.",
        case.ends()
    );
    Some(
        draft(case, Cause::DnsTcpFallbackBlocked, Confidence::High, summary)
            .weighs((cut + syns) as f64, false)
            .because(Signal::value(
                "dns_truncated",
                cut as f64,
                "answers",
                format!("{cut} answers were truncated"),
            ))
            .because(Signal::value(
                "tcp_retransmitted_segments",
                syns as f64,
                "segments",
                format!("{syns} SYNs to the server were repeated"),
            ))
            .not(Cause::DnsServerDown, "it answers over UDP")
            .then("Ask over TCP.", dig(case, "+tcp ")),
    )
}

/// Answers that say that it failed.
fn failing(case: &Case<'_>) -> Option<Draft> {
    let dns = &case.lately.dns;
    let (failed, answers) = (failed_answers(case.lately), dns.responses.iter().sum::<u64>());
    let usual = case.past.dns_failed();
    let least = share_at_least(failed, answers);
    if failed < LEAST || failed_answers(case.recent) == 0 || least < SHARE.max(1.5 * usual.unwrap_or(0.0)) {
        return None;
    }
    let codes = dns.responses.iter().zip(ResponseCode::ALL);
    let codes = codes.filter(|(_, code)| !matches!(code, ResponseCode::NoError | ResponseCode::NxDomain));
    let (count, code) = codes.max_by_key(|(count, _)| **count)?;
    let before = usual.map_or_else(String::new, |usual| format!("; {} before", percent(usual)));
    let summary = format!(
        "{}: the DNS server answers {} of the queries with {}{before}.",
        case.ends(),
        percent(share(failed, answers)),
        code.label()
    );
    let says = format!("{failed} of {answers} answers are failures, {count} of them {}", code.label());
    Some(
        draft(case, Cause::DnsFailures, Confidence::High, summary)
            .weighs(failed as f64, failed >= 20)
            .because(Signal::part("dns_responses", failed, answers, "answers", says).usually(usual))
            .not(Cause::DnsServerDown, "it answers")
            .then("Ask for one of the names that fail; the server's log says why.", dig(case, "")),
    )
}

/// Answers come late.
fn slow(case: &Case<'_>) -> Option<Draft> {
    let dns = &case.lately.dns;
    let answers: u64 = dns.duration.buckets.iter().sum();
    let took = mean_of(dns.duration.sum, &dns.duration.buckets)? / 1e9;
    // As it is now: what has been is among what is usual already.
    let recent = mean_of(case.recent.dns.duration.sum, &case.recent.dns.duration.buckets)? / 1e9;
    let usual = case.past.dns_time()?;
    if answers < LEAST || took < SLOW || recent < SLOW || recent < WORSE * usual {
        return None;
    }
    // One that was down answers what has waited.
    if case.has(Cause::DnsServerDown) {
        return None;
    }
    let summary =
        format!("{}: the DNS server takes {} to answer; {} before.", case.ends(), time(took), time(usual));
    let says = format!("{answers} answers took {} on average; {} before", time(took), time(usual));
    Some(
        draft(case, Cause::DnsServerSlow, Confidence::Medium, summary)
            .weighs(answers as f64, false)
            .because(Signal::value("dns_duration_seconds", took, "seconds", says).usually(Some(usual)))
            .although(case.round_trip())
            .not(Cause::DnsServerDown, "it answers")
            .then("Ask it, and compare with the server's load and what it forwards to.", dig(case, "")),
    )
}
