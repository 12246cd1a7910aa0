//! What an answer of a collector means: opentelemetry-proto, docs/specification.md, "OTLP/HTTP Response".
//!
//! A collector is someone else's program, or pretends to be one: whatever it answers, it costs a bounded time and memory.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use k8s_openapi::jiff::fmt::rfc2822;

use super::counts::Failed;

/// A collector that asks for more time than this is asked again after this.
const MAX_AFTER: Duration = Duration::from_mins(10);
/// Characters that are kept of a message.
const MAX_MESSAGE: usize = 200;

/// The collector has the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items that it rejects (`partial_success`): they are not to be sent again.
    pub rejected: u64,
    /// Why, or a warning.
    pub message: String,
    /// The body is none of the protocol.
    pub is_malformed: bool,
}

/// It has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub why: Failed,
    /// In words, without a secret.
    pub message: String,
    /// Whether the same request may be sent again.
    pub retry: Retry,
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No.
    Never,
    /// After a wait of ours, or after that which the server asks for.
    After(Option<Duration>),
}

impl Failure {
    /// One after which the request is sent again.
    pub fn passing(why: Failed, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), retry: Retry::After(None) }
    }
}

/// What a status means; `body` may be cut short, and is `None` where it could not be read.
///
/// # Errors
///
/// When the collector has not taken the request.
pub fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    items: u64,
) -> Result<Accepted, Failure> {
    if status == StatusCode::OK {
        let malformed = Accepted { is_malformed: true, ..Accepted::default() };
        return Ok(body.and_then(|body| accepted(body, items)).unwrap_or(malformed));
    }
    let (why, may_pass) = match status.as_u16() {
        429 => (Failed::Throttled, true),
        502..=504 => (Failed::Unavailable, true),
        _ => (Failed::Refused, false),
    };
    let said = message(body.unwrap_or_default());
    let said = if said.is_empty() { "no message".to_owned() } else { said };
    let retry = if may_pass { Retry::After(retry_after(headers)) } else { Retry::Never };
    Err(Failure { why, message: format!("{}: {said}", status.as_u16()), retry })
}

/// An `Export…ServiceResponse`: `partial_success` with the number of rejected items and a message. `None` where it is none.
fn accepted(body: &[u8], items: u64) -> Option<Accepted> {
    let mut accepted = Accepted::default();
    for field in Fields(body) {
        let (1, Field::Bytes(partial)) = field? else { continue };
        for field in Fields(partial) {
            match field? {
                // An int64: below zero it is larger than there are items.
                (1, Field::Number(rejected)) => accepted.rejected = rejected.min(items),
                (2, Field::Bytes(text)) => accepted.message = shown(text),
                _ => {}
            }
        }
    }
    Some(accepted)
}

/// The message of a `google.rpc.Status`, else a text.
fn message(body: &[u8]) -> String {
    let mut said = None;
    for field in Fields(body) {
        match field {
            Some((2, Field::Bytes(text))) => said = Some(text),
            Some(_) => {}
            None => return shown(body),
        }
    }
    shown(said.unwrap_or_default())
}

/// Text of a stranger for the log: short, on one line, without what may be a token that it was sent.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..4 * MAX_MESSAGE).unwrap_or(bytes));
    let text: String = text.chars().filter(|sign| !sign.is_control()).take(MAX_MESSAGE).collect();
    // Every JSON Web Token begins with `eyJ`: `{"` in base64.
    let lower = text.to_ascii_lowercase();
    if text.contains("eyJ")
        || ["bearer", "authorization", "token", "api-key"].iter().any(|word| lower.contains(word))
    {
        return "message withheld: it may contain a token".to_owned();
    }
    text.trim().to_owned()
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = rfc2822::parse(text).ok()?.timestamp();
            SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(after.min(MAX_AFTER))
}

/// The fields of a message; `None` for what is no field, after which there is nothing.
struct Fields<'a>(&'a [u8]);

/// A value of a field.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of four or eight bytes.
    Fixed,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.bytes(8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        (key >> 3 != 0).then_some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests;
