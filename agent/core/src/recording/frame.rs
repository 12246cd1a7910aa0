//! Frames: length, checksum, and a value in compressed MessagePack.

use std::io::{BufWriter, Read as _, Write as _};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc, read::DeflateDecoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most that a frame may have when it is no longer compressed: 10 000 edges have about four MiB in the first frame.
const MAX_BYTES: u64 = 256 << 20;

/// Why a frame cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// There is no more.
    End,
    /// It is cut short, or damaged.
    Torn,
    /// It is whole, but not what this version knows.
    Unknown(String),
}

/// Appends a frame.
pub fn append(to: &mut Vec<u8>, value: &impl Serialize) {
    // The fastest level: a third larger than the default for a third of the time.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // A vector takes everything, and every type here has a form in MessagePack.
    // The serializer writes a few bytes at a time, each of which would start the compressor.
    let mut buffered = BufWriter::new(&mut encoder);
    let mut values = rmp_serde::Serializer::new(&mut buffered).with_struct_map();
    let is_written = value.serialize(&mut values).is_ok() && buffered.flush().is_ok();
    drop(buffered);
    let bytes = encoder.finish().unwrap_or_default();
    debug_assert!(is_written, "a frame that cannot be written");
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
    to.extend_from_slice(&checksum(&bytes).to_le_bytes());
    // A vector takes everything.
    let _ = to.write_all(&bytes);
}

/// Takes a frame off the front.
pub fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, Bad> {
    rmp_serde::from_slice(&plain(bytes)?).map_err(|error| Bad::Unknown(error.to_string()))
}

/// The same, as MessagePack.
pub fn plain(bytes: &mut &[u8]) -> Result<Vec<u8>, Bad> {
    if bytes.is_empty() {
        return Err(Bad::End);
    }
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Bad::Torn)?;
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or(Bad::Torn)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Bad::Torn)?;
    let (frame, rest) = rest.split_at_checked(length).ok_or(Bad::Torn)?;
    if checksum(frame) != u32::from_le_bytes(*sum) {
        return Err(Bad::Torn);
    }
    let mut plain = Vec::new();
    DeflateDecoder::new(frame).take(MAX_BYTES).read_to_end(&mut plain).map_err(|_| Bad::Torn)?;
    *bytes = rest;
    Ok(plain)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}
