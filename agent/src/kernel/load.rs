//! Loads and attaches the eBPF programs, probe by probe: one that is unavailable on this kernel does not affect the others.

mod programs;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use aya::maps::{Array, HashMap};
use aya::programs::{
    BtfTracePoint, CgroupSkb, CgroupSock, FEntry, FExit, Iter, KProbe, Program as AyaProgram,
};
use aya::{Ebpf, EbpfError, EbpfLoader};
use flate2::read::GzDecoder;
use netcause_common::dns::{self, DnsCounters, PROTOCOL_DNS};
use netcause_common::drops::{DropKey, DropReasons};
use netcause_common::flow::{
    FlowKey, LONG_IDLE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER, TcpCounters, UdpCounters,
};
use netcause_common::limits::UNVERIFIED_FLOWS;
use rustix::thread::CapabilitySet;
use thiserror::Error;

use super::btf::{Btf, BtfError};
use super::layout::{self, Resolved};
use super::maps::table;
use super::options::Options;
use super::{drops, heap, networks, ports};
use crate::probe::{self, Hook, Probe, Reason, Support, Unavailable};

/// The eBPF object, gzipped; empty if agent/build.rs had no toolchain for it.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/netcause-ebpf"));

/// Why no probe at all could be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The build had no toolchain for eBPF.
    #[error("built without its eBPF programs: run `cargo xtask build`")]
    NotBuilt,
    /// The kernel's BTF cannot be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The process may not load programs.
    #[error(
        "not permitted to load eBPF programs: run as root, or with CAP_BPF and CAP_PERFMON (CAP_NET_ADMIN for UDP, and CAP_SYS_RESOURCE before Linux 5.11) ({0})"
    )]
    NotPermitted(String),
    /// The kernel refused the object or its maps.
    #[error("cannot load the eBPF object: {0}")]
    Object(String),
}

/// Whether a probe runs.
#[derive(Clone, Debug)]
pub struct ProbeState {
    /// The probe.
    pub probe: &'static Probe,
    /// The same by other hooks, which the kernel has as well, to be tried if these cannot be had.
    older: Option<&'static Probe>,
    /// Why it does not run; `None` if it runs.
    pub unavailable: Option<Unavailable>,
}

/// The loaded object. Dropping it detaches every program.
pub struct Loaded {
    pub(super) ebpf: Ebpf,
    /// Every probe, in the order of [`probe::ALL`].
    pub probes: Vec<ProbeState>,
}

/// Loads the object and attaches every probe that is available on this kernel.
///
/// # Errors
///
/// When nothing can be loaded, regardless of the probe: see [`LoadError`].
pub fn attach(options: &Options) -> Result<Loaded, LoadError> {
    let (mut loaded, kernel_btf) = prepare(options)?;
    let mut has_packets = false;
    for state in &mut loaded.probes {
        if state.unavailable.is_none() {
            let start = |probe: &_| programs::start(&mut loaded.ebpf, &kernel_btf, probe, options);
            state.unavailable =
                lacks_packets(state.probe, has_packets).or_else(|| or_older(state, start).err());
        }
        has_packets |= state.unavailable.is_none() && state.probe.has(|hook| matches!(hook, Hook::Cgroup(_)));
    }
    drop(kernel_btf);
    heap::trim();
    Ok(loaded)
}

/// Loads every probe as [`attach`] does, which includes the verifier, but attaches none.
///
/// # Errors
///
/// As [`attach`].
pub fn rehearse(options: &Options) -> Result<Vec<ProbeState>, LoadError> {
    let (mut loaded, kernel_btf) = prepare(options)?;
    let mut has_packets = false;
    for state in &mut loaded.probes {
        if state.unavailable.is_none() {
            let mut verify = |program: &_| programs::verify(&mut loaded.ebpf, &kernel_btf, program);
            state.unavailable = lacks_packets(state.probe, has_packets)
                .or_else(|| or_older(state, |probe| probe.programs.iter().try_for_each(&mut verify)).err());
        }
        has_packets |= state.unavailable.is_none() && state.probe.has(|hook| matches!(hook, Hook::Cgroup(_)));
    }
    Ok(loaded.probes)
}

/// Why a probe that tail calls enter is unavailable: the probe that calls it, earlier in [`probe::ALL`], does not run.
fn lacks_packets(probe: &Probe, has_packets: bool) -> Option<Unavailable> {
    let needs_packets = probe.has(|hook| matches!(hook, Hook::Continuation { .. }));
    let message = "requires the udp probe, which does not run";
    (needs_packets && !has_packets).then(|| Unavailable::new(Reason::NeedsOtherProbe, message))
}

