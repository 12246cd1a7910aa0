//! Servers that were not written for the lab: what is wrong with them, or the path to them.

use super::{PATH, SERVER, act, on_path, requests, truth};
use crate::faults::{
    case::{Act, Deed, End, Protocol, Scope, Traffic},
    draw::Draw,
};

/// A server that was not written for the lab, and its clients.
pub(in crate::faults) fn real(draw: &mut Draw, kinds: &[Protocol]) -> Traffic {
    Traffic {
        kind: draw.one_of(kinds),
        connections: draw.number(2, 6),
        interval_ms: draw.one_of(&[30, 60, 100]),
        fresh: false,
        ..requests(draw)
    }
}

pub(in crate::faults) const REAL: [Protocol; 4] =
    [Protocol::Nginx, Protocol::Haproxy, Protocol::Redis, Protocol::Postgres];

pub(super) fn real_path_loss(draw: &mut Draw) -> Act {
    let traffic = real(draw, &REAL);
    let how = format!("both lose={}", draw.one_of(&[0.05, 0.1]));
    on_path(draw, "real_path_loss", truth(&["path_loss"], PATH), traffic, &how)
}

pub(super) fn real_dead_path(draw: &mut Draw) -> Act {
    let traffic = real(draw, &REAL);
    on_path(draw, "real_dead_path", truth(&["dead_path"], PATH), traffic, "both lose=1")
}

pub(super) fn real_slow_server(draw: &mut Draw) -> Act {
    let traffic = real(draw, &[Protocol::Redis, Protocol::Postgres]);
    let request = match traffic.kind {
        Protocol::Redis => "DEBUG SLEEP 0.5",
        _ => "select pg_sleep(1.2)",
    };
    let deed = Deed::Program(End::Client, request.to_owned(), first_request(traffic.kind).to_owned());
    // Redis serves one client after the other.
    let scope = if traffic.kind == Protocol::Redis { Scope::Server } else { Scope::Pair };
    act("real_slow_server", truth(&["slow_server"], SERVER), traffic, deed, scope)
}

pub(super) fn real_server_ends(draw: &mut Draw) -> Act {
    let traffic = real(draw, &REAL);
    let truth = truth(&["connection_refused", "peer_crash", "application_abort"], SERVER);
    act("real_server_ends", truth, traffic, Deed::Kill, Scope::Server)
}

/// What clients of such a server ask at first.
pub(in crate::faults) const fn first_request(kind: Protocol) -> &'static str {
    match kind {
        Protocol::Redis => "PING",
        Protocol::Postgres => "select 1",
        _ => "/",
    }
}
