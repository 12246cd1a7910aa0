//! Reading what the programs have counted.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Program as AyaProgram;
use aya_log::EbpfLogger;
use netcause_common::flow::FlowKey;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey, Sweep};
use netcause_common::statistics::STATISTICS;
use tokio::io::unix::AsyncFd;

use netcause_core::aggregate::totals::Totals;

use super::dns::{Dns, TimedOut};
use super::flows::Flows;
use super::load::{Loaded, walk};
use super::options::Options;
use crate::probe::Hook;

/// The running kernel side, as the rest of the agent sees it.
pub struct Kernel {
    loaded: Loaded,
    options: Options,
    flows: Flows,
    dns: Dns,
    queues: HashMap<MapData, QueueKey, AcceptQueue>,
    sweep: Array<MapData, Sweep>,
    sweeps: u64,
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

impl Kernel {
    /// Takes over a loaded object; returns its events too, those of DNS last.
    ///
    /// # Errors
    ///
    /// When it lacks a map: the object and this daemon are not of one build.
    pub fn new(mut loaded: Loaded, options: Options) -> Result<(Self, [Events; 2])> {
        let flows = Flows::take(&mut loaded, &options)?;
        let dns = Dns::take(&mut loaded, &options)?;
        let queues = take(&mut loaded, "QUEUES")?.try_into()?;
        let sweep = take(&mut loaded, "SWEEP")?.try_into()?;
        let statistics = take(&mut loaded, "STATISTIC")?.try_into()?;
        let mut ring = |name| anyhow::Ok(Events { ring: RingBuf::try_from(take(&mut loaded, name)?)? });
        let rings = [ring("EVENTS")?, ring("DNS_EVENTS")?];
        Ok((Self { loaded, options, flows, dns, queues, sweep, sweeps: 0, statistics }, rings))
    }

    /// Looks at every open socket, so that the tables have what it carried until now; how long that took. `None` when
    /// the probe that does it cannot run here.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to walk.
    pub fn sweep(&mut self) -> Result<Option<Duration>> {
        let running = self.loaded.probes.iter().filter(|state| state.unavailable.is_none());
        let mut programs = running.flat_map(|state| state.probe.programs);
        let Some(program) = programs.find(|program| matches!(program.hook, Hook::Sweep(_))) else {
            return Ok(None);
        };
        self.sweeps += 1;
        self.sweep.set(0, Sweep { number: self.sweeps, socket: 0 }, 0).context("cannot number the sweep")?;
        let Some(AyaProgram::Iter(iterator)) = self.loaded.ebpf.program_mut(program.name) else {
            return Ok(None);
        };
        let begin = Instant::now();
        walk(iterator).context("cannot look at the open sockets")?;
        Ok(Some(begin.elapsed()))
    }

    /// The accept queues that the last sweep found; those of listeners that are gone are removed.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the table.
    pub fn accept_queues(&mut self) -> Result<Vec<(QueueKey, AcceptQueue)>> {
        let (mut queues, mut gone) = (Vec::new(), Vec::new());
        for entry in self.queues.iter() {
            let (key, queue) = entry.context("cannot read the accept queues")?;
            if queue.sweep == self.sweeps { queues.push((key, queue)) } else { gone.push(key) }
        }
        for key in gone {
            // Gone is gone, whoever removed it.
            let _ = self.queues.remove(&key);
        }
        Ok(queues)
    }

    /// Where the root of cgroup v2 is mounted.
    pub fn cgroup_root(&self) -> Option<&Path> {
        self.options.cgroup_root.as_deref()
    }

    /// What the networks are set by: see [`Self::set_named_networks`].
    pub(super) fn networks(&mut self) -> (&mut Ebpf, &mut Options) {
        (&mut self.loaded.ebpf, &mut self.options)
    }

    /// Every probe and whether it runs.
    pub fn probes(&self) -> &[super::ProbeState] {
        &self.loaded.probes
    }

    /// Passes on what each flow has counted since it was read last; returns how full the tables are.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the tables. What was passed on until then is not passed on again.
    pub fn read_flows(&mut self, to: impl FnMut(&FlowKey, &Totals)) -> Result<Vec<Fullness>> {
        let mut fullness = self.flows.read(to)?;
        fullness.extend(self.dns.fullness());
        Ok(fullness)
    }

    /// Removes a flow from its table unless it has counted since it was read last; true when it is gone.
    pub fn remove_flow(&mut self, key: &FlowKey) -> bool {
        self.flows.remove(key)
    }

    /// Ends the wait of DNS queries that have timed out, and passes on each.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the tables.
    pub fn expire_dns(&mut self, timed_out: impl FnMut(TimedOut<'_>)) -> Result<()> {
        self.dns.expire(&self.flows, timed_out)
    }

    /// What was folded and lost.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the table.
    pub fn statistics(&self) -> Result<[u64; STATISTICS as usize]> {
        let mut all = [0; STATISTICS as usize];
        for (index, sum) in (0..).zip(&mut all) {
            let per_cpu =
                self.statistics.get(&index, 0).context("cannot read the kernel side's statistics")?;
            *sum = per_cpu.iter().sum();
        }
        Ok(all)
    }

    /// How full the other tables are, given how many sockets and accept queues there are.
    pub fn fullness(&self, sockets: u64, queues: u64) -> [Fullness; 2] {
        [
            Fullness { map: "sockets", entries: sockets, limit: self.options.max_sockets.into() },
            Fullness { map: "listeners", entries: queues, limit: self.options.max_listeners.into() },
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

pub(super) fn take(loaded: &mut Loaded, name: &str) -> Result<Map> {
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
