//! The end of an export: what waits is sent, as far as that goes within a limit, and what is left is counted.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::Exports;

/// How long an agent that is asked to end goes on sending: half of the ten seconds that the manifest and the unit give it.
pub const FLUSH: Duration = Duration::from_secs(5);

/// Ends an export.
#[derive(Debug)]
pub struct Ending {
    exports: Exports,
    ask: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// What the export sees of it.
#[derive(Debug)]
pub struct Asked {
    asked: watch::Receiver<bool>,
    /// Dropped when the export has ended.
    _ended: oneshot::Sender<()>,
}

impl Ending {
    /// With the counts of what is sent.
    pub(super) fn new(exports: Exports) -> (Self, Asked) {
        let (ask, asked) = watch::channel(false);
        let (ended, end) = oneshot::channel();
        (Self { exports, ask, ended: end }, Asked { asked, _ended: ended })
    }

    /// Has the last metrics and all that waits sent, for `limit` at most. Who answers the export's questions must go on meanwhile.
    ///
    /// Returns each signal of which the collector has not taken everything, and how many items.
    pub async fn flush(self, limit: Duration) -> Vec<(&'static str, u64)> {
        // Without an export there is nothing to send.
        let _ = self.ask.send(true);
        // Its end is an error: the export has dropped its side.
        let _ = timeout(limit, self.ended).await;
        let left = self.exports.read().into_iter().map(|(signal, read)| (signal, read.waiting_items));
        left.filter(|(_, items)| *items > 0).collect()
    }
}

impl Asked {
    /// For one of the export's tasks.
    pub(super) fn receiver(&self) -> watch::Receiver<bool> {
        self.asked.clone()
    }
}

/// Waits until the export is to end, or nobody is left who could ask for it.
pub(super) async fn asked(receiver: &mut watch::Receiver<bool>) {
    drop(receiver.wait_for(|asked| *asked).await);
}

#[cfg(test)]
mod tests;
