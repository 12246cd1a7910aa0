//! Segments that are sent again: why.
//!
//! First what this node dropped itself, since that is known and not guessed; then whether only large segments are concerned; then
//! whether anything still comes back; then whether the segments had arrived; what is left was lost on the way.

use netcause_common::drops::DropCause;
use netcause_common::flow::{RetransmitKind, TcpCounters, Timeouts};

use super::{arrived, silence};
use crate::aggregate::turn::On;
use crate::diagnose::cause::{Cause, Confidence, Owner, Side};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::Signal;
use crate::diagnose::rules::queueing;
use crate::diagnose::statistics::{share, share_at_least};
use crate::diagnose::symptoms::{Case, data_retransmits, gets_on, percent, rejected_connects, time};

/// Fewer retransmissions say nothing.
pub(super) const LEAST: u64 = 5;
/// So many say something of ten seconds alone.
pub(super) const MANY: u64 = 20;
/// Links below this share are healthy: what TCP makes of it cannot be felt.
pub(super) const HARMLESS: f64 = 0.002;
/// So many times what is usual is another state.
const WORSE: f64 = 3.0;

/// What is wrong, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    dropped_here(case)
        .or_else(|| silence::of_application(case))
        .or_else(|| forgotten(case))
        .or_else(|| black_hole(case))
        .or_else(|| dead_path(case))
        .or_else(|| arrived::needless(case))
        .or_else(|| arrived::in_another_order(case))
        .or_else(|| lost(case))
        .or_else(|| queueing::judge(case))
}

/// This node dropped what was sent again.
fn dropped_here(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let dropped: u64 = tcp.retransmitted_after_drop.iter().sum();
    let again = tcp.retransmitted_segments.iter().sum::<u64>();
    let is_going_on = case.recent.tcp.retransmitted_after_drop.iter().sum::<u64>() > 0;
    // Those that are sent again in the first moments are not all matched with what was dropped.
    let least = if dropped >= MANY { 0.25 } else { 0.5 };
    if dropped < 3 || !is_going_on || share(dropped, again) < least {
        return None;
    }
    let (count, why) =
        tcp.retransmitted_after_drop.iter().zip(DropCause::ALL).max_by_key(|(count, _)| **count)?;
    // What comes to a connection that its full accept queue has no place for is dropped as well: the listener has the cause.
    let server = case.around.servers.get(&(case.edge.destination.clone(), case.edge.port));
    if why == DropCause::Receiver && server.is_some_and(|server| server.accept_queue_full > 0) {
        return None;
    }
    let harm = share_at_least(dropped, tcp.sent_segments + dropped);
    let blocks = tcp.retransmitted_segments[RetransmitKind::Syn as usize] > 0;
    if harm < HARMLESS && !blocks {
        return None;
    }
    let (cause, side, owner, what) = match why {
        // It says so to those who connect.
        DropCause::Policy if rejected_connects(tcp) >= 3 => (
            Cause::PolicyReject,
            Side::Policy,
            Owner::Platform,
            "a rule on this node rejects connections, and drops",
        ),
        DropCause::Policy => (Cause::PolicyDrop, Side::Policy, Owner::Platform, "a rule on this node drops"),
        DropCause::Queue => (Cause::ShaperDrop, Side::Node, Owner::Node, "a queue on this node drops"),
        DropCause::NextHop => {
            (Cause::NoRoute, Side::Node, Owner::Node, "the next hop does not answer this node for")
        }
        DropCause::Route => (
            Cause::AsymmetricRoute,
            Side::Path,
            Owner::Network,
            "this node's routes or its reverse path filter drop",
        ),
        DropCause::Receiver => (
            Cause::ReceiverMemoryPressure,
            Side::Server,
            Owner::Server,
            "the receiving socket on this node drops",
        ),
        DropCause::Memory => {
            (Cause::ReceiverMemoryPressure, Side::Node, Owner::Node, "for lack of memory this node drops")
        }
        DropCause::Packet => {
            (Cause::PacketCorruption, Side::Path, Owner::Network, "this node finds damaged, and drops,")
        }
        DropCause::Other => return None,
    };
    let summary =
        format!("{}: {what} packets that have to be sent again ({dropped} of {again}).", case.ends());
    let says =
        format!("{count} of {again} segments sent again had been dropped on this node: {}", why.label());
    let draft = Draft::of_edge(cause, case.edge, Confidence::High, summary)
        .at(side, owner)
        .weighs(dropped as f64, dropped >= 20)
        .hurts(case.impact())
        .because(Signal::part("tcp_retransmitted_after_drop_segments", *count, again, "segments", says))
        .because(case.retransmitted())
        .not(Cause::PathLoss, "this node dropped the very segments that were sent again");
    Some(match cause {
        Cause::PolicyDrop | Cause::PolicyReject => draft.then(
            "See which rule counts them, on the node and in the pod's network namespace.",
            "nft list ruleset | grep -B2 -A2 -E 'drop|reject'".to_owned(),
        ),
        Cause::ShaperDrop => draft.then("See which queue drops.", "tc -s qdisc show".to_owned()),
        Cause::NoRoute => {
            draft.then("See which neighbours have failed.", "ip neigh show nud failed".to_owned())
        }
        Cause::AsymmetricRoute => draft.then(
            "Compare the route back with the device that packets come in by.",
            "ip route show table all".to_owned(),
        ),
        _ => draft.then(
            "See what the kernel counts.",
            "nstat -az | grep -E 'Prune|Csum|RcvQDrop|Backlog'".to_owned(),
        ),
    })
}

