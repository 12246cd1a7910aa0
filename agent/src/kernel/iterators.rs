//! Runs BPF iterators.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use anyhow::Context as _;
use aya::programs::Iter;

/// Runs an iterator once, to its end, and calls `to` with each of the records that it writes, which have `size` bytes; returns
/// their number.
pub(super) fn walk(iterator: &mut Iter, size: usize, to: impl FnMut(&[u8])) -> anyhow::Result<u64> {
    let link = iterator.attach()?;
    read(iterator.take_link(link)?.into_file()?, size, to)
}

/// As [`walk`], over the entries of a map.
pub(super) fn walk_map(
    program: BorrowedFd<'_>,
    map: BorrowedFd<'_>,
    size: usize,
    to: impl FnMut(&[u8]),
) -> anyhow::Result<u64> {
    let link = link(program, map).context("cannot attach to the map")?;
    read(File::from(open(&link).context("cannot open the iterator")?), size, to)
}

fn read(mut file: File, size: usize, mut to: impl FnMut(&[u8])) -> anyhow::Result<u64> {
    // The kernel fills half of it at a time (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
    let mut buffer = vec![0; 64 * 1024];
    let (mut filled, mut records) = (0, 0);
    loop {
        let more = file.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if more == 0 {
            return Ok(records);
        }
        filled += more;
        let whole = filled - filled % size;
        buffer.get(..whole).unwrap_or_default().chunks_exact(size).for_each(&mut to);
        records += (whole / size) as u64;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// What `BPF_LINK_CREATE` reads of `union bpf_attr` for an iterator (include/uapi/linux/bpf.h). aya cannot name a map.
#[repr(C)]
struct LinkCreate {
    program: u32,
    /// None.
    target: u32,
    attach_type: u32,
    flags: u32,
    /// Address of a `union bpf_iter_link_info`: the map's descriptor.
    info: u64,
    info_length: u32,
    reserved: u32,
}

/// What `BPF_ITER_CREATE` reads of it.
#[repr(C)]
struct IterCreate {
    link: u32,
    flags: u32,
}

fn link(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_long = 28;
    const BPF_TRACE_ITER: u32 = 28;
    let map = map.as_raw_fd().cast_unsigned();
    let attributes = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        target: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        info: (&raw const map) as u64,
        info_length: 4,
        reserved: 0,
    };
    descriptor(BPF_LINK_CREATE, &attributes)
}

fn open(link: &OwnedFd) -> io::Result<OwnedFd> {
    const BPF_ITER_CREATE: libc::c_long = 33;
    descriptor(BPF_ITER_CREATE, &IterCreate { link: link.as_raw_fd().cast_unsigned(), flags: 0 })
}

/// Calls bpf(2) with a command that returns a descriptor.
fn descriptor<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as the attributes have, and what they point to lives as long as they do.
    #[expect(unsafe_code, reason = "commands of bpf(2) that aya does not have")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    let descriptor = i32::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just opened it for this process, and nothing else has it.
    #[expect(unsafe_code, reason = "a descriptor from a system call")]
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
