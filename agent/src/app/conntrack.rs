//! Carries questions to the connection tracking, on a thread of their own: the kernel takes its time.

use netcause_core::enrich::conntrack::{Outcome, Pass};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::kernel::conntrack::carry_out;

/// Asks what comes, one after the other, until nobody asks or listens any more. The engine asks nothing before the last
/// answer, so that neither channel ever has more than one entry.
pub(super) async fn serve(mut passes: UnboundedReceiver<Pass>, outcomes: UnboundedSender<Outcome>) {
    while let Some(pass) = passes.recv().await {
        // A table of questions, which is small beside what the kernel sends: a copy in case the thread is lost.
        let copy = pass.clone();
        let outcome = tokio::task::spawn_blocking(|| carry_out(pass)).await;
        if outcomes.send(outcome.unwrap_or_else(|_| Outcome::lost(copy))).is_err() {
            return;
        }
    }
}
