//! Fields that are read without being kept as text, and what the API writes where there is nothing: `null`.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// `null` is what is not there.
pub fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time as the API writes it (RFC 3339), in seconds since 1970. What is none is as if it were not there.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Text(|text: &str| {
        let time: Timestamp = text.parse().ok()?;
        u64::try_from(time.as_second()).ok()
    }))
}

/// An address; what is none (`None`, a name, an empty text) is as if it were not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Address(pub Option<IpAddr>);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(|text: &str| text.parse().ok())).map(Self)
    }
}

/// An IANA protocol number, from its name.
#[derive(Clone, Copy, Debug)]
pub struct Protocol(pub Option<u8>);

impl Default for Protocol {
    /// As of a port that names none.
    fn default() -> Self {
        Self(Some(6))
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = |text: &str| match text {
            "TCP" => Some(6),
            "UDP" => Some(17),
            "SCTP" => Some(132),
            _ => None,
        };
        deserializer.deserialize_any(Text(number)).map(Self)
    }
}

/// The addresses of a list, each once.
pub fn addresses(all: impl IntoIterator<Item = Address>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in all.into_iter().filter_map(|Address(address)| address) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found.shrink_to_fit();
    found
}

/// Text that is turned into something else at once. Anything but text is nothing.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&str) -> Option<T>> Visitor<'de> for Text<F> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0)(text))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
