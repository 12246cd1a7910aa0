//! Reads the maps and ring buffers of the eBPF programs.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Program as AyaProgram;
use aya_log::EbpfLogger;
use ipnet::IpNet;
use netcause_common::drops::DropKey;
use netcause_common::flow::FlowKey;
use netcause_common::statistics::STATISTICS;
use tokio::io::unix::AsyncFd;

use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::turn::QUIET;
use netcause_core::ingest::DnsUnanswered;

use super::dns::Dns;
use super::drops::Drops;
use super::flows::Flows;
use super::iterators::{walk, walk_map};
use super::listeners::{Listeners, Listening};
use super::load::Loaded;
use super::maps::{Fullness, take};
use super::networks;
use super::options::Options;
use super::shared::Shared;
use crate::probe::Hook;

/// The loaded and attached eBPF object: the interface of the rest of the agent to the kernel side.
pub struct Kernel {
    loaded: Loaded,
    options: Options,
    flows: Flows,
    dns: Dns,
    drops: Drops,
    listeners: Listeners,
    shared: Shared,
    sweeps: u64,
    statistics: PerCpuArray<MapData, u64>,
}

/// A sweep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swept {
    /// How long it took.
    pub took: Duration,
    /// Open connections that it found by a descriptor of a process.
    pub by_descriptor: u64,
    /// Open connections that it found only in the socket map.
    pub by_table: u64,
}

/// The kernel's statistics of a program; time and runs are zero unless `kernel.bpf_stats_enabled` is set.
#[derive(Clone, Copy, Debug)]
pub struct ProgramCost {
    /// The program's name.
    pub program: &'static str,
    /// Total run time.
    pub run_time: Duration,
    /// Number of runs.
    pub runs: u64,
    /// Runs skipped by the kernel because the program was already running on that CPU; always counted, since 5.12.
    pub skipped: u64,
}

impl Kernel {
    /// Takes over a loaded object; returns its ring buffers of events too: TCP, then DNS.
    ///
    /// # Errors
    ///
    /// When a map is missing: object and daemon are from different builds.
    pub fn new(mut loaded: Loaded, options: Options) -> Result<(Self, [Events; 2])> {
        let flows = Flows::take(&mut loaded.ebpf, &options)?;
        let dns = Dns::take(&mut loaded.ebpf, &options)?;
        let drops = Drops::take(&mut loaded.ebpf)?;
        let listeners = Listeners::take(&mut loaded.ebpf)?;
        let shared = Shared::map(&mut loaded.ebpf)?;
        let statistics = take(&mut loaded.ebpf, "STATISTIC")?.try_into()?;
        let mut ring = |name| anyhow::Ok(Events { ring: RingBuf::try_from(take(&mut loaded.ebpf, name)?)? });
        let rings = [ring("EVENTS")?, ring("DNS_EVENTS")?];
        let kernel = Self { loaded, options, flows, dns, drops, listeners, shared, sweeps: 0, statistics };
        Ok((kernel, rings))
    }

    /// Sweeps every open socket, so that the maps have its current counters, and calls `to` with the record of each open
    /// connection ([`netcause_core::ingest::connection`]). `None` if the probe with the sweep is unavailable.
    ///
    /// # Errors
    ///
    /// When an iterator cannot be attached or read.
    pub fn sweep(&mut self, mut to: impl FnMut(&[u8])) -> Result<Option<Swept>> {
        let running = self.loaded.probes.iter().filter(|state| state.unavailable.is_none());
        let mut programs = running.flat_map(|state| state.probe.programs);
        // In the order of the probe's table.
        let mut find = |is_such: fn(Hook) -> bool| programs.find(|program| is_such(program.hook)).copied();
        let (Some(files), Some(maps)) =
            (find(|hook| matches!(hook, Hook::Sweep(_))), find(|hook| matches!(hook, Hook::SweepMaps(_))))
        else {
            return Ok(None);
        };
        self.sweeps += 1;
        self.shared.begin(self.sweeps, super::ticks(QUIET));
        let begin = Instant::now();
        let mut swept = Swept::default();
        let Self { loaded: Loaded { ebpf, .. }, shared, .. } = self;
        if let Some(AyaProgram::Iter(iterator)) = ebpf.program_mut(files.name) {
            walk(iterator, || swept.by_descriptor += shared.take(&mut to))
                .context("cannot iterate over the open sockets")?;
        }
        if let (Some(AyaProgram::Iter(iterator)), Hook::SweepMaps(names)) =
            (ebpf.program(maps.name), maps.hook)
        {
            let program = iterator.fd()?.as_fd();
            for map in names.iter().filter_map(|name| data(ebpf.map(name)?)) {
                walk_map(program, map.fd().as_fd(), || swept.by_table += shared.take(&mut to))
                    .context("cannot iterate over the tracked sockets")?;
            }
        }
        Ok(Some(Swept { took: begin.elapsed(), ..swept }))
    }

