//! Domain names in two forms: the labels of a message, and the text that people read.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The longest label in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// The longest name in bytes, with the length byte of each label and without the final zero (RFC 1035 §2.3.4).
const MAX_LABELS: usize = 254;

/// A domain name in presentation format, in lower case, without the final dot; the root is `.`.
///
/// It is printable ASCII without spaces: a dot or backslash within a label is escaped by a backslash, and a byte that is not
/// a visible character is written `\DDD`, its value in decimal (RFC 1035 §5.1). Two names are the same exactly when their
/// texts are equal, because DNS ignores case (RFC 4343). Cloning copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The text is not a domain name: it is empty, too long, or has an empty label or a malformed escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a domain name in presentation format")]
pub struct NotAName;

impl Name {
    /// The name in presentation format.
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
            for &byte in label {
                match byte {
                    b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                    b'!'..=b'~' => text.push(char::from(byte)),
                    // Writing to a string does not fail.
                    _ => drop(write!(text, "\\{byte:03}")),
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

    /// Parses presentation format, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        Labels::from_presentation(text).map(|labels| Self::from(&labels)).ok_or(NotAName)
    }
}

/// A name as in a message, in lower case: each label preceded by its length, without the final zero. It lives on the stack,
/// because most names are only compared.
#[derive(Clone)]
pub(super) struct Labels {
    bytes: [u8; MAX_LABELS],
    length: usize,
}

impl Labels {
    /// The root name, which has no labels.
    pub(super) const ROOT: Self = Self { bytes: [0; MAX_LABELS], length: 0 };

    /// Appends a label; `None` when it is empty or too long, or the name becomes too long.
    pub(super) fn push(&mut self, label: &[u8]) -> Option<()> {
        let length = u8::try_from(label.len()).ok().filter(|_| (1..=MAX_LABEL).contains(&label.len()))?;
        let (first, rest) = self.bytes.get_mut(self.length..)?.split_first_mut()?;
        let place = rest.get_mut(..label.len())?;
        *first = length;
        place.copy_from_slice(label);
        place.make_ascii_lowercase();
        self.length += 1 + label.len();
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The labels from left to right.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_bytes();
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
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => {
                    labels.push(&label)?;
                    label.clear();
                }
                b'\\' => label.push(escaped(&mut bytes)?),
                _ => label.push(byte),
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
        self.as_bytes() == other.as_bytes()
    }
}

/// Decodes the escape after a backslash.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let first = bytes.next()?;
    let Some(hundreds) = digit(first) else { return Some(first) };
    let tens = digit(bytes.next()?)?;
    let units = digit(bytes.next()?)?;
    u8::try_from(100 * hundreds + 10 * tens + units).ok()
}
