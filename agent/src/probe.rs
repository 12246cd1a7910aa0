//! The probes: what each needs of the kernel. One file per probe, named as on the kernel's side.

use std::collections::BTreeMap;

use netcause_common::probe::ProbeId;

use crate::kernel::btf::{Argument, Btf};

mod dns;
mod open_sockets;
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
];

/// Which way packets go, seen from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the socket.
    Ingress,
    /// From the socket.
    Egress,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    /// A raw tracepoint with typed arguments.
    Tracepoint {
        /// The kernel's name for it.
        name: &'static str,
        /// Structs that its first arguments must point to; an empty name stands for a number.
        arguments: &'static [&'static str],
    },
    /// The packets of every socket, at the root of cgroup v2.
    Cgroup(Direction),
    /// What packets of DNS go on to from a program at [`Hook::Cgroup`].
    Continuation {
        /// Which way the packets go.
        direction: Direction,
        /// What carries them: [`netcause_common::dns::OVER_UDP`] or [`netcause_common::dns::OVER_TCP`].
        over: u32,
    },
    /// A walk over objects of the kernel, run once when the agent starts.
    AtStart {
        /// The kernel's name for what is walked.
        iterator: &'static str,
        /// Whether it runs only where connections are counted since the agent's start: it notes what they carried before.
        only_since_start: bool,
    },
    /// A walk over objects of the kernel, run again and again.
    Sweep(&'static str),
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub hook: Hook,
}

/// One probe: programs that only make sense together, and what they need.
#[derive(Debug)]
pub struct Probe {
    /// Its number on the wire.
    pub id: ProbeId,
    /// Its name, as in the label `probe`.
    pub name: &'static str,
    /// What it tells, for `netcause check`.
    pub about: &'static str,
    /// What is lost where it cannot run.
    pub without: &'static str,
    /// Whether it emits detail events.
    pub emits: bool,
    /// Its programs.
    pub programs: &'static [Program],
    /// Lists of members that several probes have in common.
    pub common: &'static [&'static [&'static str]],
    /// Members it reads beside those: fields of [`netcause_common::layout::KernelLayout`].
    pub members: &'static [&'static str],
}

impl Probe {
    /// True when one of its programs has such a hook.
    pub fn has(&self, is_such: impl Fn(Hook) -> bool) -> bool {
        self.programs.iter().any(|program| is_such(program.hook))
    }
}

/// Members that every probe of sockets reads. The cgroup is not among them (the network namespace stands in for it), nor
/// is the IPv6 address, which a kernel without IPv6 lacks.
const SOCKET: &[&str] = &["skc_family", "skc_dport", "skc_num", "skc_daddr", "skc_net", "net_inum"];

/// Members that the probes of TCP read as well.
const TCP: &[&str] = &["skc_state", "inet_sport", "total_retrans"];

/// What a connection has counted itself.
const TRAFFIC: &[&str] = &[
    "bytes_acked",
    "bytes_received",
    "segs_out",
    "segs_in",
    "dsack_dups",
    "rcv_ooopack",
    "chrono_stat",
    "chrono_start",
    "chrono_type",
    "snd_una",
    "write_seq",
    "srtt_us",
    "rtt_min",
    "minmax_value",
    "skc_flags",
    "sock_done",
];

/// Why a probe does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The kind of obstacle.
    pub reason: Reason,
    /// The whole reason, for people.
    pub message: String,
}

impl Unavailable {
    /// With a message for people.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The kind of obstacle that keeps a probe from running: a label value, so the set is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel lacks a tracepoint, an iterator or a member.
    KernelFeatureMissing,
    /// The root of cgroup v2 is not mounted.
    Cgroup2NotMounted,
    /// A capability is missing.
    NotPermitted,
    /// Files of other processes cannot be seen from this PID namespace.
    NotInHostPidNamespace,
    /// It is switched off by configuration.
    Disabled,
    /// The verifier refuses one of its programs.
    VerifierRejected,
    /// One of its programs cannot be attached.
    AttachFailed,
    /// A probe that it depends on does not run.
    NeedsOtherProbe,
    /// Anything else.
    Other,
}

impl Reason {
    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::KernelFeatureMissing => "kernel_feature_missing",
            Self::Cgroup2NotMounted => "cgroup2_not_mounted",
            Self::NotPermitted => "not_permitted",
            Self::NotInHostPidNamespace => "not_in_host_pid_namespace",
            Self::Disabled => "disabled",
            Self::VerifierRejected => "verifier_rejected",
            Self::AttachFailed => "attach_failed",
            Self::NeedsOtherProbe => "needs_other_probe",
            Self::Other => "other",
        }
    }
}

/// Whether a probe can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// As far as can be told without loading it.
    Yes,
    /// No, and why.
    No(String),
}

/// Whether the kernel has what a probe needs: by name, never by version.
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
            Hook::Cgroup(_) | Hook::Continuation { .. } => {}
            Hook::AtStart { iterator: name, .. } | Hook::Sweep(name) => {
                if !btf.has_struct(&format!("bpf_iter__{name}")) {
                    return Support::No(format!("this kernel has no iterator {name}"));
                }
            }
        }
    }
    let needed = probe.common.iter().copied().flatten().chain(probe.members);
    match needed.filter_map(|member| missing.get(member)).next() {
        Some(why) => Support::No(why.clone()),
        None => Support::Yes,
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
    use netcause_common::layout::KernelLayout;

    use super::*;

    #[test]
    fn order_and_names_are_those_of_the_wire() {
        for (index, probe) in ALL.iter().enumerate() {
            assert_eq!(probe.id as usize, index, "{}", probe.name);
            assert_eq!(probe.name, probe.id.label());
        }
    }

    #[test]
    fn needed_members_exist_in_the_layout() {
        for member in ALL.iter().flat_map(|probe| probe.common.iter().copied().flatten().chain(probe.members))
        {
            let is_known = KernelLayout::MEMBERS.iter().any(|known| known.field == *member);
            assert!(is_known || *member == "sock_done", "{member}");
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
