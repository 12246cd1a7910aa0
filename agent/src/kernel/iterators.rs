//! Runs BPF iterators.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use anyhow::Context as _;
use aya::programs::Iter;

/// Runs an iterator once, to its end, and calls `take` whenever its program may wait for that, and at the end.
pub(super) fn walk(iterator: &mut Iter, take: impl FnMut()) -> anyhow::Result<()> {
    let link = iterator.attach()?;
    Ok(read(iterator.take_link(link)?.into_file()?, take)?)
}

/// As [`walk`], over the entries of a map.
pub(super) fn walk_map(
    program: BorrowedFd<'_>,
    map: BorrowedFd<'_>,
    take: impl FnMut(),
) -> anyhow::Result<()> {
    let link = link(program, map).context("cannot attach to the map")?;
    Ok(read(File::from(open(&link).context("cannot open the iterator")?), take)?)
}

/// Reads to the end of an iterator whose program writes nothing to its reader. A read fails with EAGAIN when the program wants the
/// same object again, or after a million objects (`bpf_seq_read`, kernel/bpf/bpf_iter.c); the next one goes on from there.
fn read(mut file: impl io::Read, mut take: impl FnMut()) -> io::Result<()> {
    loop {
        let result = file.read(&mut [0; 8]);
        take();
        match result {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as it is told, and in the end that there is nothing more.
    struct Answers(Vec<io::ErrorKind>);

    impl io::Read for Answers {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.pop().map_or(Ok(0), |kind| Err(kind.into()))
        }
    }

    #[test]
    fn an_iterator_is_read_to_its_end() {
        let mut taken = 0;
        read(Answers(vec![io::ErrorKind::WouldBlock; 3]), || taken += 1).unwrap();
        assert_eq!(taken, 4);
        let error = read(Answers(vec![io::ErrorKind::OutOfMemory]), || taken += 1).unwrap_err();
        assert_eq!((error.kind(), taken), (io::ErrorKind::OutOfMemory, 5));
    }
}