/// Timeouts one after the other, and nothing comes back.
fn dead_path(case: &Case<'_>) -> Option<Draft> {
    let (tcp, recent) = (&case.lately.tcp, &case.recent.tcp);
    let repeated: u64 = tcp.timeouts[Timeouts::Later as usize];
    let is_silent = !gets_on(recent) && (recent.sent_segments > 0 || case.is_stuck());
    if !is_silent || (repeated == 0 && !(case.has(Cause::DeadPath) && case.is_stuck())) {
        return None;
    }
    let timeouts: u64 = tcp.timeouts.iter().sum();
    let waiting = case.waited(On::Network);
    let others = case.received_from_others();
    // Where nothing small was tried, a smaller MTU is not excluded; where something small comes back, it is that.
    let is_silent_port = case.is_client() && case.around.is_silent_port(case.edge);
    let is_large_only = is_large_only(case) && !is_silent_port;
    if is_large_only && others > 0 {
        return None;
    }
    // Drops are those of the last part of the span.
    if let Some(ruled) = silence::by_rule(case, recent.timeouts.iter().sum()) {
        return Some(ruled);
    }
    // Another port of it answers the same workload, or its queries; or others, and this one nobody.
    let answers: u64 = case.recent.dns.responses.iter().sum();
    if is_silent_port || case.is_client() && case.received_between_others() + answers > 0 {
        return Some(silence::of_port(case, timeouts, repeated));
    }
    // Timeouts back off: where nothing was sent again lately, it is as sure as it was.
    let is_quiet = tcp.retransmitted_segments.iter().sum::<u64>() == 0;
    let was_sure = case.found(Cause::DeadPath) == Some(Confidence::High);
    let hears = recent.received_segments;
    let is_sure = others + hears == 0 && if is_quiet { was_sure } else { !is_large_only };
    let summary = format!(
        "{}: nothing comes back any more. Connections repeat the same data after {timeouts} timeouts and hear nothing from {}.",
        case.ends(),
        crate::diagnose::finding::name(case.peer()),
    );
    let says = format!("{timeouts} retransmission timeouts, {repeated} of them the third in a row or later");
    let confidence = if is_sure { Confidence::High } else { Confidence::Medium };
    let mut draft = Draft::of_edge(Cause::DeadPath, case.edge, confidence, summary)
        .weighs(timeouts as f64, true)
        .hurts(case.impact())
        .because(Signal::value("tcp_timeouts", timeouts as f64, "timeouts", says))
        .because(Signal::part(
            "tcp_received_segments",
            recent.received_segments,
            recent.sent_segments,
            "segments",
            format!(
                "in the last {} {} received while {} segments were sent",
                time(case.recent_seconds),
                match hears {
                    0 => "nothing was".to_owned(),
                    _ => format!("no data, no acknowledgement, and {hears} segments that repeat others were"),
                },
                recent.sent_segments
            ),
        ))
        .because_of((waiting > 0.0).then(|| {
            Signal::value(
                "tcp_waiting_connections",
                waiting,
                "connections",
                format!("{waiting:.1} connections wait for acknowledgements"),
            )
        }))
        .although((others > 0).then(|| {
            Signal::value(
                "tcp_received_segments",
                others as f64,
                "segments",
                format!("other connections with it still receive: {others} segments"),
            )
        }))
        .not(Cause::PathLoss, "everything is lost, not a part")
        .then(
            "See which connections repeat, and ping the addresses that they go to from this node.",
            case.sockets(),
        );
    if is_large_only {
        let why = "only segments of full size were tried: a smaller MTU (mtu_black_hole) looks the same";
        draft = draft.without("small_segments", why);
    }
    Some(draft)
}

