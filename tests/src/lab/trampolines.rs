//! Functions of the kernel whose ends cannot be traced, because as many programs as the kernel allows (`BPF_MAX_TRAMP_LINKS`,
//! include/linux/bpf.h) are there already.

use std::{fs, os::fd::OwnedFd};

use anyhow::{Context as _, Result, bail};

use super::bpf;

const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_PROG_TYPE_TRACING` and `BPF_TRACE_FEXIT`, include/uapi/linux/bpf.h.
const TRACING: (u32, u32) = (26, 25);
/// More than the kernel allows.
const MANY: usize = 64;

/// The head of `union bpf_attr` for BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program: u32,
    padding: u32,
}

/// Programs that do nothing, as many as can be at the end of this function, until they are dropped; `None` where none can be.
pub(crate) fn fill(function: &str) -> Result<Option<Vec<[OwnedFd; 2]>>> {
    let number = number_of(function, &fs::read("/sys/kernel/btf/vmlinux")?)
        .with_context(|| format!("the kernel's types have no function {function}"))?;
    let mut all = Vec::new();
    while all.len() < MANY {
        // Refused where nothing can be traced.
        let Ok(program) = bpf::load_at(TRACING.0, TRACING.1, 0, number) else { return Ok(None) };
        let open = RawTracepointOpen { name: 0, program: bpf::number(&program)?, padding: 0 };
        match bpf::open(BPF_RAW_TRACEPOINT_OPEN, &open) {
            Ok(link) => all.push([link, program]),
            Err(_) if all.is_empty() => return Ok(None),
            Err(_) => return Ok(Some(all)),
        }
    }
    bail!("{MANY} programs at {function} and there is room for more")
}

/// The number of a function in BTF (Documentation/bpf/btf.rst).
fn number_of(function: &str, btf: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_ne_bytes(btf.get(at..at + 4)?.try_into().ok()?));
    let offset = |at: usize| Some(word(at)? as usize);
    let (header, types, length, strings) = (offset(4)?, offset(8)?, offset(12)?, offset(16)?);
    let (mut at, end) = (header + types, header + types + length);
    let mut number = 1;
    while at < end {
        let (info, name) = (word(at + 4)?, header + strings + offset(at)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let is_it = || btf.get(name..)?.strip_prefix(function.as_bytes())?.first().map(|end| *end == 0);
        // FUNC
        if kind == 12 && is_it() == Some(true) {
            return Some(number);
        }
        at += 12
            + match kind {
                // INT, VAR, DECL_TAG
                1 | 14 | 17 => 4,
                // ARRAY
                3 => 12,
                // STRUCT, UNION, DATASEC, ENUM64
                4 | 5 | 15 | 19 => count * 12,
                // ENUM, FUNC_PROTO
                6 | 13 => count * 8,
                _ => 0,
            };
        number += 1;
    }
    None
}
