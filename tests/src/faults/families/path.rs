//! Faults of the path between the nodes.

use super::{PATH, act, any, on_path, requests, transfers, truth};
use crate::faults::{
    case::{Act, Deed, Scope, Traffic, Truth},
    draw::Draw,
};

pub(super) fn path_loss(draw: &mut Draw) -> Act {
    let traffic = any(draw);
    let direction = if traffic.receive > 20_000 { "back" } else { "forward" };
    let direction = draw.one_of(&["both", direction]);
    let how = format!("{direction} lose={}", draw.one_of(&[0.02, 0.03, 0.05, 0.1, 0.2]));
    on_path(draw, "path_loss", truth(&["path_loss"], PATH), traffic, &how)
}

/// Lost are answers.
pub(super) fn path_loss_back(draw: &mut Draw) -> Act {
    let traffic = if draw.percent(50) { transfers(draw, false) } else { requests(draw) };
    let how = format!("back lose={}", draw.one_of(&[0.03, 0.05, 0.1]));
    on_path(draw, "path_loss_back", truth(&["path_loss"], PATH), traffic, &how)
}

/// Lost are acknowledgements, answers and SYN-ACKs: some of it is loss of data.
pub(super) fn ack_loss(draw: &mut Draw) -> Act {
    let traffic = Traffic { send: draw.number(500, 6_000), receive: 20, ..requests(draw) };
    let how = format!("back lose={}", draw.one_of(&[0.3, 0.5, 0.6]));
    on_path(draw, "ack_loss", truth(&["ack_loss", "path_loss"], PATH), traffic, &how)
}

pub(super) fn dead_path(draw: &mut Draw) -> Act {
    let traffic = any(draw);
    let how = format!("{} lose=1", draw.one_of(&["both", "both", "forward", "back"]));
    on_path(draw, "dead_path", truth(&["dead_path"], PATH), traffic, &how)
}

pub(super) fn mtu_black_hole(draw: &mut Draw) -> Act {
    let is_upload = draw.percent(50);
    let traffic = transfers(draw, is_upload);
    let how = format!("both mtu={}", draw.one_of(&[1280, 1400, 1420, 1450]));
    on_path(draw, "mtu_black_hole", truth(&["mtu_black_hole"], PATH), traffic, &how)
}

/// A slow link with a deep queue, and clients that fill it.
pub(super) fn bufferbloat(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        // A few megabytes a second.
        interval_ms: 50,
        send: draw.number(20_000, 60_000),
        connections: draw.number(2, 4),
        fresh: false,
        timeout_ms: 0,
        second_port: true,
        ..transfers(draw, true)
    };
    let rate = draw.one_of(&[150_000, 300_000, 600_000]);
    let how = format!("forward rate={rate} queue={}", rate * draw.number(4, 10) / 10);
    on_path(draw, "bufferbloat", truth(&["bufferbloat", "bottleneck_full"], PATH), traffic, &how)
}

pub(super) fn reordering(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: false, ..transfers(draw, true) };
    let how = format!("forward delay_ms={} reorder={}", draw.number(5, 20), draw.one_of(&[0.05, 0.1, 0.2]));
    on_path(draw, "reordering", truth(&["reordering"], PATH), traffic, &how)
}

pub(super) fn nat_idle_timeout(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: false,
        connections: draw.number(4, 8),
        timeout_ms: draw.one_of(&[8_000, 15_000]),
        second_port: true,
        ..requests(draw)
    };
    let how = format!("both forget_ms={}", draw.one_of(&[10_000, 20_000, 30_000]));
    act("nat_idle_timeout", truth(&["nat_idle_timeout"], PATH), traffic, Deed::Forget(how), Scope::Pair)
}

pub(super) fn packet_corruption(draw: &mut Draw) -> Act {
    let traffic = transfers(draw, true);
    let how = format!("forward corrupt={}", draw.one_of(&[0.02, 0.05, 0.1]));
    let truth = Truth { causes: &["packet_corruption"], sides: PATH, of_workload: true };
    on_path(draw, "packet_corruption", truth, traffic, &how)
}

/// A path that stands still for a second now and then, as that to a machine that is moved does: what was sent arrives, after the
/// timeout.
pub(super) fn spurious_timeout(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: false, timeout_ms: 0, ..any(draw) };
    let (still, between) = (draw.number(600, 1_500), draw.number(3, 5));
    let direction = draw.one_of(&["both", "back"]);
    let only = draw.percent(50);
    let how = |delay: String| format!("{direction}{delay}{}", if only { " only=SERVER" } else { "" });
    let turns = vec![(1, how(format!(" delay_ms={still}"))), (between, how(String::new()))];
    let scope = if only { Scope::PathToServer } else { Scope::Path };
    act("spurious_timeout", truth(&["spurious_timeout"], PATH), traffic, Deed::Turns(turns), scope)
}
