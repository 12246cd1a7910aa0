//! Faults of DNS servers.

use super::{PATH, act, lookups, program, truth};
use crate::faults::{
    case::{Act, Deed, End, Scope, Traffic, Truth},
    draw::Draw,
};

const DNS: &[&str] = &["dns"];

pub(super) fn dns_nobody_listens(draw: &mut Draw) -> Act {
    act("dns_nobody_listens", truth(&["dns_server_down"], DNS), lookups(draw), Deed::Kill, Scope::Server)
}

pub(super) fn dns_silent(draw: &mut Draw) -> Act {
    let deed = if draw.percent(50) {
        Deed::Stop
    } else {
        Deed::Program(End::Server, "silent=1".to_owned(), "silent=0".to_owned())
    };
    act("dns_silent", truth(&["dns_server_down"], DNS), lookups(draw), deed, Scope::Server)
}

pub(super) fn dns_slow(draw: &mut Draw) -> Act {
    let line = format!("delay_ms={}", draw.one_of(&[150, 300, 800, 2_000]));
    let truth = truth(&["dns_server_slow"], DNS);
    program("dns_slow", truth, lookups(draw), (End::Server, line, "delay_ms=0"), Scope::Server)
}

pub(super) fn dns_failures(draw: &mut Draw) -> Act {
    let line = format!("code={}", draw.one_of(&[2, 2, 5]));
    let truth = truth(&["dns_failures"], DNS);
    program("dns_failures", truth, lookups(draw), (End::Server, line, "code=0"), Scope::Server)
}

/// A rule before the server, of one client: others are answered.
pub(super) fn dns_rule(draw: &mut Draw) -> Act {
    let rule = "ip saddr CLIENT udp dport PORT drop".to_owned();
    let truth = truth(&["dns_server_unreachable", "policy_drop"], &["policy"]);
    act("dns_rule", truth, lookups(draw), Deed::Rule(End::Server, "input", rule), Scope::Pair)
}

/// Between client and server everything is lost, one way or both.
pub(super) fn dns_dead_path(draw: &mut Draw) -> Act {
    let how = format!("{} lose=1 only=SERVER", draw.one_of(&["both", "forward", "back"]));
    let truth = truth(&["dns_server_unreachable"], PATH);
    act("dns_dead_path", truth, lookups(draw), Deed::Path(how), Scope::PathToServer)
}

/// A client appends search domains to names of others, as the resolver of a pod does.
pub(super) fn dns_search_amplification(draw: &mut Draw) -> Act {
    let truth = Truth { causes: &["dns_search_amplification"], sides: &["client"], of_workload: true };
    let line = (End::Client, format!("search={}", draw.number(2, 4)), "search=0");
    program("dns_search_amplification", truth, lookups(draw), line, Scope::Pair)
}

/// Some answers are too long for UDP, and TCP to the server gets no answer any more, or a refusal.
pub(super) fn dns_tcp_fallback_blocked(draw: &mut Draw) -> Act {
    let traffic = Traffic { truncated: draw.one_of(&[20, 40, 100]), ..lookups(draw) };
    // A rule that drops connects is said of the pair as truly.
    let truth = truth(&["dns_tcp_fallback_blocked", "policy_drop", "policy_reject"], &["policy"]);
    let (deed, scope) = match draw.number(0, 3) {
        0 => (Deed::Rule(End::Client, "output", "TO_SERVER tcp dport PORT drop".to_owned()), Scope::Pair),
        1 => (Deed::Path("both drop_tcp_port=PORT only=SERVER".to_owned()), Scope::PathToServer),
        _ => {
            let how = draw.one_of(&["drop", "reject with tcp reset"]);
            (Deed::Rule(End::Server, "input", format!("tcp dport PORT {how}")), Scope::Server)
        }
    };
    act("dns_tcp_fallback_blocked", truth, traffic, deed, scope)
}
