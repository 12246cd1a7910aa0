//! Where a path ends: in a kernel's device, or in the network card of a VM.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    str::FromStr,
    thread,
};

use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The name of the device at each end that is in a kernel.
pub(crate) const DEVICE: &str = "path0";

/// One end of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// A TAP device in the network namespace of this process, without offloads.
    Tap(u32),
    /// A UNIX socket of ours, and the one that QEMU binds for a network card (`-netdev dgram`): a datagram is a frame.
    Socket(PathBuf, PathBuf),
}

impl FromStr for End {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split(':').collect::<Vec<_>>()[..] {
            ["tap", pid] => Ok(Self::Tap(pid.parse().context("no process number")?)),
            ["socket", ours, theirs] => Ok(Self::Socket(ours.into(), theirs.into())),
            _ => bail!("neither tap:PID nor socket:OURS:THEIRS"),
        }
    }
}

impl End {
    /// Opens it for frames, non-blocking.
    pub(super) fn open(&self) -> Result<File> {
        match self {
            Self::Tap(process) => tap_of(*process),
            Self::Socket(ours, theirs) => {
                let socket =
                    UnixDatagram::bind(ours).with_context(|| format!("listening on {}", ours.display()))?;
                socket
                    .connect(theirs)
                    .with_context(|| format!("connecting to the VM at {}", theirs.display()))?;
                socket.set_nonblocking(true).context("making it non-blocking")?;
                Ok(OwnedFd::from(socket).into())
            }
        }
    }
}

/// Opens the TAP device of a network namespace.
fn tap_of(process: u32) -> Result<File> {
    let open = || -> Result<File> {
        let path = format!("/proc/{process}/ns/net");
        let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering {path}"))?;
        tap()
    };
    thread::scope(|scope| scope.spawn(open).join()).map_err(|_| anyhow::anyhow!("panicked at an end"))?
}

#[expect(unsafe_code, reason = "no library opens TAP devices without many dependencies")]
fn tap() -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun").context("opening /dev/net/tun")?;
    // SAFETY: an `ifreq` of zeros is one; its name ends with a zero because the device's is shorter than the field.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).context("flags")?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq` (drivers/net/tun.c), which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    ensure!(result == 0, "making {DEVICE}: {}", io::Error::last_os_error());
    rustix::io::ioctl_fionbio(&file, true).context("making it non-blocking")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_device_or_a_socket() {
        assert_eq!("tap:7".parse::<End>().unwrap(), End::Tap(7));
        assert_eq!("socket:/a:/b".parse::<End>().unwrap(), End::Socket("/a".into(), "/b".into()));
        for wrong in ["", "7", "tap:x", "socket:/a"] {
            assert!(wrong.parse::<End>().is_err(), "{wrong}");
        }
    }
}
