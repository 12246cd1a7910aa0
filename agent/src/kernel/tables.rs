//! Reading what the programs have counted.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use netcause_common::flow::{FlowCounters, FlowKey};
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;
use tokio::io::unix::AsyncFd;

use super::load::{Loaded, Options};

/// The running kernel side, as the rest of the agent sees it.
pub struct Kernel {
    loaded: Loaded,
    options: Options,
    flows: HashMap<MapData, FlowKey, FlowCounters>,
    spare_flows: HashMap<MapData, FlowKey, FlowCounters>,
    statistics: PerCpuArray<MapData, u64>,
}

/// How full a table is.
#[derive(Clone, Copy, Debug)]
pub struct Fullness {
    /// Its name, as in the configuration.
    pub map: &'static str,
    /// Entries now.
    pub entries: u64,
    /// Entries it can hold.
    pub limit: u64,
}

/// What the kernel keeps of a program; time and runs are zero unless `kernel.bpf_stats_enabled` is set.
#[derive(Clone, Copy, Debug)]
pub struct ProgramCost {
    /// The program.
    pub program: &'static str,
    /// Time in it.
    pub run_time: Duration,
    /// Times it ran.
    pub runs: u64,
    /// Times the kernel skipped it because it was running already on the same CPU; counted always, from 5.12 on.
    pub skipped: u64,
}

/// What the kernel side says of itself.
#[derive(Clone, Debug, Default)]
pub struct KernelStatistics {
    /// Updates of flows that found no room of their own.
    pub flows_folded: u64,
    /// Sockets that could not be remembered.
    pub sockets_refused: u64,
    /// Connections of clients without latency, or without their failure.
    pub connections_missed: u64,
    /// New flows that were not announced.
    pub flows_unannounced: u64,
    /// Sockets remembered now.
    pub sockets: u64,
    /// Detail events lost to a full ring, by probe in the order of [`ProbeId`].
    pub events_lost: Vec<u64>,
}

impl Kernel {
    /// Takes over a loaded object.
    ///
    /// # Errors
    ///
    /// When it lacks a map: the object and this daemon are not of one build.
    pub fn new(mut loaded: Loaded, options: Options) -> Result<(Self, Events)> {
        let flows = take(&mut loaded, "FLOWS")?.try_into()?;
        let spare_flows = take(&mut loaded, "FLOWS_SPARE")?.try_into()?;
        let statistics = take(&mut loaded, "STATISTIC")?.try_into()?;
        let ring = RingBuf::try_from(take(&mut loaded, "EVENTS")?)?;
        Ok((Self { loaded, options, flows, spare_flows, statistics }, Events { ring }))
    }

    /// Every probe and whether it runs.
    pub fn probes(&self) -> &[super::ProbeState] {
        &self.loaded.probes
    }

    /// All flows and their totals; a flow may come twice, with a part each. An entry that vanishes while it is read is passed over.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the table.
    pub fn flows(&self) -> Result<Vec<(FlowKey, FlowCounters)>> {
        let mut flows = Vec::new();
        for entry in self.flows.iter().chain(self.spare_flows.iter()) {
            match entry {
                Ok(entry) => flows.push(entry),
                Err(aya::maps::MapError::KeyNotFound) => {}
                Err(error) => return Err(error).context("cannot read the flow table"),
            }
        }
        Ok(flows)
    }

    /// What was folded and lost.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the table.
    pub fn statistics(&self) -> Result<KernelStatistics> {
        let read = |index: u32| -> Result<u64> {
            let values =
                self.statistics.get(&index, 0).context("cannot read the kernel side's statistics")?;
            Ok(values.iter().sum())
        };
        let events_lost: Result<_> =
            (0..ProbeId::COUNT).map(|probe| read(Statistic::EventsLost as u32 + probe)).collect();
        let inserted = read(Statistic::SocketsInserted as u32)?;
        Ok(KernelStatistics {
            flows_folded: read(Statistic::FlowsFolded as u32)?,
            sockets_refused: read(Statistic::SocketsRefused as u32)?,
            connections_missed: read(Statistic::ConnectionsMissed as u32)?,
            flows_unannounced: read(Statistic::FlowsUnannounced as u32)?,
            sockets: inserted.saturating_sub(read(Statistic::SocketsRemoved as u32)?),
            events_lost: events_lost?,
        })
    }

    /// How full the tables are, given how many flows and sockets there are.
    pub fn fullness(&self, flows: u64, sockets: u64) -> [Fullness; 2] {
        [
            Fullness { map: "flows", entries: flows, limit: self.options.max_flows.into() },
            Fullness { map: "sockets", entries: sockets, limit: self.options.max_sockets.into() },
        ]
    }

    /// What each program has cost so far.
    pub fn costs(&self) -> Vec<ProgramCost> {
        self.loaded.descriptors().into_iter().filter_map(|(program, fd)| cost(program, fd)).collect()
    }

    /// The programs' own log, when it was switched on.
    ///
    /// # Errors
    ///
    /// When the object has no log.
    pub fn take_log(&mut self) -> Result<KernelLog> {
        let logger = EbpfLogger::init(&mut self.loaded.ebpf)?;
        // SAFETY: the logger owns the ring buffer's descriptor, and neither replaces nor closes it while it lives.
        #[expect(unsafe_code, reason = "registration of a descriptor")]
        let logger = unsafe { AsyncFd::register(logger) }?;
        Ok(KernelLog { logger })
    }
}

fn take(loaded: &mut Loaded, name: &str) -> Result<Map> {
    loaded.ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))
}

/// `run_time_ns` and `run_cnt` of `bpf_prog_show_fdinfo`, kernel/bpf/syscall.c.
fn cost(program: &'static str, fd: i32) -> Option<ProgramCost> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    Some(ProgramCost {
        program,
        run_time: Duration::from_nanos(value("run_time_ns:")?),
        runs: value("run_cnt:")?,
        skipped: value("recursion_misses:").unwrap_or_default(),
    })
}

/// Detail events in the order they happened.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    /// Passes every waiting event to `take`, oldest first, up to `limit`; returns how many there were.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(event) = self.ring.next() else { break };
            take(&event);
            taken += 1;
        }
        taken
    }

    /// For waiting until the kernel side asks for attention; see `emit` there.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be registered.
    pub fn wakeups(&self) -> Result<Wakeups> {
        let ring = self.ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor stays open and the same for as long as the value lives.
        #[expect(unsafe_code, reason = "registration of a descriptor")]
        let ring = unsafe { AsyncFd::register(ring) }?;
        Ok(Wakeups { ring })
    }
}

/// Wakes when the ring of events is a quarter full.
pub struct Wakeups {
    ring: AsyncFd<OwnedFd>,
}

impl Wakeups {
    /// Waits for a wake-up.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub async fn wait(&self) -> Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }
}

/// The programs' log statements, which go to the agent's own log.
pub struct KernelLog {
    logger: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl KernelLog {
    /// Passes on what the programs log, until the runtime ends.
    pub async fn forward(mut self) {
        while let Ok(mut ready) = self.logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
