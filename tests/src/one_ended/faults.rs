//! The cases: what is well, what goes wrong, and what each end may say of it.
//!
//! A truth lists what an agent may name. An end that a fault leaves no trace at may be silent; a fault that looks the same as
//! another one from an end is still judged by what it is.

use std::time::Duration;

use anyhow::Result;

use super::{
    cases::Case,
    stage::{End, Stage},
    verdict::Truth,
};

/// Enough for an agent to know what is usual.
const WELL: Duration = Duration::from_secs(40);
/// Where nothing is compared with before.
const BRIEF: Duration = Duration::from_secs(10);

const PORT: u16 = 8080;
/// A rule that drops connects to it.
const SYNS: &str = "tcp dport 8080 tcp flags & (syn | ack) == syn drop";

/// This end must name one of these.
const fn sees(right: &'static [&'static str]) -> Truth {
    Truth { right, may_be_silent: false }
}

/// This end may name one of these, or say nothing.
const fn may_see(right: &'static [&'static str]) -> Truth {
    Truth { right, may_be_silent: true }
}

fn nothing(_: &mut Stage) -> Result<Vec<String>> {
    Ok(Vec::new())
}

/// Uploads to a sink.
fn uploads(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(PORT, "server --mode sink")?;
    stage.connect(PORT, "--count 1000000 --parallel 2 --send 100000 --interval-ms 100")?;
    Ok(vec![server])
}

/// The same, and small requests to another port.
fn uploads_beside(stage: &mut Stage) -> Result<Vec<String>> {
    stage.serve(PORT + 1, "server --mode echo")?;
    stage.requests(PORT + 1, 2, 100, 200)?;
    uploads(stage)
}

/// Downloads from a source.
fn downloads(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(PORT, "server --mode source --bytes 100000")?;
    stage.connect(PORT, "--count 1000000 --parallel 2 --receive 100000 --interval-ms 100")?;
    Ok(vec![server])
}

/// Requests whose answers are as large as they are, over kept connections.
fn large_requests(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(PORT, "server --mode echo")?;
    stage.requests(PORT, 4, 30_000, 200)?;
    Ok(vec![server])
}

/// Requests over kept connections.
fn requests(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(PORT, "server --mode echo")?;
    stage.requests(PORT, 4, 200, 20)?;
    Ok(vec![server])
}

/// A connection for each request.
fn connections(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(PORT, "server --mode echo")?;
    connects(stage)?;
    Ok(vec![server])
}

/// The same, and another port of the server that goes on answering.
fn connections_beside(stage: &mut Stage) -> Result<Vec<String>> {
    stage.serve(PORT + 1, "server --mode echo")?;
    stage.requests(PORT + 1, 2, 100, 200)?;
    connections(stage)
}

fn connects(stage: &mut Stage) -> Result<String> {
    stage.connect(
        PORT,
        "--count 1000000 --parallel 8 --send 100 --receive 100 --interval-ms 400 --connect-timeout-ms 3000",
    )
}

fn queries(stage: &mut Stage) -> Result<Vec<String>> {
    let server = stage.serve(53, "dns-answer")?;
    stage.queries(4)?;
    Ok(vec![server])
}

/// Everything at once, and nothing wrong with it.
fn everything(stage: &mut Stage) -> Result<Vec<String>> {
    uploads(stage)?;
    stage.serve(PORT + 1, "server --mode echo --think-ms 30")?;
    stage.requests(PORT + 1, 4, 200, 50)?;
    stage.serve(PORT + 2, "server --mode push --think-ms 1500")?;
    stage.connect(PORT + 2, "--send 64 --receive 1000000")?;
    stage.serve(PORT + 3, "server --mode echo --think-ms 8000")?;
    stage.connect(PORT + 3, "--count 1000000 --parallel 2 --send 100 --receive 100")?;
    queries(stage)
}

/// All cases.
#[must_use]
pub(super) fn all() -> Vec<Case> {
    let case = |name, before, fault, truth| Case { name, delay_ms: 5, well: WELL, before, fault, truth };
    let mut cases = on_the_path(&case);
    cases.extend(at_the_server(&case));
    cases.extend(of_dns(&case));
    cases
}

type Before = fn(&mut Stage) -> Result<Vec<String>>;
type Fault = fn(&mut Stage, &[String]) -> Result<()>;