fn prepare(options: &Options) -> Result<(Loaded, aya::Btf), LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NotBuilt);
    }
    heap::fix_mmap_threshold();
    raise_memlock_limit();
    // So large a block is aligned for any type, as the parser wants it.
    let mut object = Vec::new();
    GzDecoder::new(OBJECT)
        .read_to_end(&mut object)
        .map_err(|error| LoadError::Object(format!("cannot decompress it: {error}")))?;
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let btf = Btf::from_file(path)?;
    let mut resolved = layout::resolve(&btf);
    resolved.layout.long_idle_ticks = super::ticks(LONG_IDLE);
    resolved.layout.first_ephemeral_port = ports::first_ephemeral().into();
    let drop_reasons = drops::reasons(&btf);
    let probes = probe::ALL.iter().map(|probe| readiness(probe, &btf, &resolved, options)).collect();
    drop(btf);
    let kernel_btf = aya::Btf::from_sys_fs().map_err(|error| LoadError::Object(error.to_string()))?;
    // `AYA_LOG_LEVEL` starts at error = 1; with 0 the verifier removes every log statement as dead code.
    let log_level: u8 = if options.ebpf_log { aya_log::Level::Debug as u8 } else { 0 };
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&kernel_btf))
        .override_global("LAYOUT", &resolved.layout, true)
        .override_global("QUOTAS", &options.quotas(), true)
        .override_global("DROP_REASONS", &drop_reasons, true)
        .override_global("DNS", &dns_settings(options), true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .map_max_entries("TCP_FLOWS", options.max_flows)
        .map_max_entries("UDP_FLOWS", options.max_udp_flows)
        .map_max_entries("DNS_FLOWS", options.max_dns_flows)
        .map_max_entries("DNS_QUERIES", options.max_dns_queries)
        .map_max_entries("SOCKETS", options.max_sockets)
        .map_max_entries("LISTENERS", options.max_listeners)
        .map_max_entries("QUEUES", options.max_listeners)
        .map_max_entries("EVENTS", options.event_ring_bytes)
        .map_max_entries("NETWORKS_V4", networks::MAX_ENTRIES)
        .map_max_entries("NETWORKS_V6", networks::MAX_ENTRIES)
        .load(&object)
        .map_err(|error| load_error(&error))?;
    insert_initial_entries(&mut ebpf, options, &drop_reasons)
        .map_err(|error| LoadError::Object(format!("{error:#}")))?;
    Ok((Loaded { ebpf, probes }, kernel_btf))
}

fn dns_settings(options: &Options) -> dns::Settings {
    let mut settings = dns::Settings {
        timeout_ns: options.dns_timeout.as_nanos().try_into().unwrap_or(u64::MAX),
        details: u64::from(options.dns_event_rate_limit)
            .saturating_mul(dns::DETAIL_WINDOW_NS)
            .div_ceil(1_000_000_000)
            .try_into()
            .unwrap_or(u32::MAX),
        ..dns::Settings::OFF
    };
    for (to, port) in settings.ports.iter_mut().zip(&options.dns_ports) {
        *to = port.to_be();
    }
    settings
}

/// Inserts the entries that the programs expect in their maps.
fn insert_initial_entries(
    ebpf: &mut Ebpf,
    options: &Options,
    drop_reasons: &DropReasons,
) -> anyhow::Result<()> {
    // The `other` flows, which count everything that a full map cannot hold; so they come first.
    let mut tcp: HashMap<_, FlowKey, TcpCounters> = table(ebpf, "TCP_FLOWS")?.try_into()?;
    for role in [ROLE_CLIENT, ROLE_SERVER] {
        tcp.insert(FlowKey::other(PROTOCOL_TCP, role), TcpCounters::ZERO, 0)?;
    }
    let mut udp: HashMap<_, FlowKey, UdpCounters> = table(ebpf, "UDP_FLOWS")?.try_into()?;
    for role in [ROLE_CLIENT, ROLE_SERVER] {
        udp.insert(FlowKey::other(PROTOCOL_UDP, role), UdpCounters::ZERO, 0)?;
    }
    let mut dns: HashMap<_, FlowKey, DnsCounters> = table(ebpf, "DNS_FLOWS")?.try_into()?;
    for role in [ROLE_CLIENT, ROLE_SERVER] {
        dns.insert(FlowKey::other(PROTOCOL_DNS, role), DnsCounters::ZERO, 0)?;
    }
    let mut drops: HashMap<_, DropKey, u64> = table(ebpf, "DROPS")?.try_into()?;
    for key in drops::others(drop_reasons) {
        drops.insert(key, 0, 0)?;
    }
    let mut room: Array<_, i64> = table(ebpf, "UNVERIFIED_ROOM")?.try_into()?;
    room.set(0, UNVERIFIED_FLOWS, 0)?;
    for network in options.known_networks.iter().chain(&options.named_networks) {
        networks::insert(ebpf, network)?;
    }
    networks::set_first_bytes(ebpf, options)
}

