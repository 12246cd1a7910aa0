//! Faults of applications: of servers and of clients.

use super::{SERVER, act, program, requests, transfers, truth};
use crate::faults::{
    case::{Act, Deed, End, Scope, Traffic, Truth},
    draw::Draw,
};

pub(super) fn connection_refused(draw: &mut Draw) -> Act {
    let line = (End::Server, "listen=0".to_owned(), "listen=1");
    let truth = truth(&["connection_refused", "application_abort", "peer_crash"], SERVER);
    program("connection_refused", truth, requests(draw), line, Scope::Server)
}

pub(super) fn slow_server(draw: &mut Draw) -> Act {
    let traffic = Traffic { timeout_ms: draw.one_of(&[0, 0, 10_000]), ..requests(draw) };
    let think = draw.one_of(&[700, 1_000, 1_500, 2_500]);
    let line = (End::Server, format!("think_ms={think}"), "think_ms=5");
    program("slow_server", truth(&["slow_server"], SERVER), traffic, line, Scope::Server)
}

/// It answers nothing any more, as one that waits for a lock.
pub(super) fn hung_server(draw: &mut Draw) -> Act {
    let traffic = Traffic { timeout_ms: draw.one_of(&[0, 5_000]), fresh: draw.percent(30), ..requests(draw) };
    let line = (End::Server, "think_ms=600000".to_owned(), "think_ms=5");
    program("hung_server", truth(&["slow_server"], SERVER), traffic, line, Scope::Server)
}

pub(super) fn stalled_server(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: false,
        timeout_ms: 0,
        send: draw.number(1_000_000, 4_000_000),
        ..transfers(draw, true)
    };
    // A client with small requests sees that it gets no answer.
    let truth = truth(&["receiver_stalled", "slow_server"], SERVER);
    program("stalled_server", truth, traffic, (End::Server, "stall=1".to_owned(), "stall=0"), Scope::Server)
}

pub(super) fn stalled_client(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: false,
        timeout_ms: 0,
        receive: draw.number(4_000_000, 8_000_000),
        ..transfers(draw, false)
    };
    let truth = truth(&["receiver_stalled"], &["client"]);
    program("stalled_client", truth, traffic, (End::Client, "stall=1".to_owned(), "stall=0"), Scope::Pair)
}

pub(super) fn accept_queue_overflow(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: true,
        backlog: draw.one_of(&[4, 16, 64]),
        connections: draw.number(6, 12),
        ..requests(draw)
    };
    // What fills the queue has to be more than it holds: clients that give up and try again.
    let traffic = Traffic { timeout_ms: 1_000, ..traffic };
    let truth = truth(&["accept_queue_overflow"], SERVER);
    program(
        "accept_queue_overflow",
        truth,
        traffic,
        (End::Server, "accept=0".to_owned(), "accept=1"),
        Scope::Server,
    )
}

pub(super) fn syn_flood(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, backlog: draw.one_of(&[16, 64, 128]), ..requests(draw) };
    act("syn_flood", truth(&["syn_flood"], SERVER), traffic, Deed::Flood, Scope::Server)
}

pub(super) fn server_resets(draw: &mut Draw) -> Act {
    let share = draw.one_of(&[0.3, 0.6, 0.9]);
    let truth = truth(&["application_abort", "peer_crash"], SERVER);
    program(
        "server_resets",
        truth,
        requests(draw),
        (End::Server, format!("reset={share}"), "reset=0"),
        Scope::Server,
    )
}

pub(super) fn client_resets(draw: &mut Draw) -> Act {
    let share = draw.one_of(&[0.4, 0.7, 1.0]);
    let truth = truth(&["application_abort"], &["client"]);
    program(
        "client_resets",
        truth,
        requests(draw),
        (End::Client, format!("early={share}"), "early=0"),
        Scope::Pair,
    )
}

/// It is killed with many connections, and does not come back at once.
pub(super) fn crash(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: false, connections: draw.number(8, 20), ..requests(draw) };
    let truth = truth(&["peer_crash", "connection_refused", "application_abort"], SERVER);
    act("crash", truth, traffic, Deed::Kill, Scope::Server)
}

pub(super) fn local_ports_exhausted(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, ..requests(draw) };
    let on = format!("sysctl net/ipv4/ip_local_port_range=40000 {}", 40_000 + draw.number(5, 40));
    let off = "sysctl net/ipv4/ip_local_port_range=32768 60999".to_owned();
    let truth = truth(&["local_ports_exhausted"], &["client"]);
    act(
        "local_ports_exhausted",
        truth,
        traffic,
        Deed::Commands(End::Client, vec![on], vec![off]),
        Scope::Pair,
    )
}

/// Its machine is gone, and nothing says so: keep-alives, or the limit of what is not acknowledged, end connections. Until then, and
/// for new ones, a path that is dead looks the same from the client.
pub(super) fn half_open_peer(draw: &mut Draw) -> Act {
    let idle = draw.percent(50);
    let traffic = Traffic {
        fresh: false,
        connections: draw.number(4, 12),
        interval_ms: if idle { draw.number(10_000, 30_000) } else { draw.number(50, 300) },
        timeout_ms: 0,
        keepalive_s: if idle { draw.number(2, 6) } else { 0 },
        user_timeout_ms: if idle { 0 } else { draw.number(3_000, 10_000) },
        ..requests(draw)
    };
    let truth = truth(&["half_open_peer", "dead_path"], &["server", "path"]);
    act("half_open_peer", truth, traffic, Deed::Vanish, Scope::PathToServer)
}

/// It reads its answers slower than they are sent, and goes on.
pub(super) fn slow_client(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: false,
        timeout_ms: 0,
        receive: draw.number(1_000_000, 4_000_000),
        ..transfers(draw, false)
    };
    let rate = draw.one_of(&[50_000, 100_000, 200_000, 400_000]);
    let truth = truth(&["slow_client", "receiver_stalled"], &["client"]);
    program(
        "slow_client",
        truth,
        traffic,
        (End::Client, format!("read_rate={rate}"), "read_rate=0"),
        Scope::Pair,
    )
}

/// It takes one connection after the other, slower than clients ask for them; its queue has room for all of them.
pub(super) fn slow_accept(draw: &mut Draw) -> Act {
    let connections = draw.number(8, 24);
    let traffic = Traffic {
        fresh: true,
        connections,
        backlog: connections * draw.number(115, 160) / 100,
        timeout_ms: 0,
        ..requests(draw)
    };
    let line = (End::Server, format!("accept_ms={}", draw.one_of(&[100, 200, 400])), "accept_ms=0");
    program("slow_accept", truth(&["slow_accept"], SERVER), traffic, line, Scope::Server)
}

/// Connections lose the memory for what they have said they take: what arrives is dropped, and sent again.
pub(super) fn receiver_memory_pressure(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: false, timeout_ms: 0, ..transfers(draw, true) };
    let line = (End::Server, format!("squeeze={}", draw.number(2_000, 8_000)), "squeeze=0");
    let truth = Truth { causes: &["receiver_memory_pressure"], sides: SERVER, of_workload: true };
    program("receiver_memory_pressure", truth, traffic, line, Scope::Server)
}
