//! DNS: a server that does not answer, answers slowly, or answers that it failed.

use netcause_common::dns::ResponseCode;
use netcause_common::drops::DropCause;
use netcause_common::flow::{ConnectFailure, RetransmitKind, TcpCounters};
use netcause_common::histogram::DNS_BOUNDS_NS;

use crate::diagnose::around::Served;
use crate::diagnose::cause::{Cause, Confidence, Side};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Pair, Signal, Subject, name};
use crate::diagnose::rules::places::Seen;
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
/// Queries wasted on search domains that nobody feels: fewer, or fewer a second, or not most of all.
const MANY_WASTED: u64 = 40;
/// See [`MANY_WASTED`].
const WASTED_PER_SECOND: f64 = 2.0;
/// See [`MANY_WASTED`].
const MOST: f64 = 0.5;

/// What is wrong, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    if !case.is_client() {
        return None;
    }
    unanswered(case).or_else(|| truncated(case)).or_else(|| failing(case)).or_else(|| slow(case))
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

/// No answers, or too few.
fn unanswered(case: &Case<'_>) -> Option<Draft> {
    let (dns, recent) = (&case.lately.dns, &case.recent.dns);
    let queries: u64 = dns.queries.iter().sum();
    let answers: u64 = dns.responses.iter().sum();
    let lost = dns.timeouts;
    if lost < LEAST || recent.timeouts == 0 || share_at_least(lost, lost + answers) < SHARE {
        return None;
    }
    let is_all = recent.responses.iter().sum::<u64>() == 0;
    let says = format!("{lost} queries timed out, {answers} were answered ({queries} sent)");
    let draft = match where_lost(case, is_all) {
        Lost::AtServer(confidence, signal) => down(case, is_all, confidence).because_of(signal),
        Lost::OnTheWay(side, confidence, signal) => {
            unreachable(case, confidence).at(side, side.owner()).because(signal)
        }
    };
    Some(
        draft
            .weighs(lost as f64, is_all && lost >= 5)
            .because(Signal::part("dns_timeouts", lost, lost + answers, "queries", says))
            .because_of((dns.refused > 0).then(|| {
                let says = format!("{} of them were refused by ICMP", dns.refused);
                Signal::value("dns_refused", dns.refused as f64, "queries", says)
            }))
            .not(Cause::DnsFailures, "there are no answers that say so")
            .then("Ask the server from the client's network namespace.", dig(case, "")),
    )
}

/// Where queries without an answer were lost.
enum Lost {
    /// The server did not answer; what its own end shows.
    AtServer(Confidence, Option<Signal>),
    /// The server serves, and it is not reached, or its answers do not arrive.
    OnTheWay(Side, Confidence, Signal),
}

/// What the server's own end has seen decides, where this node runs it; else whether the server answers others.
fn where_lost(case: &Case<'_>, is_all: bool) -> Lost {
    let dropped = case.dropped_here(DropCause::Policy);
    // Others of their packets may be dropped, too.
    if dropped > 0 && dropped * 2 >= case.recent.dns.timeouts {
        let says = format!("a rule on this node dropped {dropped} packets between them");
        let signal = Signal::value("packet_drops", dropped as f64, "packets", says);
        return Lost::OnTheWay(Side::Policy, Confidence::High, signal);
    }
    let resolver = case.around.resolvers.get(&case.edge.destination).copied().unwrap_or_default();
    let served = |client| case.around.served.get(&(client, case.edge.destination.clone())).copied();
    // Where its clients are counted as one, what it serves may be others' queries.
    let of_others = |served: &Served| resolver.answered > 0 && served.answers * 2 >= served.queries.max(1);
    let of_client = served(case.edge.source.clone());
    let of_all = || served(Workload::Any).filter(|served| !of_others(served));
    if let Some(Served { queries, answers }) = of_client.or_else(of_all) {
        let says = format!("its own node counted {queries} queries that arrived, and {answers} answers");
        let signal = Signal::value("dns_queries", queries as f64, "queries", says);
        // It may run on several nodes, and the others be asked.
        return match (queries, answers) {
            (0, _) if case.recent.dns.refused > 0 && resolver.answered == 0 => {
                Lost::AtServer(Confidence::Medium, Some(signal))
            }
            (0, _) => {
                // A client on this node that has no name is known by its address where packets are dropped.
                let dropped = case.around.dropped_of_addresses(&case.edge.destination, DropCause::Policy);
                let is_ruled = dropped > 0 && dropped * 2 >= case.recent.dns.timeouts;
                let side = if is_ruled { Side::Policy } else { way(case) };
                Lost::OnTheWay(side, Confidence::Medium, signal)
            }
            _ if answers * 2 < queries => Lost::AtServer(Confidence::High, Some(signal)),
            _ if of_client.is_none() => Lost::OnTheWay(Side::Path, Confidence::Medium, signal),
            _ => Lost::OnTheWay(Side::Path, Confidence::High, signal),
        };
    }
    // One that was down answers some clients first.
    if is_all && resolver.answered > 0 && !case.has(Cause::DnsServerDown) {
        let (answered, silent) = (resolver.answered, resolver.silent);
        let says = format!("it answers {answered} other clients on this node, and not {silent}");
        let signal = Signal::value("dns_responses", answered as f64, "clients", says);
        return Lost::OnTheWay(Side::Policy, Confidence::Medium, signal);
    }
    let confidence = match (is_all, case.lately.dns.refused > 0) {
        (true, true) => Confidence::High,
        (true, false) => Confidence::Medium,
        (false, _) => Confidence::Low,
    };
    Lost::AtServer(confidence, None)
}

