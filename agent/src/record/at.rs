//! A time in a recording.

use std::str::FromStr;

use k8s_openapi::jiff::Timestamp;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Seconds since 1970.
    Time(u64),
    /// So many seconds before the end.
    BeforeEnd(u64),
}

impl At {
    /// Seconds since 1970, of a recording that ends then.
    #[must_use]
    pub fn of_end(self, end: u64) -> u64 {
        match self {
            Self::Time(time) => time,
            Self::BeforeEnd(seconds) => end.saturating_sub(seconds),
        }
    }
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = match text.strip_prefix('-') {
            Some(before) => seconds(before).map(Self::BeforeEnd),
            None => {
                let time = text.parse::<Timestamp>().ok();
                time.and_then(|time| u64::try_from(time.as_second()).ok()).map(Self::Time)
            }
        };
        time.ok_or_else(|| {
            "a time as 2026-11-29T10:00:00Z, or before the end of the recording as -90s, -5m or -1h"
                .to_owned()
        })
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3600),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Seconds since 1970 as RFC 3339 has them.
pub(super) fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}
