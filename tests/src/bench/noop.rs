//! The cheapest program there can be, attached where the agent's busiest one is: what the kernel shows for it is the
//! cost of its own bookkeeping.
#![expect(unsafe_code, reason = "two calls of bpf(2), which has no wrapper without a whole object file")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};

// `enum bpf_cmd` and `enum bpf_prog_type`, include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// The head of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: *const u64,
    license: *const u8,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The head of `union bpf_attr` for BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct RawTracepointOpen {
    name: *const u8,
    program: u32,
    padding: u32,
}

/// Attached until dropped.
pub(super) struct Noop {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Noop {
    /// Loads and attaches it.
    pub(super) fn attach() -> Result<Self> {
        // r0 = 0; exit
        let instructions: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
        let load = ProgramLoad {
            program_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            instruction_count: 2,
            instructions: instructions.as_ptr(),
            license: c"GPL".as_ptr().cast(),
            log_level: 0,
            log_size: 0,
            log_buffer: 0,
            kernel_version: 0,
            flags: 0,
        };
        let program = bpf(BPF_PROG_LOAD, &load).context("loading a program that does nothing")?;
        let open = RawTracepointOpen {
            name: c"inet_sock_set_state".as_ptr().cast(),
            program: u32::try_from(program.as_raw_fd()).context("a negative descriptor")?,
            padding: 0,
        };
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &open).context("attaching a program that does nothing")?;
        Ok(Self { program, _link: link })
    }

    /// Detaches it, after it has run.
    pub(super) fn nanoseconds_per_run(self) -> Result<f64> {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let value = |key: &str| -> Result<f64> {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            found
                .with_context(|| format!("the kernel does not tell {key}"))?
                .trim()
                .parse()
                .context("no number")
        };
        let runs = value("run_cnt:")?;
        ensure!(runs > 0.0, "the program that does nothing never ran");
        Ok(value("run_time_ns:")? / runs)
    }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a live, initialized value of the size given, laid out as the command wants them, and
    // what they point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    let descriptor = i32::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    // SAFETY: the kernel has just made this descriptor for us alone.
    descriptor
        .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .ok_or_else(io::Error::last_os_error)
}
