//! Connections that are open without a descriptor in any process's table.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::TcpStream,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use anyhow::{Context as _, Result};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// What holds a connection that was hidden; it ends with it.
pub(super) enum Hidden {
    /// The table of files of an io_uring, of which the connection's is the only one (a direct descriptor, io_uring_register(2)).
    Ring { _ring: OwnedFd },
    /// A message that nobody receives (`SCM_RIGHTS`, unix(7)).
    Message { _ends: [UnixStream; 2] },
}

impl Hidden {
    pub(super) fn in_ring(stream: &TcpStream) -> Result<Self> {
        const IORING_REGISTER_FILES: libc::c_long = 2;
        // `struct io_uring_params`, include/uapi/linux/io_uring.h, of which zeros are the defaults.
        let mut parameters = [0_u64; 15];
        // SAFETY: the kernel writes as many bytes as the parameters have, and returns a new descriptor.
        #[expect(unsafe_code, reason = "a system call that the C library does not have")]
        let ring = unsafe {
            let ring = libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr());
            OwnedFd::from_raw_fd(checked(ring).context("making an io_uring")?)
        };
        let files = [stream.as_raw_fd()];
        // SAFETY: the kernel reads one number.
        #[expect(unsafe_code, reason = "a system call that the C library does not have")]
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                IORING_REGISTER_FILES,
                files.as_ptr(),
                files.len(),
            )
        };
        checked(result).context("giving a connection to an io_uring")?;
        Ok(Self::Ring { _ring: ring })
    }

    pub(super) fn in_message(stream: &TcpStream) -> Result<Self> {
        let (from, to) = UnixStream::pair().context("making a pair of sockets")?;
        let files = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&from, &[IoSlice::new(b"x")], &mut rights, SendFlags::empty()).context("sending it")?;
        Ok(Self::Message { _ends: [from, to] })
    }
}

fn checked(result: libc::c_long) -> io::Result<i32> {
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
