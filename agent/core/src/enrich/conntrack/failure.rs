//! Why the connection tracking did not answer.

use std::io;

/// Why the kernel did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// EPERM, EACCES.
    #[error("the kernel's table of connections may not be read: CAP_NET_ADMIN is missing")]
    Forbidden,
    /// The kernel has no nfnetlink, or no ctnetlink.
    #[error("this kernel cannot tell its table of connections (no nf_conntrack_netlink): {}", errno(*.0))]
    Unsupported(i32),
    /// No answer came in time.
    #[error("the kernel did not answer in time")]
    Timeout,
    /// What it said made no sense.
    #[error("the kernel's answer makes no sense")]
    Malformed,
    /// Another error.
    #[error("reading the kernel's table of connections: {}", errno(*.0))]
    Other(i32),
    /// The thread that asked was lost.
    #[error("the question was lost on its way")]
    Lost,
}

impl Failure {
    /// A short name, for a label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Unsupported(_) => "unsupported",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Other(_) => "other",
            Self::Lost => "lost",
        }
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
