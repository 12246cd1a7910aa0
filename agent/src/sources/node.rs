//! What the kernel counts of the node beside flows: files and netlink requests that cost nothing but reading. One file per
//! reader; each may fail alone.

mod files;

use std::time::{Duration, Instant};

use netcause_core::node::{Reader, Reading, Reason, pressure, softnet};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Time between the beginnings of two passes, which is that of the windows in which faults are looked for.
const INTERVAL: Duration = Duration::from_secs(5);
/// Passes take at most one in this many parts of a CPU's time.
const SHARE: u32 = 100;

/// The readers.
pub struct Readers {
    /// Which did not work in the last pass.
    down: Vec<(Reader, Reason)>,
}

impl Readers {
    /// Nothing is read as yet.
    #[must_use]
    pub fn new() -> Self {
        Self { down: Vec::new() }
    }

    /// One pass. Blocks the thread for milliseconds.
    pub fn read(&mut self) -> Reading {
        let began = Instant::now();
        let reading = Reading {
            softnet: files::parsed("/proc/net/softnet_stat", softnet::parse),
            cpu_waiting: files::parsed("/proc/pressure/cpu", pressure::parse),
            took: Duration::ZERO,
        };
        Reading { took: began.elapsed(), ..reading }
    }

    /// Logs which readers work no more, or again.
    fn log(&mut self, reading: &Reading) {
        let down: Vec<_> = reading.failures().map(|(reader, failure)| (reader, failure.reason)).collect();
        for (reader, failure) in
            reading.failures().filter(|(reader, failure)| !self.down.contains(&(*reader, failure.reason)))
        {
            let (reason, why, without) = (failure.reason.label(), &failure.message, reader.without());
            warn!(reader = reader.label(), reason, why, without, "reader of the node unavailable");
        }
        for (reader, _) in self.down.iter().filter(|(reader, _)| !down.iter().any(|(down, _)| down == reader))
        {
            info!(reader = reader.label(), "reader of the node works again");
        }
        self.down = down;
    }
}

/// Reads for ever, on a thread for what blocks, until nobody takes the readings.
pub async fn serve(mut readers: Readers, to: mpsc::Sender<Reading>) {
    let mut gap = INTERVAL;
    loop {
        tokio::time::sleep(gap).await;
        let pass = tokio::task::spawn_blocking(move || {
            let reading = readers.read();
            readers.log(&reading);
            (readers, reading)
        });
        // A panic ends the process; a runtime that ends takes this task along.
        let Ok((next, reading)) = pass.await else { return };
        readers = next;
        gap = INTERVAL.saturating_sub(reading.took).max(reading.took * SHARE);
        if to.send(reading).await.is_err() {
            return;
        }
    }
}
