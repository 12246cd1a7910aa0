//! Parameters of a path.

use std::str::FromStr;
use std::time::Duration;

use netcause_core::aggregate::windows::KEPT;

/// A time to look back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub Duration);

/// A parameter that is wrong: which, why, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuery(String);

/// Calls with each parameter of the part of a URL behind the question mark, decoded; the function says whether there is such a
/// parameter. `known` says which there are.
///
/// # Errors
///
/// When a parameter is unknown, comes twice or has a value that it may not have.
pub fn each_parameter(
    text: &str,
    known: &str,
    mut take: impl FnMut(&str, &str) -> Result<bool, BadQuery>,
) -> Result<(), BadQuery> {
    let mut seen = Vec::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (Some(key), Some(value)) = (decoded(key), decoded(value)) else {
            return Err(BadQuery(format!("{part:?} is not percent-encoded UTF-8")));
        };
        if !take(&key, &value)? {
            return Err(BadQuery(format!("unknown parameter {key:?}: {known}")));
        }
        if seen.contains(&key) {
            return Err(BadQuery(format!("{key} is given twice")));
        }
        seen.push(key);
    }
    Ok(())
}

/// A value, or what it may be.
///
/// # Errors
///
/// When it may not be that.
pub fn parsed<T: FromStr<Err = String>>(key: &str, value: &str) -> Result<T, BadQuery> {
    value.parse().map_err(|reason| BadQuery(format!("{key}={value}: {reason}")))
}

impl Default for Window {
    fn default() -> Self {
        Self(Duration::from_mins(1))
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (text.strip_suffix('s').unwrap_or(text), 1),
        };
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let is_good = |seconds: &u64| (1..=KEPT.as_secs()).contains(seconds);
        let seconds = seconds.filter(is_good);
        seconds
            .map(Duration::from_secs)
            .map(Self)
            .ok_or_else(|| "a time from 1s to 10m, as 60s or 5m".to_owned())
    }
}

/// Percent-decoded, with a plus for a space; `None` when that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(16 * high + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
