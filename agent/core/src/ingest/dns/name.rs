//! Names: as they stand in messages, and as people read them.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Octets of a name with the length of each label, less the final zero (RFC 1035 §2.3.4).
const MAX_LABELS: usize = 254;

/// A name in presentation format, in lower case, without the final dot; the root is `.`.
///
/// It is ASCII without spaces: a dot or backslash in a label has a backslash before it, and an octet that is no visible
/// character is `\DDD`, its value in decimal (RFC 1035 §5.1). So two names are one exactly when their texts are (names
/// differ not by case, RFC 4343).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// A text that is no name: empty, with an empty label, an escape that is none, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no domain name in presentation format")]
pub struct NotAName;

impl Name {
    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&Labels> for Name {
    fn from(labels: &Labels) -> Self {
        let mut text = String::with_capacity(labels.length);
        for label in labels.iter() {
            if !text.is_empty() {
                text.push('.');
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' => text.extend(['\\', char::from(octet)]),
                    b'!'..=b'~' => text.push(char::from(octet)),
                    // Writing to a string does not fail.
                    _ => drop(write!(text, "\\{octet:03}")),
                }
            }
        }
        if text.is_empty() {
            text.push('.');
        }
        Self(text.into())
    }
}

impl FromStr for Name {
    type Err = NotAName;

    /// From presentation format, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        Labels::from_presentation(text).map(|labels| Self::from(&labels)).ok_or(NotAName)
    }
}

/// A name as it stands in a message, in lower case: each label after its length, without the final zero. On the stack,
/// because most names are only compared.
#[derive(Clone)]
pub(super) struct Labels {
    octets: [u8; MAX_LABELS],
    length: usize,
}

impl Labels {
    /// The root: no label.
    pub(super) const ROOT: Self = Self { octets: [0; MAX_LABELS], length: 0 };

    /// Adds a label; `None` when it is empty or too long, or the name becomes too long.
    pub(super) fn push(&mut self, label: &[u8]) -> Option<()> {
        let length = u8::try_from(label.len()).ok().filter(|_| (1..=MAX_LABEL).contains(&label.len()))?;
        let (first, rest) = self.octets.get_mut(self.length..)?.split_first_mut()?;
        let place = rest.get_mut(..label.len())?;
        *first = length;
        place.copy_from_slice(label);
        place.make_ascii_lowercase();
        self.length += 1 + label.len();
        Some(())
    }

    fn as_octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// The labels from left to right.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_octets();
        std::iter::from_fn(move || {
            let (&length, labels) = rest.split_first()?;
            let (label, after) = labels.split_at_checked(usize::from(length))?;
            rest = after;
            Some(label)
        })
    }

    fn from_presentation(text: &str) -> Option<Self> {
        let mut labels = Self::ROOT;
        if text == "." {
            return Some(labels);
        }
        let mut label = Vec::new();
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            match octet {
                b'.' => {
                    labels.push(&label)?;
                    label.clear();
                }
                b'\\' => label.push(escaped(&mut octets)?),
                _ => label.push(octet),
            }
        }
        if label.is_empty() && labels.length > 0 {
            return Some(labels);
        }
        labels.push(&label)?;
        Some(labels)
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.as_octets() == other.as_octets()
    }
}

/// The octet that the text after a backslash stands for.
fn escaped(octets: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u16::from(octet - b'0'));
    let first = octets.next()?;
    let Some(hundreds) = digit(first) else { return Some(first) };
    let tens = digit(octets.next()?)?;
    let units = digit(octets.next()?)?;
    u8::try_from(100 * hundreds + 10 * tens + units).ok()
}