/// What swallows queries: a rule where the server's workload is reached otherwise.
fn way(case: &Case<'_>) -> Side {
    if case.received_from_peer() > 0 { Side::Policy } else { Side::Path }
}

/// The server does not answer.
fn down(case: &Case<'_>, is_all: bool, confidence: Confidence) -> Draft {
    let (dns, lost) = (&case.lately.dns, case.lately.dns.timeouts);
    let answers: u64 = dns.responses.iter().sum();
    let how =
        if dns.refused > lost / 2 { "ICMP says that nobody listens there" } else { "nothing comes back" };
    let summary = format!(
        "{}: the DNS server answers {} of the queries: {how}.",
        case.ends(),
        if is_all { "none".to_owned() } else { percent(share(answers, answers + lost)) }
    );
    let draft = draft(case, Cause::DnsServerDown, confidence, summary);
    if confidence == Confidence::High {
        return draft;
    }
    draft.without(
        "server",
        "whether the server answers clients of other nodes (dns_server_unreachable) is not seen here",
    )
}

/// The server serves, but not this client.
fn unreachable(case: &Case<'_>, confidence: Confidence) -> Draft {
    let summary = format!(
        "{}: queries or their answers vanish on the way: the DNS server serves, but not this client.",
        case.ends()
    );
    Draft::of_edge(Cause::DnsServerUnreachable, case.edge, confidence, summary)
        .hurts(case.impact())
        .not(Cause::DnsServerDown, "the server answers")
}

/// Long answers, and TCP does not work.
fn truncated(case: &Case<'_>) -> Option<Draft> {
    let (tcp, recent) = (&case.lately.tcp, &case.recent.tcp);
    let refusals = |tcp: &TcpCounters| {
        let reasons = [ConnectFailure::Refused, ConnectFailure::Denied];
        reasons.iter().map(|reason| tcp.connect_failures[*reason as usize]).sum::<u64>()
    };
    let repeated = |tcp: &TcpCounters| tcp.retransmitted_segments[RetransmitKind::Syn as usize];
    let (refused, syns) = (refusals(tcp), repeated(tcp));
    let (cut, failed) = (case.lately.dns.truncated, refused + syns);
    let goes_on = refusals(recent) + repeated(recent) > 0;
    if cut == 0 || failed < LEAST || !goes_on || case.now.tcp.opened > 0 {
        return None;
    }
    let summary = format!(
        "{}: answers are too long for UDP, and TCP to the DNS server {}: port 53 is open for UDP only.",
        case.ends(),
        if refused > syns { "is refused" } else { "gets no answer" }
    );
    Some(
        draft(case, Cause::DnsTcpFallbackBlocked, Confidence::High, summary)
            .weighs((cut + failed) as f64, false)
            .because(Signal::value(
                "dns_truncated",
                cut as f64,
                "answers",
                format!("{cut} answers were truncated"),
            ))
            .because_of((syns > 0).then(|| {
                let says = format!("{syns} SYNs to the server were repeated");
                Signal::value("tcp_retransmitted_segments", syns as f64, "segments", says)
            }))
            .because_of((refused > 0).then(|| {
                let says = format!("{refused} connects to the server were refused");
                Signal::value("tcp_connect_failures", refused as f64, "connections", says)
            }))
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

/// Search domains multiply the queries of a workload.
pub(super) fn search(seen: &Seen<'_>, workload: &Workload) -> Option<Draft> {
    let [lookups, wasted, queries] =
        ["wasted_lookups", "wasted_queries", "queries"].map(|name| seen.count(name));
    let per_second = wasted as f64 / seen.seconds.max(1.0);
    if wasted < MANY_WASTED || per_second < WASTED_PER_SECOND || seen.recently("wasted_queries") == 0 {
        return None;
    }
    if share_at_least(wasted, queries) < MOST {
        return None;
    }
    let summary = format!(
        "{}: {} of its DNS queries ask for names that do not exist, because search domains are appended to names first (ndots).",
        name(workload),
        percent(share(wasted, queries))
    );
    let says = format!("{wasted} of {queries} queries, in {lookups} lookups, were wasted on search domains");
    Some(
        Draft::new(
            Cause::DnsSearchAmplification,
            Subject::Workload(workload.clone()),
            Confidence::Medium,
            summary,
        )
        .weighs(wasted as f64, false)
        .because(Signal::part("dns_search_wasted_queries", wasted, queries, "queries", says))
        .not(Cause::DnsFailures, "the names are found in the end")
        .then(
            "Ask for names with a dot at the end, or lower ndots (dnsConfig of the pod).",
            "grep -E 'search|ndots' /etc/resolv.conf".to_owned(),
        ),
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
    // A few that took seconds are no slow server.
    let bounds = DNS_BOUNDS_NS.into_iter().chain([u64::MAX]);
    let late = dns.duration.buckets.iter().zip(bounds).filter(|(_, bound)| *bound as f64 / 1e9 > SLOW);
    if share(late.map(|(count, _)| *count).sum(), answers) < SHARE {
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
