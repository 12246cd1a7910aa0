//! The node: what its kernel counts beside flows, read by independent readers each of which may fail alone.
//!
//! The readers are in the daemon; here is what they find ([`Reading`]), the parsers of what the kernel writes as text, and
//! what is kept of it ([`Node`]). Counters begin with zero when the agent first reads them, and never go back.

pub mod growth;
pub mod pressure;
pub mod softnet;
mod state;
mod text;

use std::time::Duration;

use netcause_common::labelled_enum;

pub use state::{Node, View};
pub use text::Malformed;

labelled_enum! {
    /// A reader: a label value.
    pub enum Reader: u8 {
        /// Packets that wait for a CPU: `/proc/net/softnet_stat`.
        Softnet = 0, "softnet";
        /// Time that tasks wait for a CPU: `/proc/pressure/cpu`.
        Pressure = 1, "pressure";
    }
}

impl Reader {
    /// What it reads, for `netcause check`.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Softnet => "packets that CPUs dropped, and receive work cut short",
            Self::Pressure => "time that tasks waited for a CPU",
        }
    }

    /// The metrics that are missing when it does not work.
    #[must_use]
    pub const fn without(self) -> &'static str {
        match self {
            Self::Softnet => "no netcause_node_softnet_*",
            Self::Pressure => "no netcause_node_pressure_cpu_waiting_seconds_total",
        }
    }
}

labelled_enum! {
    /// Why a reader does not work: a label value, so the set is bounded.
    pub enum Reason: u8 {
        /// The kernel does not have the file or the request: it was built without, or a module is not loaded.
        KernelFeatureMissing = 0, "kernel_feature_missing";
        /// A capability is missing, or the file may not be read.
        NotPermitted = 1, "not_permitted";
        /// The root of cgroup v2 is not mounted.
        Cgroup2NotMounted = 2, "cgroup2_not_mounted";
        /// Processes of pods cannot be seen from this PID namespace.
        NotInHostPidNamespace = 3, "not_in_host_pid_namespace";
        /// What the kernel wrote is not what the reader knows.
        Malformed = 4, "malformed";
        /// Anything else.
        Other = 5, "other";
    }
}

/// Why a reader does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason.
    pub reason: Reason,
    /// In words, for the log and JSON.
    pub message: String,
}

impl Failure {
    /// A reason with its text.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a reader found, or why it does not work.
pub type Found<T> = Result<T, Failure>;

/// What all readers found in one pass.
#[derive(Debug)]
pub struct Reading {
    /// How long the pass took.
    pub took: Duration,
    /// Packets that wait for a CPU.
    pub softnet: Found<Vec<softnet::Cpu>>,
    /// Time that tasks waited for a CPU since the kernel started.
    pub cpu_waiting: Found<Duration>,
}

impl Reading {
    /// The readers that do not work, and why.
    pub fn failures(&self) -> impl Iterator<Item = (Reader, &Failure)> {
        let Self { took: _, softnet, cpu_waiting } = self;
        let all = [(Reader::Softnet, softnet.as_ref().err()), (Reader::Pressure, cpu_waiting.as_ref().err())];
        all.into_iter().filter_map(|(reader, failure)| Some((reader, failure?)))
    }
}
