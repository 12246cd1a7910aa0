//! The uid of a pod: sixteen octets, so that thousands are kept cheaply and one is compared without a look at text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Where the dashes of a UUID stand (RFC 9562 section 4).
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UUID with its dashes.
const UUID: usize = 36;
/// Characters without them.
const DIGITS: usize = 32;

/// The uid of a pod.
///
/// The API server gives UUIDs. The kubelet gives what it runs from files or a URL, with no server, the MD5 of their
/// manifest, in 32 digits without a dash (`applyDefaults`, pkg/kubelet/config/common.go); the API has such a pod under
/// another uid, with this one as its annotation `kubernetes.io/config.hash`. The two are never equal. A manifest may
/// also bring a uid of its own, of any text: that is none here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid {
    octets: [u8; 16],
    is_hash: bool,
}

/// It is neither a UUID nor a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the uid of a pod: neither a UUID nor 32 hexadecimal digits")]
pub struct NotAUid;

const _: () = assert!(size_of::<Option<PodUid>>() <= 24);

impl PodUid {
    /// As it stands in the name of a systemd slice, where `-` has a meaning and `_` stands for it
    /// (`escapeSystemdCgroupName`, pkg/kubelet/cm/cgroup_manager_linux.go).
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn from_slice_name(text: &str) -> Result<Self, NotAUid> {
        Self::parse(text.as_bytes(), b'_')
    }

    fn parse(text: &[u8], dash: u8) -> Result<Self, NotAUid> {
        let is_hash = match text.len() {
            UUID => false,
            DIGITS => true,
            _ => return Err(NotAUid),
        };
        let mut octets = [0; 16];
        let mut digits = 0;
        for (at, character) in text.iter().enumerate() {
            if !is_hash && DASHES.contains(&at) {
                if *character != dash {
                    return Err(NotAUid);
                }
                continue;
            }
            let octet: &mut u8 = octets.get_mut(digits / 2).ok_or(NotAUid)?;
            *octet = *octet << 4 | digit(*character).ok_or(NotAUid)?;
            digits += 1;
        }
        Ok(Self { octets, is_hash })
    }
}

/// Kubernetes writes small ones; a manifest may bring a UUID in capitals.
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

    /// As the API has it, or the annotation of a static pod.
    fn from_str(text: &str) -> Result<Self, NotAUid> {
        Self::parse(text.as_bytes(), b'-')
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.octets.iter().enumerate() {
            if !self.is_hash && matches!(at, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{octet:02x}")?;
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
