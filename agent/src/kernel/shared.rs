//! The memory that the daemon has in common with the sweep's programs.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::{self, NonNull};

use anyhow::{Context as _, Result, bail, ensure};
use aya::Ebpf;
use aya::maps::Map;
use netcause_common::probe::open_sockets::{OpenConnection, Sweep};

use super::maps::table;

/// The value of the map `SWEEP`, in the memory of this process.
#[derive(Debug)]
pub(super) struct Shared(NonNull<Sweep>);

// SAFETY: the mapping belongs to the process, and this is the only pointer to it.
#[expect(unsafe_code, reason = "a mapping")]
unsafe impl Send for Shared {}

impl Shared {
    /// Maps it; the mapping keeps the map alive.
    pub(super) fn map(ebpf: &mut Ebpf) -> Result<Self> {
        const NAME: &str = "SWEEP";
        let Map::Array(map) = table(ebpf, NAME)? else { bail!("the map {NAME} is no array") };
        let size =
            map.info().with_context(|| format!("cannot read the size of the map {NAME}"))?.value_size();
        ensure!(size as usize == size_of::<Sweep>(), "the map {NAME} has values of {size} bytes");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let descriptor = map.fd().as_fd().as_raw_fd();
        // SAFETY: the kernel chooses an address at which nothing is.
        #[expect(unsafe_code, reason = "a mapping")]
        let address = unsafe {
            libc::mmap(ptr::null_mut(), size_of::<Sweep>(), access, libc::MAP_SHARED, descriptor, 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).with_context(|| format!("cannot map the map {NAME}"));
        }
        Ok(Self(NonNull::new(address.cast()).context("the kernel has chosen the address 0")?))
    }

    /// Begins the sweep of this number, for which connections without data are quiet after so many ticks.
    pub(super) fn begin(&mut self, number: u64, quiet: u32) {
        let sweep = self.state();
        sweep.number = number;
        sweep.began = 0;
        sweep.quiet = quiet.saturating_add(OpenConnection::AHEAD);
    }

    /// Calls `to` with each of the records, and returns how many there were. The iterators must not be read meanwhile.
    pub(super) fn take(&mut self, to: impl FnMut(&[u8])) -> u64 {
        take(self.state(), to)
    }

    fn state(&mut self) -> &mut Sweep {
        // SAFETY: the mapping has the size of the state, which any bytes are, and only the sweep's programs write it, which run in calls
        // of read(2) by the owner of this.
        #[expect(unsafe_code, reason = "a mapping")]
        unsafe {
            self.0.as_mut()
        }
    }
}

fn take(sweep: &mut Sweep, mut to: impl FnMut(&[u8])) -> u64 {
    let length = sweep.length.min(Sweep::ROOM as u64);
    sweep.length = 0;
    for (record, _) in sweep.records.iter().zip(0..length) {
        to(bytemuck::bytes_of(record));
    }
    length
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more. It cannot fail: these are its address and size.
        #[expect(unsafe_code, reason = "a mapping")]
        unsafe {
            libc::munmap(self.0.as_ptr().cast(), size_of::<Sweep>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_once() {
        let mut sweep: Box<Sweep> = bytemuck::zeroed_box();
        for (number, record) in (0..).zip(&mut sweep.records) {
            record.since_sent = number;
        }
        for (length, expected) in [(3, 3), (0, 0), (Sweep::ROOM as u64, Sweep::ROOM), (u64::MAX, Sweep::ROOM)]
        {
            sweep.length = length;
            let mut found = Vec::new();
            let taken = take(&mut sweep, |bytes| {
                found.push(bytemuck::pod_read_unaligned::<OpenConnection>(bytes).since_sent);
            });
            assert_eq!((taken, found.len(), sweep.length), (expected as u64, expected, 0));
            assert!(found.into_iter().eq(0..u32::try_from(expected).unwrap()));
        }
    }
}
