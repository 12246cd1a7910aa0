//! How a case runs: healthy first, then what goes wrong, then its end; and what was said of it meanwhile.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use super::{
    case::Case,
    judge::{self, Said, Times, Verdict},
    stage::Stage,
    watch::Watch,
};

/// A fault lasts so long at least, so that wrong findings beside the right one are seen, and at most.
const LASTS: [Duration; 2] = [Duration::from_secs(35), Duration::from_secs(60)];
/// A healthy case is watched for so long.
const HEALTHY: Duration = Duration::from_secs(75);
/// Findings have so long to end.
const ENDS: Duration = Duration::from_secs(60);

/// A case that has run.
pub(super) struct Outcome {
    pub(super) case: Case,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) said: Vec<Said>,
    /// When the fault began, and when it ended, in seconds since 1970: where to look in a recording.
    pub(super) at: [u64; 2],
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

static NETWORK: AtomicU8 = AtomicU8::new(0);

/// The next network's number, from 1 on.
fn network() -> u8 {
    NETWORK.fetch_add(1, Ordering::Relaxed) % 250 + 1
}

/// Runs a case.
pub(super) fn run(case: Case, watch: &Watch) -> Result<Outcome> {
    let network = network();
    let mut stage = Stage::new(&format!("fault{network}-{}", case.seed), network, &case)?;
    let pairs = stage.pairs();
    let names = stage.workloads();
    let truths: Vec<_> = case.acts.iter().map(|act| act.truth).collect();
    let began = Instant::now();
    let seconds = || began.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(case.healthy));
    stage.prepare()?;
    let mut times = Times { began: seconds(), ended: f64::INFINITY };
    let began_at = wall();
    stage.begin()?;
    let started = Instant::now();
    let [least, most] = if case.is_healthy() { [HEALTHY; 2] } else { LASTS };
    loop {
        stage.go_on()?;
        thread::sleep(Duration::from_secs(1));
        let (verdicts, _) = judge::judge(&truths, &pairs, &watch.since(began, &names), times);
        let are_named = verdicts.iter().all(|verdict| verdict.named.is_some());
        if started.elapsed() >= if are_named { least } else { most } {
            break;
        }
    }
    times.ended = seconds();
    let at = [began_at, wall()];
    stage.end()?;
    let ended = Instant::now();
    while !case.is_healthy() && ended.elapsed() < ENDS {
        thread::sleep(Duration::from_secs(1));
        let looks = watch.since(began, &names);
        if looks.last().is_some_and(|look| look.active.is_empty()) {
            break;
        }
    }
    let (verdicts, said) = judge::judge(&truths, &pairs, &watch.since(began, &names), times);
    Ok(Outcome { case, verdicts, said, at })
}
