//! What the kernel counts of the node beside flows: files and netlink requests that cost nothing but reading. One file per
//! reader; each may fail alone.

mod arp;
mod changes;
mod conntrack;
mod files;
mod namespaces;
mod netstat;
mod rtnetlink;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use netcause_core::node::netstat::Parser;
use netcause_core::node::{Reader, Reading, Reason, pressure, softnet};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Passes take at most one in this many parts of a CPU's time.
const SHARE: u32 = 100;

/// The readers.
pub struct Readers {
    namespaces: namespaces::Namespaces,
    parser: Parser,
    changes: changes::Listener,
    /// Which did not work in the last pass.
    down: Vec<(Reader, Reason)>,
}

impl Readers {
    /// Nothing is read as yet. Network namespaces of pods are found by the cgroups at this mount of cgroup v2.
    #[must_use]
    pub fn new(cgroup_root: Option<PathBuf>) -> Self {
        Self {
            namespaces: namespaces::Namespaces::new(cgroup_root),
            parser: Parser::default(),
            changes: changes::Listener::new(),
            down: Vec::new(),
        }
    }

    /// One pass. Blocks the thread for milliseconds.
    pub fn read(&mut self) -> Reading {
        let began = Instant::now();
        let namespaces = self.namespaces.find();
        let reading = Reading {
            softnet: files::parsed("/proc/net/softnet_stat", softnet::parse),
            cpu_waiting: files::parsed("/proc/pressure/cpu", pressure::parse),
            netstat: netstat::read(&self.parser, &namespaces),
            conntrack: conntrack::read(&namespaces),
            links: rtnetlink::links(),
            qdiscs: rtnetlink::qdiscs(),
            neighbours: rtnetlink::tables()
                .and_then(|tables| rtnetlink::neighbours().map(|neighbours| (tables, neighbours))),
            arp: arp::read(&namespaces),
            changes: self.changes.read(),
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

/// Reads at this interval for ever, on a thread for what blocks, until nobody takes the readings.
pub async fn serve(mut readers: Readers, interval: Duration, to: mpsc::Sender<Reading>) {
    let mut gap = interval;
    loop {
        tokio::time::sleep(gap).await;
        let pass = tokio::task::spawn_blocking(move || {
            let began = clock_gettime(ClockId::ThreadCPUTime);
            let reading = readers.read();
            let used = clock_gettime(ClockId::ThreadCPUTime) - began;
            readers.log(&reading);
            (readers, reading, Duration::try_from(used).unwrap_or_default())
        });
        // A panic ends the process; a runtime that ends takes this task along.
        let Ok((next, reading, used)) = pass.await else { return };
        readers = next;
        // What a pass costs is what it computes, and not how long it waits for a CPU: it is on a busy node that it is needed.
        gap = interval.saturating_sub(reading.took).max(used * SHARE);
        if to.send(reading).await.is_err() {
            return;
        }
    }
}
