//! Healthy look-alikes: what a person would not call a fault, and a rule might.

use super::{
    case::{Act, Deed, End, Traffic},
    draw::Draw,
    families::{Family, REAL, any, look_alike, lookups, real, requests, sound, transfers},
};

/// All of them.
pub(super) const FAMILIES: &[Family] = &[
    look_alike("healthy_bulk", bulk),
    look_alike("healthy_early_closers", early_closers),
    look_alike("healthy_health_checker", health_checker),
    look_alike("healthy_long_poll", long_poll),
    look_alike("healthy_idle", idle),
    look_alike("healthy_restart", restart),
    look_alike("healthy_bursts", bursts),
    look_alike("healthy_delay", delay),
    look_alike("healthy_low_loss", low_loss),
    look_alike("healthy_load_test", load_test),
    look_alike("healthy_slow_reader", slow_reader),
    look_alike("healthy_no_such_names", no_such_names),
    Family { v6: false, ..look_alike("healthy_real", real_servers) },
];

fn path(how: &str) -> Deed {
    Deed::Path(how.to_owned())
}

/// A transfer that fills a link with a queue of tens of milliseconds, and loses what any sender loses there.
fn bulk(draw: &mut Draw) -> Act {
    let is_upload = draw.percent(50);
    let traffic = Traffic { interval_ms: 20, fresh: false, timeout_ms: 0, ..transfers(draw, is_upload) };
    let rate = draw.one_of(&[1_500_000, 3_000_000]);
    let how = format!("both rate={rate} queue={}", rate * draw.number(20, 40) / 1_000);
    sound("healthy_bulk", traffic, path(&how))
}

fn early_closers(draw: &mut Draw) -> Act {
    let traffic = Traffic { early: draw.one_of(&[20, 50]), ..requests(draw) };
    sound("healthy_early_closers", traffic, Deed::Nothing)
}

/// It connects and resets, as load balancers do.
fn health_checker(draw: &mut Draw) -> Act {
    let traffic =
        Traffic { early: 100, send: 0, fresh: true, connections: 2, interval_ms: 500, ..requests(draw) };
    sound("healthy_health_checker", traffic, Deed::Nothing)
}

fn long_poll(draw: &mut Draw) -> Act {
    let traffic = Traffic { think_ms: draw.one_of(&[3_000, 8_000]), timeout_ms: 0, ..requests(draw) };
    sound("healthy_long_poll", traffic, Deed::Nothing)
}

/// Kept connections that are used once in a while.
fn idle(draw: &mut Draw) -> Act {
    let traffic =
        Traffic { fresh: false, interval_ms: draw.one_of(&[5_000, 20_000]), timeout_ms: 0, ..requests(draw) };
    sound("healthy_idle", traffic, Deed::Nothing)
}

/// A rolling restart: nobody listens for two or three seconds.
fn restart(draw: &mut Draw) -> Act {
    let traffic = requests(draw);
    sound("healthy_restart", traffic, Deed::Restart(draw.number(1_500, 3_000)))
}

/// New connections that begin with many segments at once, over a delay.
fn bursts(draw: &mut Draw) -> Act {
    let is_upload = draw.percent(50);
    let traffic = Traffic { fresh: true, interval_ms: 200, timeout_ms: 0, ..transfers(draw, is_upload) };
    let how = format!("both delay_ms=20 rate=8000000 queue={}", draw.number(200_000, 400_000));
    sound("healthy_bursts", traffic, path(&how))
}

/// An ordinary way between two sites, from now on.
fn delay(draw: &mut Draw) -> Act {
    let how = format!("both delay_ms={} jitter_ms=2", draw.number(10, 30));
    sound("healthy_delay", any(draw), path(&how))
}

/// Loss that nobody feels.
fn low_loss(draw: &mut Draw) -> Act {
    let how = format!("both lose={}", draw.one_of(&[0.0002, 0.0005]));
    sound("healthy_low_loss", any(draw), path(&how))
}

/// Five times the load.
fn load_test(draw: &mut Draw) -> Act {
    let traffic = requests(draw);
    let (on, off) = (traffic.interval_ms / 5, traffic.interval_ms);
    let deed = Deed::Program(End::Client, format!("interval_ms={on}"), format!("interval_ms={off}"));
    sound("healthy_load_test", traffic, deed)
}

/// A server that takes longer for long requests, always.
fn slow_reader(draw: &mut Draw) -> Act {
    let traffic = Traffic { think_ms: 400, timeout_ms: 0, ..transfers(draw, true) };
    sound("healthy_slow_reader", traffic, Deed::Nothing)
}

/// Names that do not exist are answers.
fn no_such_names(draw: &mut Draw) -> Act {
    let deed = Deed::Program(End::Server, "code=3".to_owned(), "code=0".to_owned());
    sound("healthy_no_such_names", lookups(draw), deed)
}

/// Servers that were not written for the lab, over an ordinary way.
fn real_servers(draw: &mut Draw) -> Act {
    sound("healthy_real", real(draw, &REAL), path("both delay_ms=3 jitter_ms=1"))
}
