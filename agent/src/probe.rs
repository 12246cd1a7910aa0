//! The probes, as data: programs, hooks, and the kernel members each needs. One file per probe, named as in agent-ebpf.

use std::collections::BTreeMap;

use netcause_common::labelled_enum;
use netcause_common::layout::{Group, KernelLayout};
use netcause_common::probe::ProbeId;

use crate::kernel::btf::{Argument, Btf};

mod dns;
mod dns_refused;
mod open_sockets;
mod packet_drop;
mod tcp_connect;
mod tcp_reset;
mod tcp_retransmit;
mod tcp_retransmit_synack;
mod tcp_state;
mod udp;
mod udp_drop;

/// Every probe, in the order of [`ProbeId`].
pub const ALL: [&Probe; ProbeId::COUNT] = [
    &tcp_state::PROBE,
    &tcp_retransmit::PROBE,
    &tcp_retransmit_synack::PROBE,
    &tcp_reset::PROBE,
    &open_sockets::PROBE,
    &udp::PROBE,
    &udp_drop::PROBE,
    &dns::PROBE,
    &dns_refused::PROBE,
    &packet_drop::PROBE,
    &tcp_connect::PROBE,
];

/// The BPF iterator over a map's entries, by its name in the kernel.
pub const MAP_ITERATOR: &str = "bpf_map_elem";

/// Direction of packets, seen from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received by the socket.
    Ingress,
    /// Sent by the socket.
    Egress,
}

/// The kind of hook a program is attached to.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    /// A raw tracepoint with typed arguments.
    Tracepoint {
        /// The tracepoint's name in the kernel.
        name: &'static str,
        /// Structs that the first arguments must point to; an empty name stands for a number.
        arguments: &'static [&'static str],
    },
    /// The beginning of a function of the kernel, by its name.
    Function(&'static str),
    /// The end of a function of the kernel.
    FunctionEnd {
        /// The function's name.
        name: &'static str,
        /// How many arguments the program takes it to have; its return value is behind them.
        arguments: usize,
    },
    /// The beginning or the end of functions, whichever the program is for, by kprobes.
    Kprobe {
        /// Names of the functions.
        functions: &'static [&'static str],
        /// How many arguments the program takes each to have.
        arguments: usize,
    },
    /// The packets of every socket: cgroup_skb at the cgroup v2 root.
    Cgroup(Direction),
    /// A tail call for DNS packets from a program at [`Hook::Cgroup`].
    Continuation {
        /// Direction of the packets.
        direction: Direction,
        /// Transport of the packets: [`netcause_common::dns::OVER_UDP`] or [`netcause_common::dns::OVER_TCP`].
        over: u32,
    },
    /// The end of every socket's use: cgroup_sock at the cgroup v2 root.
    SocketClosed,
    /// A BPF iterator that runs once when the agent starts.
    AtStart {
        /// The iterator's name in the kernel.
        iterator: &'static str,
        /// Whether it runs only if connections are counted from the agent's start; it records their counters at that time.
        only_since_start: bool,
    },
    /// A BPF iterator, by its name in the kernel, that runs at every sweep.
    Sweep(&'static str),
    /// The iterator [`MAP_ITERATOR`], which runs at every sweep after [`Hook::Sweep`], over each of these maps.
    SweepMaps(&'static [&'static str]),
}

/// One program of the eBPF object.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The program's name in the object.
    pub name: &'static str,
    /// The hook it is attached to.
    pub hook: Hook,
}

/// One probe: programs that run all or none, and what they need from the kernel.
#[derive(Debug)]
pub struct Probe {
    /// The probe's number in events, and its name.
    pub id: ProbeId,
    /// What it measures, for `netcause check`.
    pub about: &'static str,
    /// What is missing when it does not run, for `netcause check`.
    pub without: &'static str,
    /// Whether it emits events.
    pub emits: bool,
    /// The programs of the probe.
    pub programs: &'static [Program],
    /// Kernel members that it shares with other probes.
    pub common: &'static [Group],
    /// Further kernel members that it reads: fields of [`KernelLayout`].
    pub members: &'static [&'static str],
    /// The same by other hooks, for kernels that do not support these or do not let them be attached.
    pub older: Option<&'static Self>,
}

impl Probe {
    /// The name, as in the label `probe`.
    pub const fn name(&self) -> &'static str {
        self.id.label()
    }

    /// The members that it reads: fields of [`KernelLayout`].
    pub fn needed(&self) -> impl Iterator<Item = &'static str> {
        let is_common = |group: Option<Group>| group.is_some_and(|group| self.common.contains(&group));
        let common = KernelLayout::MEMBERS.iter().filter(move |member| is_common(member.group));
        common.map(|member| member.field).chain(self.members.iter().copied())
    }

    /// True if one of the programs has a hook of this kind.
    pub fn has(&self, is_such: impl Fn(Hook) -> bool) -> bool {
        self.programs.iter().any(|program| is_such(program.hook))
    }
}

/// Why a probe does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The kind of reason.
    pub reason: Reason,
    /// The reason as text, for logs and `netcause check`.
    pub message: String,
}