    /// The listening sockets that the last sweep found.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn listening(&mut self) -> Result<Listening> {
        self.listeners.found(self.sweeps)
    }

    /// Network namespaces with a listener whose counters could not be read after the last sweep.
    pub fn unread_namespaces(&self) -> u64 {
        self.listeners.unread
    }

    /// The mount point of the cgroup v2 root.
    pub fn cgroup_root(&self) -> Option<&Path> {
        self.options.cgroup_root.as_deref()
    }

    /// Replaces the named networks whose clients are distinguished, besides the configured ones. It affects new connections
    /// only: an open one keeps its flow.
    ///
    /// # Errors
    ///
    /// When a network cannot be inserted; the others are inserted all the same.
    pub fn set_named_networks(&mut self, named: &[IpNet]) -> Result<()> {
        networks::replace_named(&mut self.loaded.ebpf, &mut self.options, named)
    }

    /// Every probe, with the reason if it does not run.
    pub fn probes(&self) -> &[super::ProbeState] {
        &self.loaded.probes
    }

    /// Calls `to` with each flow's difference since the last reading; returns the number of entries in each map.
    ///
    /// # Errors
    ///
    /// When a map cannot be read. Differences passed to `to` before that are not repeated.
    pub fn read_flows(&mut self, to: impl FnMut(&FlowKey, &Totals)) -> Result<Vec<Fullness>> {
        let mut fullness = self.flows.read(to)?;
        fullness.extend(self.dns.fullness());
        fullness.push(self.drops.fullness());
        Ok(fullness)
    }

    /// Calls `to` with what each counter of dropped packets has grown by since the last reading.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn read_drops(&mut self, to: impl FnMut(DropKey, u64)) -> Result<()> {
        self.drops.read(Instant::now(), to)
    }

    /// Removes a flow from its map unless its counters changed since the last reading; true if it is removed.
    pub fn remove_flow(&mut self, key: &FlowKey) -> bool {
        self.flows.remove(key)
    }

    /// Removes the DNS queries that have timed out and calls `to` with each.
    ///
    /// # Errors
    ///
    /// When a map cannot be read.
    pub fn expire_dns(&mut self, to: impl FnMut(DnsUnanswered<'_>)) -> Result<()> {
        self.dns.expire(&self.flows, to)
    }

    /// The start of a recent DNS query of a client, by the hash of its question; empty when it is not kept any more.
    pub fn dns_query(&self, local: u64, question: u64) -> Vec<u8> {
        self.dns.query(local, question)
    }

    /// The kernel side's counters of overflows and losses, summed over CPUs; indexed as in [`netcause_common::statistics`].
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn statistics(&self) -> Result<[u64; STATISTICS as usize]> {
        let mut all = [0; STATISTICS as usize];
        for (index, sum) in (0..).zip(&mut all) {
            let per_cpu =
                self.statistics.get(&index, 0).context("cannot read the kernel side's statistics")?;
            *sum = per_cpu.iter().sum();
        }
        Ok(all)
    }

    /// Fullness of the other maps, given the numbers of sockets and accept queues.
    pub fn fullness(&self, sockets: u64, queues: u64) -> [Fullness; 2] {
        [
            Fullness { map: "sockets", entries: sockets, limit: self.options.max_sockets.into() },
            Fullness { map: "listeners", entries: queues, limit: self.options.max_listeners.into() },
        ]
    }

    /// Run time and runs of each program so far.
    pub fn costs(&self) -> Vec<ProgramCost> {
        self.loaded.descriptors().into_iter().filter_map(|(program, fd)| cost(program, fd)).collect()
    }

    /// The log of the eBPF programs, if it is enabled.
    ///
    /// # Errors
    ///
    /// When the object has no map of log records.
    pub fn take_log(&mut self) -> Result<KernelLog> {
        let logger = EbpfLogger::init(&mut self.loaded.ebpf)?;
        // SAFETY: the logger owns the ring buffer's descriptor, and neither replaces nor closes it while it lives.
        #[expect(unsafe_code, reason = "registration of a descriptor")]
        let logger = unsafe { AsyncFd::register(logger) }?;
        Ok(KernelLog { logger })
    }
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::HashMap(data) => Some(data),
        _ => None,
    }
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

/// A ring buffer of events, in the order they happened.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    /// Calls `take` with pending events, oldest first, up to `limit`; returns their number.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(event) = self.ring.next() else { break };
            take(&event);
            taken += 1;
        }
        taken
    }

    /// A handle to wait for wake-ups from the kernel side, which sends one when the ring is a quarter full (`emit` there).
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be registered.
    pub fn wakeups(&self) -> Result<Wakeups> {
        let ring = self.ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor stays open and unchanged while the value lives.
        #[expect(unsafe_code, reason = "registration of a descriptor")]
        let ring = unsafe { AsyncFd::register(ring) }?;
        Ok(Wakeups { ring })
    }
}

/// Wake-ups of a ring buffer of events.
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

/// The log statements of the eBPF programs.
pub struct KernelLog {
    logger: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl KernelLog {
    /// Forwards them to the agent's log until the runtime shuts down.
    pub async fn forward(mut self) {
        while let Ok(mut ready) = self.logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
