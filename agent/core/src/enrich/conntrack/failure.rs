//! The reasons why a conntrack lookup fails.

use std::io;

/// Why a conntrack lookup failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// EPERM or EACCES.
    #[error("conntrack lookups are not permitted: CAP_NET_ADMIN is missing")]
    Forbidden,
    /// The kernel has no nfnetlink or no ctnetlink; the errno says which.
    #[error("this kernel has no conntrack netlink interface (nf_conntrack_netlink): {}", errno(*.0))]
    Unsupported(i32),
    /// The kernel did not reply in time.
    #[error("the conntrack lookup timed out")]
    Timeout,
    /// The reply could not be decoded.
    #[error("the reply to the conntrack lookup is malformed")]
    Malformed,
    /// Another errno.
    #[error("conntrack lookup failed: {}", errno(*.0))]
    Other(i32),
    /// The thread that did the lookup ended without a result.
    #[error("the result of the conntrack lookup was lost")]
    Lost,
}

impl Failure {
    /// A short code for metric labels.
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