impl Unavailable {
    /// A reason with its text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

labelled_enum! {
    /// The kind of obstacle that keeps a probe from running: a label value, so the set is bounded.
    pub enum Reason: u8 {
        /// The kernel lacks a tracepoint, an iterator or a member.
        KernelFeatureMissing = 0, "kernel_feature_missing";
        /// The root of cgroup v2 is not mounted.
        Cgroup2NotMounted = 1, "cgroup2_not_mounted";
        /// A capability is missing.
        NotPermitted = 2, "not_permitted";
        /// Files of other processes cannot be seen from this PID namespace.
        NotInHostPidNamespace = 3, "not_in_host_pid_namespace";
        /// It is switched off by configuration.
        Disabled = 4, "disabled";
        /// The verifier refuses one of its programs.
        VerifierRejected = 5, "verifier_rejected";
        /// One of its programs cannot be attached.
        AttachFailed = 6, "attach_failed";
        /// A probe that it depends on does not run.
        NeedsOtherProbe = 7, "needs_other_probe";
        /// Anything else.
        Other = 8, "other";
    }
}

/// Whether the kernel supports a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// Supported, as far as BTF shows; the verifier may still reject it.
    Yes,
    /// Not supported, with the reason.
    No(String),
}

/// Checks whether the kernel has what a probe needs: by name in BTF, never by version.
pub fn support(probe: &Probe, btf: &Btf, missing: &BTreeMap<&'static str, String>) -> Support {
    for program in probe.programs {
        match program.hook {
            Hook::Tracepoint { name, arguments } => match btf.tracepoint(name) {
                Err(error) => return Support::No(error.to_string()),
                Ok(found) => {
                    if let Some(why) = mismatch(name, arguments, &found) {
                        return Support::No(why);
                    }
                }
            },
            Hook::FunctionEnd { name, arguments } => {
                if let Some(why) = differs(name, arguments, btf) {
                    return Support::No(why);
                }
            }
            Hook::Kprobe { functions, arguments } => {
                if let Some(why) = functions.iter().find_map(|name| differs(name, arguments, btf)) {
                    return Support::No(why);
                }
            }
            // Whether a function can be traced is known when it is tried.
            Hook::Function(_) | Hook::Cgroup(_) | Hook::Continuation { .. } | Hook::SocketClosed => {}
            Hook::AtStart { .. } | Hook::Sweep(_) | Hook::SweepMaps(_) => {
                let name = match program.hook {
                    Hook::AtStart { iterator, .. } | Hook::Sweep(iterator) => iterator,
                    _ => MAP_ITERATOR,
                };
                if !btf.has_struct(&format!("bpf_iter__{name}")) {
                    return Support::No(format!("this kernel has no BPF iterator {name}"));
                }
            }
        }
    }
    match probe.needed().find_map(|member| missing.get(member)) {
        Some(why) => Support::No(why.clone()),
        None => Support::Yes,
    }
}

/// Why a function is not what a program takes it to be.
fn differs(function: &str, arguments: usize, btf: &Btf) -> Option<String> {
    match btf.arguments(function) {
        Err(error) => Some(error.to_string()),
        Ok(found) if found == arguments => None,
        Ok(found) => Some(format!("function {function} has {found} arguments on this kernel")),
    }
}

fn mismatch(tracepoint: &str, wanted: &[&str], found: &[Argument]) -> Option<String> {
    wanted.iter().enumerate().find_map(|(index, wanted)| {
        let fits = match found.get(index) {
            Some(Argument::Pointer(structure)) => structure == wanted,
            Some(Argument::Other) => wanted.is_empty(),
            None => false,
        };
        let wanted = if wanted.is_empty() { "a number" } else { wanted };
        (!fits).then(|| format!("argument {index} of tracepoint {tracepoint} is not {wanted} on this kernel"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_names_match_probe_ids() {
        for (index, probe) in ALL.iter().enumerate() {
            assert_eq!(probe.id as usize, index, "{}", probe.name());
        }
    }

    #[test]
    fn needed_members_exist_in_the_layout() {
        for member in ALL.iter().flat_map(|probe| probe.needed()) {
            let is_known = KernelLayout::MEMBERS.iter().any(|known| known.field == member);
            assert!(is_known || member == "sock_done", "{member}");
        }
    }

    #[test]
    fn members_of_a_group_are_needed_where_it_is_named() {
        for probe in ALL {
            let has = |member| probe.needed().any(|needed| needed == member);
            let of_traffic = probe.common.contains(&Group::Traffic);
            assert_eq!((has("segs_out"), has("sock_done")), (of_traffic, of_traffic), "{}", probe.name());
        }
    }

    #[test]
    fn a_changed_prototype_is_named() {
        let found = [Argument::Pointer("sock".to_owned()), Argument::Other];
        assert_eq!(mismatch("t", &["sock", ""], &found), None);
        let why = mismatch("t", &["sock", "sk_buff"], &found).unwrap();
        assert_eq!(why, "argument 1 of tracepoint t is not sk_buff on this kernel");
        assert!(mismatch("t", &["sock", "", ""], &found).is_some());
    }
}