/// Segments sent again but for those that the peer had already, as it has on a healthy path what a tail loss probe repeats.
pub(super) fn not_arrived(tcp: &TcpCounters) -> u64 {
    data_retransmits(tcp).saturating_sub(tcp.needless_retransmits())
}

/// Nothing but segments of full size was sent again, and no SYN.
fn is_large_only(case: &Case<'_>) -> bool {
    let (lately, recent) = (&case.lately.tcp, &case.recent.tcp);
    let syns = recent.retransmitted_segments[RetransmitKind::Syn as usize];
    let again = not_arrived(lately);
    syns == 0 && again > 0 && share(lately.full_size_retransmits, again) >= 0.8
}

/// Connections were idle for long, and the first data after that stayed without an answer, while others go on.
fn forgotten(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let after_idle = tcp.timeouts_after_idle;
    let others = tcp.received_segments + case.received_from_peer();
    let is_all = after_idle > 0 && after_idle >= tcp.timeouts[Timeouts::First as usize];
    let goes_on = case.recent.tcp.timeouts.iter().sum::<u64>() > 0 || case.has(Cause::NatIdleTimeout);
    // While a dead path recovers, its connections had been idle for long as well.
    if case.has(Cause::DeadPath)
        || !is_all
        || !goes_on
        || tcp.timeouts[Timeouts::Second as usize] == 0
        || others == 0
    {
        return None;
    }
    let summary = format!(
        "{}: connections that were idle for more than 30 s are dead when they are used again. A NAT, firewall or load balancer has forgotten them.",
        case.ends()
    );
    let says =
        format!("{after_idle} connections ran into timeouts with the first data after a long idle time");
    let opened = tcp.opened;
    let confidence = if opened > 0 { Confidence::High } else { Confidence::Medium };
    Some(
        Draft::of_edge(Cause::NatIdleTimeout, case.edge, confidence, summary)
            .weighs(after_idle as f64, after_idle >= 3)
            .hurts(case.impact())
            .because(Signal::value("tcp_timeouts_after_idle", after_idle as f64, "timeouts", says))
            .because_of((opened > 0).then(|| {
                let says = format!("new connections work: {opened} opened meanwhile");
                Signal::value("tcp_connections_opened", opened as f64, "connections", says)
            }))
            .not(Cause::DeadPath, "only connections that were idle are concerned")
            .then(
                "See the connections; send keep-alives more often than what is on the way forgets, or close idle connections earlier.",
                case.sockets(),
            ),
    )
}

/// Only segments of full size are repeated, and small ones pass.
fn black_hole(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let again = not_arrived(tcp);
    let timeouts: u64 = tcp.timeouts.iter().sum();
    let full = tcp.full_size_retransmits;
    let fast = tcp.retransmitted_segments[RetransmitKind::Fast as usize];
    let goes_on = case.recent.tcp.full_size_retransmits > 0 || case.is_stuck();
    // A transfer whose path died repeats full-size segments too: it had got on before, and nothing comes back any more.
    // What came before the first timeout says nothing of what passes since: that was before the last part of the span, or before the
    // last window, in which something came.
    let began_before = timeouts > case.recent.tcp.timeouts.iter().sum();
    let now = &case.now.tcp;
    let goes_on_now = timeouts > now.timeouts.iter().sum() && now.opened + now.received_segments > 0;
    let is_alive =
        (began_before && (case.recent.tcp.opened > 0 || case.received_from_peer() > 0)) || goes_on_now;
    let has_never_sent = case.past.sent().is_none_or(|sent| sent < 1000.0);
    // Progress in full-size segments is no black hole.
    let through = case.recent.tcp.sent_bytes / 1000;
    // What others send to this port, which is small, does not pass either.
    if case.is_client() && case.around.is_silent_port(case.edge) {
        return None;
    }
    let is_known = case.has(Cause::MtuBlackHole) && case.is_stuck();
    let is_found =
        timeouts >= 3 && share(full, again) >= 0.8 && fast <= full / 4 && (is_alive || has_never_sent);
    if !goes_on || through > full.max(1) || !(is_found || is_known) {
        return None;
    }
    // That others get through may be for another port.
    let is_sure = full >= 5 && began_before && is_alive && tcp.opened + tcp.received_segments > 0;
    let confidence = if is_sure { Confidence::High } else { Confidence::Medium };
    let summary = format!(
        "{}: packets of full size vanish on the way and small ones pass: a smaller MTU on the path, and its ICMP messages are filtered.",
        case.ends()
    );
    Some(
        Draft::of_edge(Cause::MtuBlackHole, case.edge, confidence, summary)
            .weighs(full as f64, full >= 6)
            .hurts(case.impact())
            .because(Signal::part(
                "tcp_retransmitted_full_size_segments",
                full,
                again,
                "segments",
                format!("{full} of {again} segments sent again had the full size"),
            ))
            .because(Signal::value("tcp_timeouts", timeouts as f64, "timeouts", format!("{timeouts} retransmission timeouts")))
            .because(Signal::value(
                "tcp_received_segments",
                tcp.received_segments as f64,
                "segments",
                format!("small segments pass: {} connections opened, {} segments received", tcp.opened, tcp.received_segments),
            ))
            .not(Cause::DeadPath, "handshakes and small segments pass")
            .not(Cause::PathLoss, "segments of other sizes are not repeated")
            .then("See the segment size (mss, pmtu) of these connections, and lower the MTU or let ICMP (type 3, code 4) pass.", case.sockets()),
    )
}

