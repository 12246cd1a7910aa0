//! A body that waits to be sent.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// In a second.
pub const NANOSECONDS: u64 = 1_000_000_000;

/// A request's body, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// With gzip.
    pub bytes: Bytes,
    /// Data points or log records in it.
    pub items: u64,
}

impl Body {
    /// Compresses a message.
    pub fn compressed(message: &[u8], items: u64) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to a vector does not fail.
        let mut bytes = encoder.write_all(message).and_then(|()| encoder.finish()).unwrap_or_default();
        // It may wait for long.
        bytes.shrink_to_fit();
        Self { bytes: bytes.into(), items }
    }
}
