//! Carries questions to the kernel, on a thread of its own while one is under way: the kernel takes its time.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use netcause_core::enrich::conntrack::{Conntrack, Outcome, Support};

use crate::kernel::conntrack::carry_out;

/// How soon a new question is asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// Asks what is to be asked, for ever. Times are since `began`; `with` gives the questions to what it is called with, and
/// is called for moments only.
pub async fn serve(began: Instant, with: impl Fn(&mut dyn FnMut(&mut Conntrack))) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut planned = None;
        with(&mut |conntrack| planned = conntrack.plan(began.elapsed()));
        let Some(pass) = planned else { continue };
        // A table of questions, which is small beside what the kernel sends: a copy for the case that the thread is lost.
        let copy = pass.clone();
        let outcome = tokio::task::spawn_blocking(|| carry_out(pass)).await;
        let mut outcome = Some(outcome.unwrap_or_else(|_| Outcome::lost(copy)));
        with(&mut |conntrack| {
            if let Some(outcome) = outcome.take()
                && conntrack.take(outcome, began.elapsed())
            {
                tell(conntrack.support());
            }
        });
    }
}

fn tell(support: &Support) {
    match support {
        Support::Yes => info!("conntrack available; resolving Service backends"),
        Support::No(failure) => {
            warn!(%failure, "services are not followed to their backends");
        }
        Support::Unknown => {}
    }
}
