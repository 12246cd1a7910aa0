//! Faults of a client's sidecar, and of what is behind it.

use super::{SERVER, act, program, requests, truth};
use crate::faults::{
    case::{Act, Blow, Deed, End, Proxy, Scope, Traffic},
    draw::Draw,
};

fn through_sidecar(draw: &mut Draw) -> Traffic {
    Traffic { sidecar: Some(draw.one_of(&[Proxy::Relay, Proxy::Haproxy])), ..requests(draw) }
}

/// It stands still, as one without CPU or in a deadlock, or is gone.
pub(super) fn sidecar_fault(draw: &mut Draw) -> Act {
    let blow = draw.one_of(&[Blow::Stop, Blow::Stop, Blow::Kill]);
    let traffic = through_sidecar(draw);
    act("sidecar_fault", truth(&["sidecar_fault"], &["client"]), traffic, Deed::Sidecar(blow), Scope::Pair)
}

/// The server behind it is slow.
pub(super) fn upstream_of_sidecar(draw: &mut Draw) -> Act {
    let traffic = Traffic { timeout_ms: draw.one_of(&[0, 0, 10_000]), ..through_sidecar(draw) };
    let think = draw.one_of(&[700, 1_500, 2_500, 600_000]);
    let line = (End::Server, format!("think_ms={think}"), "think_ms=5");
    let truth = truth(&["upstream_of_sidecar", "slow_server"], SERVER);
    program("upstream_of_sidecar", truth, traffic, line, Scope::Server)
}
