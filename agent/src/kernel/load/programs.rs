//! Loads and attaches the programs of one probe.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program as AyaProgram, ProgramError, ProgramFd,
};

use super::super::iterators::walk;
use super::super::maps::table;
use super::super::options::Options;
use crate::probe::{self, Direction, Hook, Probe, Reason, Unavailable};

/// Where the kernel says how kprobes are opened (Documentation/ABI/testing/sysfs-bus-event_source-devices).
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Loads and attaches all programs of a probe. Where that fails, none of them stays.
pub(super) fn start(
    ebpf: &mut Ebpf,
    btf: &aya::Btf,
    probe: &Probe,
    options: &Options,
) -> Result<(), Unavailable> {
    let started = load_and_attach(ebpf, btf, probe, options);
    if started.is_err() {
        stop(ebpf, probe);
    }
    started
}

fn load_and_attach(
    ebpf: &mut Ebpf,
    btf: &aya::Btf,
    probe: &Probe,
    options: &Options,
) -> Result<(), Unavailable> {
    // Load all programs of a probe before attaching any: with only some attached, its counts would be wrong.
    for program in probe.programs {
        verify(ebpf, btf, program)?;
    }
    for program in probe.programs {
        let failed = |error: &dyn std::fmt::Display| {
            Unavailable::new(Reason::AttachFailed, format!("cannot attach {}: {error}", program.name))
        };
        match (find(ebpf, program.name)?, program.hook) {
            (AyaProgram::BtfTracePoint(tracepoint), _) => {
                tracepoint.attach().map_err(|error| failed(&error))?;
            }
            (AyaProgram::FEntry(function), _) => {
                function.attach().map_err(|error| failed(&error))?;
            }
            (AyaProgram::FExit(function), _) => {
                function.attach().map_err(|error| failed(&error))?;
            }
            (AyaProgram::KProbe(probe), Hook::Kprobe { functions, .. }) => {
                for function in functions {
                    let attached = probe.attach(function, 0);
                    attached.map_err(|error| failed(&format_args!("{:#}", anyhow::Error::new(error))))?;
                }
            }
            (AyaProgram::CgroupSkb(packets), Hook::Cgroup(direction)) => {
                attach_to_cgroup(packets, direction, options)
                    .map_err(|error| failed(&format_args!("{error:#}")))?;
            }
            (AyaProgram::CgroupSkb(packets), Hook::Continuation { direction, over }) => {
                let program = packets.fd().and_then(|fd| Ok(fd.try_clone()?));
                let program = program.map_err(|error| failed(&error))?;
                continue_with(ebpf, direction, over, &program)
                    .map_err(|error| failed(&format_args!("{error:#}")))?;
            }
            (AyaProgram::CgroupSock(sockets), Hook::SocketClosed) => {
                let root = open_cgroup_root(options).map_err(|error| failed(&error))?;
                sockets.attach(root, CgroupAttachMode::Single).map_err(|error| failed(&error))?;
            }
            (AyaProgram::Iter(iterator), Hook::AtStart { only_since_start, .. }) => {
                if !only_since_start || options.count_since_start {
                    walk(iterator, || {}).map_err(|error| failed(&error))?;
                }
            }
            // Run by `Kernel::sweep`.
            (AyaProgram::Iter(_), Hook::Sweep(_) | Hook::SweepMaps(_)) => {}
            _ => return Err(misfit(program)),
        }
    }
    Ok(())
}

/// Detaches and unloads what there is of a probe, but for what a map of tail calls holds.
fn stop(ebpf: &mut Ebpf, probe: &Probe) {
    for program in probe.programs {
        let Ok(found) = find(ebpf, program.name) else { continue };
        let unloaded = match found {
            AyaProgram::BtfTracePoint(tracepoint) => tracepoint.unload(),
            AyaProgram::FEntry(function) => function.unload(),
            AyaProgram::FExit(function) => function.unload(),
            AyaProgram::KProbe(probe) => probe.unload(),
            AyaProgram::CgroupSkb(packets) => packets.unload(),
            AyaProgram::CgroupSock(sockets) => sockets.unload(),
            _ => continue,
        };
        // One that has not been loaded cannot be unloaded.
        if let Err(error) = unloaded {
            tracing::debug!(program = program.name, %error, "program not unloaded");
        }
    }
}

