//! The cheapest possible programs, attached to the agent's hooks.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    bpf::{self, load},
    machine,
};

// `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type`, include/uapi/linux/bpf.h.
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_CGROUP_SKB: u32 = 8;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const BPF_CGROUP_INET_INGRESS: u32 = 0;
const BPF_CGROUP_INET_EGRESS: u32 = 1;

/// The head of `union bpf_attr` for BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct RawTracepointOpen {
    name: *const u8,
    program: u32,
    padding: u32,
}

/// A program at the agent's busiest tracepoint until dropped: its run time is the overhead of the kernel's own statistics.
pub(super) struct Noop {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Noop {
    /// Loads and attaches it.
    pub(super) fn attach() -> Result<Self> {
        let program = load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0)?;
        let open = RawTracepointOpen {
            name: c"inet_sock_set_state".as_ptr().cast(),
            program: bpf::number(&program)?,
            padding: 0,
        };
        let link =
            bpf::open(BPF_RAW_TRACEPOINT_OPEN, &open).context("attaching a program that does nothing")?;
        Ok(Self { program, _link: link })
    }

    /// Detaches it, after it has run.
    pub(super) fn nanoseconds_per_run(self) -> Result<f64> {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let value = |key: &str| -> Result<f64> {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            found
                .with_context(|| format!("the kernel does not report {key}"))?
                .trim()
                .parse()
                .context("no number")
        };
        let runs = value("run_cnt:")?;
        ensure!(runs > 0.0, "the program that does nothing never ran");
        Ok(value("run_time_ns:")? / runs)
    }
}

/// Programs on the packets of all sockets until dropped, like the agent's; they let every packet pass.
pub(super) struct Hooks {
    _links: [OwnedFd; 2],
}

impl Hooks {
    /// Loads and attaches a pair of programs.
    pub(super) fn attach() -> Result<Self> {
        let root = &machine()?.cgroup_root;
        let cgroup = File::open(root).with_context(|| format!("opening {}", root.display()))?;
        let hook = |attach_type| -> Result<OwnedFd> {
            let program = load(BPF_PROG_TYPE_CGROUP_SKB, attach_type, 1)?;
            bpf::link(&program, bpf::number(&cgroup)?, attach_type, 0)
                .context("attaching a program that lets everything pass")
        };
        Ok(Self { _links: [hook(BPF_CGROUP_INET_INGRESS)?, hook(BPF_CGROUP_INET_EGRESS)?] })
    }
}