fn readiness(probe: &'static Probe, btf: &Btf, resolved: &Resolved, options: &Options) -> ProbeState {
    let is_supported = |probe: &&Probe| probe::support(probe, btf, &resolved.missing) == Support::Yes;
    let probe = if is_supported(&probe) { probe } else { probe.older.filter(is_supported).unwrap_or(probe) };
    let unavailable = match probe::support(probe, btf, &resolved.missing) {
        Support::Yes => probe.programs.iter().find_map(|program| obstacle(program.hook, options)),
        Support::No(why) => Some(Unavailable::new(Reason::KernelFeatureMissing, why)),
    };
    let older = probe.older.filter(is_supported);
    ProbeState { probe, older, unavailable }
}

/// Why a hook is unavailable on this node for reasons other than the kernel's features.
fn obstacle(hook: Hook, options: &Options) -> Option<Unavailable> {
    let (reason, message) = match hook {
        Hook::Cgroup(_) if options.cgroup_root.is_none() => {
            let message = "the cgroup v2 root is not mounted: mount the host's /sys/fs/cgroup";
            (Reason::Cgroup2NotMounted, message)
        }
        // Attaching needs this capability, loading does not (`bpf_prog_attach_check_attach_type`,
        // kernel/bpf/syscall.c), so loading alone would not detect that it is missing.
        Hook::Cgroup(_)
            if rustix::thread::capabilities(None)
                .is_ok_and(|sets| !sets.effective.contains(CapabilitySet::NET_ADMIN)) =>
        {
            (Reason::NotPermitted, "CAP_NET_ADMIN is required to attach to cgroups")
        }
        Hook::Continuation { .. } if options.dns_ports.is_empty() => {
            (Reason::Disabled, "disabled: dns_ports is empty")
        }
        // `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
        Hook::AtStart { .. } | Hook::Sweep(_) | Hook::SweepMaps(_)
            if fs::read_link("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace != Path::new("pid:[4026531836]")) =>
        {
            let message =
                "not in the host's PID namespace (hostPID): the sockets of other processes are not visible";
            (Reason::NotInHostPidNamespace, message)
        }
        _ => return None,
    };
    Some(Unavailable::new(reason, message))
}

/// Tries a probe, and if that fails the same by its older hooks.
fn or_older(
    state: &mut ProbeState,
    mut attempt: impl FnMut(&Probe) -> Result<(), Unavailable>,
) -> Result<(), Unavailable> {
    let Err(why) = attempt(state.probe) else { return Ok(()) };
    let Some(older) = state.older else { return Err(why) };
    match attempt(older) {
        Ok(()) => {
            tracing::debug!(probe = older.name(), message = %why.message, "uses its older hooks");
            state.probe = older;
            Ok(())
        }
        Err(also) => Err(Unavailable { message: format!("{}; {}", why.message, also.message), ..also }),
    }
}

fn load_error(error: &EbpfError) -> LoadError {
    let not_permitted = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let mut causes: Vec<String> = Vec::new();
    for error in std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source()) {
        causes.push(error.to_string());
    }
    causes.dedup();
    let causes = causes.join(": ");
    if not_permitted { LoadError::NotPermitted(causes) } else { LoadError::Object(causes) }
}

/// Sets RLIMIT_MEMLOCK to unlimited: before Linux 5.11 maps count against it. If that is not permitted and the limit is too
/// low, creating a map fails.
fn raise_memlock_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "cannot raise RLIMIT_MEMLOCK, which is required before Linux 5.11 only");
    }
}

impl Loaded {
    /// Names of the programs of running probes.
    pub(super) fn loaded_programs(&self) -> HashSet<&'static str> {
        let running = self.probes.iter().filter(|state| state.unavailable.is_none());
        running.flat_map(|state| state.probe.programs).map(|program| program.name).collect()
    }

    /// The programs of running probes, with their file descriptors.
    pub(super) fn descriptors(&self) -> Vec<(&'static str, i32)> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        let descriptor = |name: &'static str| {
            let fd = match self.ebpf.program(name)? {
                AyaProgram::BtfTracePoint(program) => BtfTracePoint::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::FEntry(program) => FEntry::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::FExit(program) => FExit::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::KProbe(program) => KProbe::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::Iter(program) => Iter::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::CgroupSkb(program) => CgroupSkb::fd(program).ok()?.as_fd().as_raw_fd(),
                AyaProgram::CgroupSock(program) => CgroupSock::fd(program).ok()?.as_fd().as_raw_fd(),
                _ => return None,
            };
            Some((name, fd))
        };
        let mut all: Vec<_> = self.loaded_programs().into_iter().filter_map(descriptor).collect();
        all.sort_unstable();
        all
    }
}