fn attach_to_cgroup(packets: &mut CgroupSkb, direction: Direction, options: &Options) -> anyhow::Result<()> {
    let direction = match direction {
        Direction::Ingress => CgroupSkbAttachType::Ingress,
        Direction::Egress => CgroupSkbAttachType::Egress,
    };
    // Links of this mode coexist with programs of others; see `cgroup_bpf_attach`, kernel/bpf/cgroup.c.
    packets.attach(open_cgroup_root(options)?, direction, CgroupAttachMode::Single)?;
    Ok(())
}

fn open_cgroup_root(options: &Options) -> io::Result<File> {
    File::open(options.cgroup_root.as_deref().unwrap_or(Path::new("/sys/fs/cgroup")))
}

/// Inserts a program into the map of tail calls, so that packets reach it from now on.
fn continue_with(
    ebpf: &mut Ebpf,
    direction: Direction,
    over: u32,
    program: &ProgramFd,
) -> anyhow::Result<()> {
    let name = match direction {
        Direction::Ingress => "DNS_RECEIVED",
        Direction::Egress => "DNS_SENT",
    };
    let mut programs: ProgramArray<_> = table(ebpf, name)?.try_into()?;
    Ok(programs.set(over, program, 0)?)
}

/// Loads a program, which includes the verifier.
pub(super) fn verify(ebpf: &mut Ebpf, btf: &aya::Btf, program: &probe::Program) -> Result<(), Unavailable> {
    let begin = Instant::now();
    let result = match (find(ebpf, program.name)?, program.hook) {
        (AyaProgram::BtfTracePoint(tracepoint), Hook::Tracepoint { name, .. }) => tracepoint.load(name, btf),
        (AyaProgram::FEntry(function), Hook::Function(name)) => function.load(name, btf),
        (AyaProgram::FExit(function), Hook::FunctionEnd { name, .. }) => function.load(name, btf),
        (AyaProgram::KProbe(_), Hook::Kprobe { .. }) if !Path::new(KPROBES).exists() => {
            let message = format!("this kernel has no kprobes, or /sys is not mounted: no {KPROBES}");
            return Err(Unavailable::new(Reason::KernelFeatureMissing, message));
        }
        (AyaProgram::KProbe(probe), Hook::Kprobe { .. }) => probe.load(),
        (AyaProgram::CgroupSkb(packets), Hook::Cgroup(_) | Hook::Continuation { .. }) => packets.load(),
        (AyaProgram::CgroupSock(sockets), Hook::SocketClosed) => sockets.load(),
        (AyaProgram::Iter(iterator), Hook::AtStart { iterator: name, .. } | Hook::Sweep(name)) => {
            iterator.load(name, btf)
        }
        (AyaProgram::Iter(iterator), Hook::SweepMaps(_)) => iterator.load(probe::MAP_ITERATOR, btf),
        _ => return Err(misfit(program)),
    };
    tracing::debug!(program = program.name, took = ?begin.elapsed(), "program loaded");
    result.map_err(|error| {
        let reason = match &error {
            ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
                Reason::NotPermitted
            }
            ProgramError::LoadError { .. } => Reason::VerifierRejected,
            _ => Reason::Other,
        };
        Unavailable::new(reason, format!("cannot load the program {}: {}", program.name, refusal(&error)))
    })
}

fn find<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut AyaProgram, Unavailable> {
    let missing = || Unavailable::new(Reason::Other, format!("the eBPF object has no program {name}"));
    ebpf.program_mut(name).ok_or_else(missing)
}

fn misfit(program: &probe::Program) -> Unavailable {
    Unavailable::new(
        Reason::Other,
        format!("the type of the program {} does not match its hook", program.name),
    )
}

/// The error of loading a program, with the last lines of the verifier's log, which have the instruction and the reason.
fn refusal(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    // The log ends with the verifier's statistics.
    let statistics = ["processed ", "verification time ", "stack depth ", "insns processed "];
    let mut lines: Vec<&str> = log
        .lines()
        .rev()
        .filter(|line| !line.is_empty() && !statistics.iter().any(|begin| line.starts_with(begin)))
        .take(3)
        .collect();
    lines.reverse();
    tracing::debug!(%log, "verifier log");
    if lines.is_empty() { io_error.to_string() } else { format!("{io_error}: {}", lines.join(" / ")) }
}