/// What was sent again was lost on the way.
fn lost(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let again = data_retransmits(tcp);
    let dropped: u64 = tcp.retransmitted_after_drop.iter().sum();
    let lost = not_arrived(tcp).saturating_sub(dropped);
    let usual = case.past.retransmitted().unwrap_or(0.0);
    let least = share_at_least(lost, tcp.sent_segments);
    if lost < LEAST || data_retransmits(&case.recent.tcp) == 0 || least < HARMLESS.max(WORSE * usual) {
        return None;
    }
    let fast = tcp.retransmitted_segments[RetransmitKind::Fast as usize];
    // By timeouts alone, and large segments alone: something that lets no large ones through is about to be found.
    // And where connections hang on the network, whether anything comes back at all: it does where they come to be or others get on, and
    // hardly any repeats the same three times.
    let later = tcp.timeouts[Timeouts::Later as usize];
    let now = &case.now.tcp;
    let opens = now.opened > 0 && case.recent.tcp.connect_failures.iter().sum::<u64>() == 0;
    let passes = now.received_segments > 0 && now.sent_bytes > 0;
    let goes_on = (opens || passes) && later * 3 <= tcp.timeouts.iter().sum();
    let hangs = case.is_stuck() && !goes_on;
    if fast == 0 && (share(tcp.full_size_retransmits, again) >= 0.8 || hangs) {
        return None;
    }
    // The same where only large segments are repeated in the last window, and no more of them get through.
    let is_large_only = share(now.full_size_retransmits, data_retransmits(now)) >= 0.8;
    // And where connections hang that have repeated the same large segment three times.
    let is_hanging = now.timeouts[Timeouts::Later as usize] > 0
        && now.retransmitted_segments[RetransmitKind::Fast as usize] == 0
        && case.is_stuck();
    if is_large_only && (is_hanging || now.sent_bytes / 1000 <= now.full_size_retransmits) {
        return None;
    }
    let share_lost = share(lost, tcp.sent_segments);
    if let Some(full) = queueing::bottleneck(case, share_lost).or_else(|| queueing::deep(case, share_lost)) {
        return Some(full);
    }
    let is_exact = !case.around.missing.contains_key("packet_drops");
    // What has just begun may be about to lose all, or all that is large.
    let has_just_begun = data_retransmits(now) * 10 >= again * 9;
    let confidence = match is_exact && lost >= 20 {
        _ if has_just_begun => Confidence::Low,
        true => Confidence::High,
        false => Confidence::Medium,
    };
    let by_this_node = if dropped == 0 { "none".to_owned() } else { dropped.to_string() };
    let summary = format!(
        "{}: the network between the nodes loses packets. {} of the segments were sent again, and this node dropped {by_this_node} of them.",
        case.ends(),
        percent(share(lost, tcp.sent_segments))
    );
    let mut draft = Draft::of_edge(Cause::PathLoss, case.edge, confidence, summary)
        // Duplicates are reported a round trip later.
        .weighs(lost as f64, lost >= 50 && tcp.needless_retransmits() * 10 < again)
        .hurts(case.impact())
        .because(case.retransmitted())
        .because_of((fast > 0).then(|| {
            Signal::part("tcp_retransmitted_segments", fast, again, "segments", format!("{fast} were found lost by what came behind them"))
        }))
        .not(Cause::Reordering, &format!("the peer reported {} duplicates", tcp.needless_retransmits()))
        .then("See the connections that retransmit (retrans), and trace the path to their addresses: mtr --tcp.", case.sockets());
    if is_exact {
        draft = draft.because(Signal::part(
            "tcp_retransmitted_after_drop_segments",
            dropped,
            again,
            "segments",
            format!("this node dropped {dropped} of them itself"),
        ));
        draft = draft.not(Cause::ShaperDrop, "no queue of this node dropped them");
    } else if let Some(why) = case.around.missing.get("packet_drops") {
        draft = draft.without("packet_drops", why);
    }
    Some(draft)
}
