//! The families of faults: how each is drawn, what it does, and what is right to say of it.

mod dns;
mod node;
mod path;
mod real;
mod rules;
mod server;
mod sidecar;

use super::{
    case::{Act, Deed, End, Protocol, Scope, Traffic, Truth},
    draw::Draw,
    healthy, served,
};

pub(super) use real::{REAL, first_request, real};

/// A family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) v6: bool,
    pub(super) may_have_second: bool,
    pub(super) draw: fn(&mut Draw) -> Act,
}

const fn family(name: &'static str, draw: fn(&mut Draw) -> Act) -> Family {
    Family { name, v6: true, may_have_second: true, draw }
}

/// A family whose rules or tools are of IPv4.
const fn v4(name: &'static str, draw: fn(&mut Draw) -> Act) -> Family {
    Family { name, v6: false, may_have_second: false, draw }
}

/// All families of faults.
pub(super) const FAMILIES: &[Family] = &[
    family("path_loss", path::path_loss),
    family("path_loss_back", path::path_loss_back),
    family("ack_loss", path::ack_loss),
    family("dead_path", path::dead_path),
    family("mtu_black_hole", path::mtu_black_hole),
    family("bufferbloat", path::bufferbloat),
    family("reordering", path::reordering),
    family("spurious_timeout", path::spurious_timeout),
    family("nat_idle_timeout", path::nat_idle_timeout),
    family("packet_corruption", path::packet_corruption),
    family("policy_drop", rules::policy_drop),
    family("policy_drop_far", rules::policy_drop_far),
    family("policy_reject", rules::policy_reject),
    family("connection_refused", server::connection_refused),
    family("slow_server", server::slow_server),
    family("hung_server", server::hung_server),
    family("half_open_peer", server::half_open_peer),
    family("stalled_server", server::stalled_server),
    family("stalled_client", server::stalled_client),
    family("slow_client", server::slow_client),
    family("slow_accept", server::slow_accept),
    family("accept_queue_overflow", server::accept_queue_overflow),
    v4("syn_flood", server::syn_flood),
    family("server_resets", server::server_resets),
    family("client_resets", server::client_resets),
    family("crash", server::crash),
    v4("local_ports_exhausted", server::local_ports_exhausted),
    v4("no_route", rules::no_route),
    v4("asymmetric_route", rules::asymmetric_route),
    v4("shaper_drop", rules::shaper_drop),
    v4("time_wait_reuse", node::time_wait_reuse),
    family("receiver_memory_pressure", server::receiver_memory_pressure),
    family("conntrack_full", node::conntrack_full),
    family("dns_nobody_listens", dns::dns_nobody_listens),
    family("dns_silent", dns::dns_silent),
    family("dns_slow", dns::dns_slow),
    family("dns_failures", dns::dns_failures),
    v4("dns_rule", dns::dns_rule),
    family("dns_search_amplification", dns::dns_search_amplification),
    family("dns_tcp_fallback_blocked", dns::dns_tcp_fallback_blocked),
    family("dns_dead_path", dns::dns_dead_path),
    v4("sidecar_fault", sidecar::sidecar_fault),
    v4("upstream_of_sidecar", sidecar::upstream_of_sidecar),
    v4("real_path_loss", real::real_path_loss),
    v4("real_dead_path", real::real_dead_path),
    v4("real_slow_server", real::real_slow_server),
    v4("real_server_ends", real::real_server_ends),
];

/// Families that may come second in a case.
pub(super) const SECOND: &[&str] = &["slow_server", "connection_refused", "stalled_server", "dns_slow"];

/// The family of this name, or the first one.
pub(super) fn find(name: &str) -> &'static Family {
    FAMILIES.iter().chain(healthy::FAMILIES).find(|family| family.name == name).unwrap_or(&FAMILIES[0])
}

/// The names of all families.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().chain(healthy::FAMILIES).map(|family| family.name)
}

const fn truth(causes: &'static [&'static str], sides: &'static [&'static str]) -> Truth {
    Truth { causes, sides, of_workload: false }
}

/// Requests and answers of a service: small, over kept or new connections.
pub(super) fn requests(draw: &mut Draw) -> Traffic {
    Traffic {
        connections: draw.number(2, 8),
        send: draw.number(50, 2_000),
        receive: draw.number(50, 8_000),
        interval_ms: draw.one_of(&[50, 100, 100, 200]),
        fresh: draw.percent(40),
        timeout_ms: draw.one_of(&[0, 0, 3_000, 10_000]),
        think_ms: draw.one_of(&[0, 0, 2, 10, 30]),
        ..served::small()
    }
}

/// Larger ones: uploads or downloads of 30 to 300 kB.
pub(super) fn transfers(draw: &mut Draw, is_upload: bool) -> Traffic {
    let bytes = draw.number(30_000, 300_000);
    let (send, receive) = if is_upload { (bytes, 100) } else { (100, bytes) };
    let connections = draw.number(2, 4);
    Traffic { send, receive, connections, interval_ms: draw.one_of(&[50, 100, 200]), ..requests(draw) }
}

/// Any of them.
pub(super) fn any(draw: &mut Draw) -> Traffic {
    match draw.number(0, 3) {
        0 => transfers(draw, true),
        1 => transfers(draw, false),
        _ => requests(draw),
    }
}

pub(super) fn lookups(draw: &mut Draw) -> Traffic {
    Traffic {
        kind: Protocol::Dns,
        connections: draw.number(2, 6),
        interval_ms: draw.one_of(&[100, 200, 400]),
        ..requests(draw)
    }
}

fn act(name: &'static str, truth: Truth, traffic: Traffic, deed: Deed, scope: Scope) -> Act {
    let severity = match &deed {
        Deed::Path(how) | Deed::Forget(how) | Deed::Program(_, how, _) | Deed::Rule(_, _, how) => how.clone(),
        Deed::Commands(_, on, _) => on.join("; "),
        other => format!("{other:?}"),
    };
    Act { name, truth, traffic, severity, deed, scope }
}

/// Sides.
const PATH: &[&str] = &["path"];
const SERVER: &[&str] = &["server"];

fn on_path(draw: &mut Draw, name: &'static str, truth: Truth, traffic: Traffic, how: &str) -> Act {
    let (how, scope) = if draw.percent(50) {
        (format!("{how} only=SERVER"), Scope::PathToServer)
    } else {
        (how.to_owned(), Scope::Path)
    };
    act(name, truth, traffic, Deed::Path(how), scope)
}

fn program(
    name: &'static str,
    truth: Truth,
    traffic: Traffic,
    (end, on, off): (End, String, &str),
    scope: Scope,
) -> Act {
    act(name, truth, traffic, Deed::Program(end, on, off.to_owned()), scope)
}

/// A look-alike, which is healthy.
pub(super) fn sound(name: &'static str, traffic: Traffic, deed: Deed) -> Act {
    act(name, truth(&[], &[]), traffic, deed, Scope::Pair)
}

pub(super) const fn look_alike(name: &'static str, draw: fn(&mut Draw) -> Act) -> Family {
    Family { name, v6: true, may_have_second: false, draw }
}
