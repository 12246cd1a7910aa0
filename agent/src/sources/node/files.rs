//! Files in which the kernel writes its counters.

use std::path::Path;
use std::{fs, io};

use netcause_core::node::{Failure, Found, Malformed, Reason};

/// Reads and parses a file.
pub(super) fn parsed<T>(
    path: impl AsRef<Path>,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Found<T> {
    let path = path.as_ref();
    let text = fs::read(path).map_err(|error| failure(path.display(), &error))?;
    parse(&text).map_err(|malformed| Failure::new(Reason::Malformed, malformed.to_string()))
}

/// Why something could not be read.
pub(super) fn failure(what: impl std::fmt::Display, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        // PSI that is compiled in and switched off answers with EOPNOTSUPP.
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => Reason::KernelFeatureMissing,
        io::ErrorKind::PermissionDenied => Reason::NotPermitted,
        _ => Reason::Other,
    };
    Failure::new(reason, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        let read = |path: &str| parsed(path, |_| Err::<(), _>(Malformed("odd"))).unwrap_err().reason;
        assert_eq!(read("/proc/no/such/file"), Reason::KernelFeatureMissing);
        assert_eq!(read("/proc/self/stat"), Reason::Malformed);
        assert_eq!(read("/proc"), Reason::Other);
        let off = failure("psi", &io::Error::from_raw_os_error(95));
        assert_eq!(off.reason, Reason::KernelFeatureMissing);
    }
}
