//! The system call bpf(2), as far as the lab and the benchmark need it: there is no wrapper without a whole object file.
#![expect(unsafe_code, reason = "calls of bpf(2)")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

// `enum bpf_cmd`, include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;

/// The head of `union bpf_attr` for BPF_MAP_GET_FD_BY_ID.
#[repr(C)]
struct MapById {
    id: u32,
    padding: [u32; 2],
}

/// The head of `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct InfoByDescriptor {
    descriptor: u32,
    length: u32,
    info: *mut MapInfo,
}

/// The head of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    /// Type, id, sizes of key and value, entries, flags.
    numbers: [u32; 6],
    name: [u8; 16],
}

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
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    /// Types of the program's own, which it has none of.
    types: [u32; 9],
    attach_to: u32,
}

/// The head of `union bpf_attr` for BPF_LINK_CREATE (kernel 5.7 on).
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// The name of a BPF map, at most fifteen characters.
pub(crate) fn map_name(id: u32) -> Result<String> {
    let map = open(BPF_MAP_GET_FD_BY_ID, &MapById { id, padding: [0; 2] }).context("opening a map")?;
    let mut info = MapInfo::default();
    let length = u32::try_from(size_of::<MapInfo>())?;
    let query = InfoByDescriptor { descriptor: number(&map)?, length, info: &raw mut info };
    call(BPF_OBJ_GET_INFO_BY_FD, &query).context("reading the name of a map")?;
    Ok(CStr::from_bytes_until_nul(&info.name)?.to_string_lossy().into_owned())
}

/// Loads a program that returns a value and does nothing.
pub(crate) fn load(program_type: u32, attach_type: u32, value: u32) -> Result<OwnedFd> {
    load_at(program_type, attach_type, value, 0)
}

/// As [`load`], for what has this number in the kernel's types.
pub(crate) fn load_at(program_type: u32, attach_type: u32, value: u32, attach_to: u32) -> Result<OwnedFd> {
    // Before Linux 5.11 programs count against this limit. Where it may not be raised, loading fails or does not need it.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    // r0 = value; exit
    let instructions: [u64; 2] = [u64::from(value) << 32 | 0xb7, 0x95];
    let load = ProgramLoad {
        program_type,
        instruction_count: 2,
        instructions: instructions.as_ptr(),
        license: c"GPL".as_ptr().cast(),
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        attach_type,
        types: [0; 9],
        attach_to,
    };
    open(BPF_PROG_LOAD, &load).context("loading a program that does nothing")
}

/// Attaches a program to a cgroup, by its descriptor, or to a device of this network namespace, by its index, until the link is
/// closed.
pub(crate) fn link(program: &OwnedFd, target: u32, attach_type: u32, flags: u32) -> Result<OwnedFd> {
    let create = LinkCreate { program: number(program)?, target, attach_type, flags };
    open(BPF_LINK_CREATE, &create).context("attaching a program")
}

/// A descriptor as the kernel's structures have it.
pub(crate) fn number(descriptor: &impl AsRawFd) -> Result<u32> {
    u32::try_from(descriptor.as_raw_fd()).context("a negative descriptor")
}

/// A command whose result is a new descriptor.
pub(crate) fn open<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are a live, initialized value of the size given, laid out as the command expects, and
    // what they point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
