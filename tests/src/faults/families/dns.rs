//! Faults of DNS servers.

use super::{PATH, act, lookups, program, truth};
use crate::faults::{
    case::{Act, Deed, End, Scope},
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
