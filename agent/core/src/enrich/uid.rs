//! The uid of a pod in 16 bytes, which is compact and quick to compare.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Where the dashes of a UUID stand (RFC 9562 section 4).
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UUID with its dashes.
const UUID: usize = 36;
/// Characters of a UUID without dashes.
const DIGITS: usize = 32;

/// The uid of a pod.
///
/// The API server assigns UUIDs. The kubelet assigns the MD5 of the manifest, as 32 digits without dashes, to static pods,
/// which it runs from files or a URL (`applyDefaults`, pkg/kubelet/config/common.go). The API has such a pod under another
/// uid, with this one in the annotation `kubernetes.io/config.hash`. A UUID and a hash are never equal. A manifest may also
/// set any text as the uid; such a text is not a `PodUid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid {
    bytes: [u8; 16],
    is_hash: bool,
}

/// As its text.
impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PodUid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text is neither a UUID nor a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the uid of a pod: neither a UUID nor 32 hexadecimal digits")]
pub struct NotAUid;

const _: () = assert!(size_of::<Option<PodUid>>() <= 24);

impl PodUid {
    /// Parses the uid in the name of a systemd slice, where `_` replaces `-` (`escapeSystemdCgroupName`,
    /// pkg/kubelet/cm/cgroup_manager_linux.go).
    ///
    /// # Errors
    ///
    /// When the text is neither a UUID nor a hash.
    pub fn from_slice_name(text: &str) -> Result<Self, NotAUid> {
        Self::parse(text.as_bytes(), b'_')
    }

    /// A UUID that is made of two hashes.
    #[must_use]
    pub(crate) fn from_hash(high: u64, low: u64) -> Self {
        Self { bytes: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(), is_hash: false }
    }

    fn parse(text: &[u8], dash: u8) -> Result<Self, NotAUid> {
        let is_hash = match text.len() {
            UUID => false,
            DIGITS => true,
            _ => return Err(NotAUid),
        };
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, character) in text.iter().enumerate() {
            if !is_hash && DASHES.contains(&at) {
                if *character != dash {
                    return Err(NotAUid);
                }
                continue;
            }
            let byte: &mut u8 = bytes.get_mut(digits / 2).ok_or(NotAUid)?;
            *byte = *byte << 4 | digit(*character).ok_or(NotAUid)?;
            digits += 1;
        }
        Ok(Self { bytes, is_hash })
    }
}

/// A hexadecimal digit. Kubernetes writes lower case; a manifest may have a UUID in upper case.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

impl FromStr for PodUid {
    type Err = NotAUid;

    /// Parses `metadata.uid`, or the annotation of a static pod.
    fn from_str(text: &str) -> Result<Self, NotAUid> {
        Self::parse(text.as_bytes(), b'-')
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.bytes.iter().enumerate() {
            if !self.is_hash && matches!(at, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests;