fn on_the_path(case: &dyn Fn(&'static str, Before, Fault, [Truth; 2]) -> Case) -> Vec<Case> {
    let loss = &["path_loss/path"];
    let hole = &["mtu_black_hole/path"];
    let lossy = &["path_loss/path", "ack_loss/path", "dead_path/path"];
    vec![
        Case {
            delay_ms: 15,
            ..case("healthy-delay", everything, |_, _| Ok(()), [may_see(&[]), may_see(&[])])
        },
        case(
            "loss-forward",
            uploads,
            |stage, _| stage.treat("forward lose=0.03"),
            [sees(loss), may_see(loss)],
        ),
        case("loss-back", downloads, |stage, _| stage.treat("back lose=0.03"), [may_see(loss), sees(loss)]),
        case("loss-both", requests, |stage, _| stage.treat("both lose=0.05"), [sees(loss), sees(loss)]),
        case(
            "dead-path",
            requests,
            |stage, _| stage.treat("both lose=1"),
            [sees(&["dead_path/path"]), may_see(&["dead_path/path"])],
        ),
        case(
            "dead-back",
            requests,
            |stage, _| stage.treat("back lose=1"),
            [sees(&["dead_path/path"]), may_see(lossy)],
        ),
        case(
            "mtu-forward",
            uploads_beside,
            |stage, _| stage.treat("both mtu=1400"),
            [sees(hole), may_see(hole)],
        ),
        case("mtu-back", downloads, |stage, _| stage.treat("back mtu=1400"), [may_see(hole), sees(hole)]),
        // The client's requests arrive and are acknowledged; the answers do not.
        case(
            "mtu-answers",
            large_requests,
            |stage, _| stage.treat("back mtu=1400"),
            [may_see(hole), sees(hole)],
        ),
        case(
            "long-path",
            requests,
            |stage, _| stage.treat("both delay_ms=200"),
            [may_see(&["bufferbloat/path"]), may_see(&["bufferbloat/path"])],
        ),
        case(
            "reordering",
            uploads,
            |stage, _| stage.treat("forward reorder=0.05"),
            [sees(&["reordering/path"]), may_see(&["reordering/path"])],
        ),
    ]
}

fn at_the_server(case: &dyn Fn(&'static str, Before, Fault, [Truth; 2]) -> Case) -> Vec<Case> {
    let refused = &["connection_refused/server"];
    let rule = &["policy_drop/policy"];
    let slow = &["slow_server/server"];
    let stalled = &["receiver_stalled/server"];
    let full = &["accept_queue_overflow/server"];
    let abort = &["application_abort/server"];
    let deaf = &["receiver_stalled/client", "slow_client/client"];
    vec![
        case(
            "refused",
            connections,
            |stage, was| stage.stop(End::B, &was[0]),
            [sees(refused), may_see(refused)],
        ),
        case("policy-drop", connections_beside, |stage, _| stage.rule(SYNS), [sees(rule), sees(rule)]),
        case("policy-drop-alone", connections, |stage, _| stage.rule(SYNS), [sees(rule), sees(rule)]),
        case(
            "slow-server",
            |stage| {
                let server = stage.serve(PORT, "server --mode echo --quick 250 --think-ms 1500")?;
                stage.requests(PORT, 4, 100, 100)?;
                Ok(vec![server])
            },
            |_, _| Ok(()),
            [sees(slow), sees(slow)],
        ),
        Case {
            well: BRIEF,
            ..case(
                "stalled-server",
                nothing,
                |stage, _| {
                    stage.serve(PORT, "server --mode never-read")?;
                    stage.connect(PORT, "--parallel 2 --count 2 --send 50000000").map(drop)
                },
                [sees(stalled), sees(stalled)],
            )
        },
        Case {
            well: BRIEF,
            ..case(
                "stalled-client",
                nothing,
                |stage, _| {
                    let server = "server --mode source --bytes 50000000";
                    stage.serve(PORT, server)?;
                    // Asks nothing, reads nothing.
                    stage.connect(PORT, "--hold --count 2").map(drop)
                },
                [sees(deaf), sees(deaf)],
            )
        },
        case(
            "accept-queue",
            connections_beside,
            |stage, was| {
                stage.stop(End::B, &was[0])?;
                stage.serve(PORT, "server --mode never-accept --backlog 4").map(drop)
            },
            [sees(full), sees(full)],
        ),
        case(
            "aborts",
            connections,
            |stage, was| {
                stage.stop(End::B, &was[0])?;
                stage.serve(PORT, "server --mode reset-after-read").map(drop)
            },
            [sees(abort), sees(abort)],
        ),
    ]
}

fn of_dns(case: &dyn Fn(&'static str, Before, Fault, [Truth; 2]) -> Case) -> Vec<Case> {
    let slow = &["dns_server_slow/dns"];
    let down = &["dns_server_down/dns"];
    vec![
        case(
            "dns-slow",
            queries,
            |stage, was| {
                stage.stop(End::B, &was[0])?;
                stage.serve(53, "dns-answer --delay-ms 900").map(drop)
            },
            [sees(slow), may_see(slow)],
        ),
        case(
            "dns-silent",
            queries,
            |stage, was| {
                stage.stop(End::B, &was[0])?;
                stage.serve(53, "udp-server --mode sink").map(drop)
            },
            [sees(down), may_see(down)],
        ),
        case("dns-down", queries, |stage, was| stage.stop(End::B, &was[0]), [sees(down), may_see(down)]),
    ]
}
