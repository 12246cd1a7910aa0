//! Questions: recent ones are kept to recognize repetitions and to name queries that time out.

use bytemuck::{Pod, Zeroable};

use super::{HEADER_BYTES, QUERY_BYTES};
use crate::endpoint::Address;

/// The most recent question in a slot of a direct-mapped table, to recognize repetitions and to name queries that time
/// out. A hint: another question with the same slot may have replaced it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LastQuestion {
    /// Identifies the workload and the question: [`question_tag`].
    pub tag: u64,
    /// When it was sent; CLOCK_MONOTONIC, nanoseconds.
    pub asked_ns: u64,
    /// The query's id.
    pub id: u16,
    /// The local port, in host order.
    pub local_port: u16,
    /// [`LastQuestion::ANSWERED`], [`LastQuestion::WAITS`] or [`LastQuestion::FAILED`].
    pub state: u16,
    /// Number of bytes kept in [`Self::message`].
    pub length: u16,
    /// Where it was sent to, as [`super::QueryKey::remote`].
    pub remote: Address,
    /// The port there, in host order.
    pub remote_port: u16,
    /// Always zero.
    pub reserved: [u16; 3],
    /// Start of the query; empty when no name may leave the kernel.
    pub message: [u8; QUERY_BYTES],
}

impl LastQuestion {
    /// The response was a success, or that the name does not exist.
    pub const ANSWERED: u16 = 0;
    /// No response yet.
    pub const WAITS: u16 = 1;
    /// The response was a failure: a query with the same id goes to the next server, or to the same one again.
    pub const FAILED: u16 = 2;

    /// Whether a query with the same question repeats this one, `age_ns` after it; `timeout_ns` is [`super::Settings::timeout_ns`].
    ///
    /// While this one is pending, a query with its id from its port goes to another server at the same time (musl) and repeats
    /// nothing. After a failure musl and c-ares ask the same server again that way.
    #[inline(always)]
    #[must_use]
    pub const fn is_repeated_by(&self, id: u16, local_port: u16, age_ns: u64, timeout_ns: u64) -> bool {
        let is_pending = self.state == Self::WAITS;
        let has_same_id = self.id == id && (self.local_port != local_port || self.state == Self::FAILED);
        self.state != Self::ANSWERED
            && age_ns <= timeout_ns * REPEATED_WITHIN_TIMEOUTS
            && (has_same_id || (is_pending && age_ns >= REPEATED_AFTER_NS))
    }
}

/// Identifies a question of a workload; its slot is the remainder by the number of slots.
#[inline(always)]
#[must_use]
pub const fn question_tag(local: u64, question: u64) -> u64 {
    question ^ local.wrapping_mul(MULTIPLIER)
}

/// 2^64 divided by the golden ratio, made odd: spreads the bits of what it multiplies.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes eight bytes of a name, the first in the lowest bits, into the hash of a question.
#[inline(always)]
#[must_use]
pub const fn question_mix(hash: u64, word: u64) -> u64 {
    /// Lowers upper-case letters; other bytes change too, which does not hurt a hash.
    const LOWER_CASE: u64 = 0x2020_2020_2020_2020;
    let product = (hash ^ (word | LOWER_CASE)).wrapping_mul(MULTIPLIER);
    product ^ (product >> 32)
}

/// Hash of a message's question, the same that the programs compute: of the name without its final zero, in words of
/// eight bytes padded with zeros, and then of the type. Upper and lower case hash alike. `None` when the message ends
/// before the name and type do.
#[must_use]
pub fn question_hash(message: &[u8]) -> Option<u64> {
    let question = message.get(HEADER_BYTES..)?;
    let end = question.iter().position(|byte| *byte == 0)?;
    let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
    let mut hash = 0;
    // An empty last word is mixed in too: the programs then find the end of the name in a word of its own.
    let mut rest = question.get(..end)?;
    loop {
        let (word, after) = rest.split_at(rest.len().min(8));
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        hash = question_mix(hash, u64::from_le_bytes(bytes));
        if word.len() < 8 {
            return Some(question_mix(hash, kind.into()));
        }
        rest = after;
    }
}

/// A query with a new id repeats a question only when that has been pending for this long: no resolver retries earlier,
/// and it is more likely the query of another thread.
pub const REPEATED_AFTER_NS: u64 = 800_000_000;

/// A client that closes its socket sooner than this after its query has not waited for the answer as long as a resolver
/// does (resolv.conf(5): `timeout` is at least a second): it has what it wanted, or gave up. So the server is not to blame.
pub const ABANDONED_WITHIN_NS: u64 = REPEATED_AFTER_NS;

/// Resolvers give up after this many timeouts at most; a later query with the same question is a new one.
pub const REPEATED_WITHIN_TIMEOUTS: u64 = 3;

const _: () = assert!(size_of::<LastQuestion>() == 48 + QUERY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_told_from_other_queries() {
        const TIMEOUT_NS: u64 = 5_000_000_000;
        const SOON: u64 = 1_000_000;
        let last = |state| LastQuestion { id: 7, local_port: 4000, state, ..LastQuestion::zeroed() };
        let repeats = |state, id, port, age_ns| last(state).is_repeated_by(id, port, age_ns, TIMEOUT_NS);
        let (waits, failed) = (LastQuestion::WAITS, LastQuestion::FAILED);
        assert!(repeats(waits, 7, 4001, SOON), "glibc, at the next server");
        assert!(!repeats(waits, 7, 4000, SOON), "musl, at all servers at once");
        assert!(!repeats(waits, 8, 4001, SOON), "another thread");
        assert!(repeats(waits, 8, 4001, REPEATED_AFTER_NS), "Go, after a timeout");
        assert!(repeats(failed, 7, 4001, SOON), "glibc and dig, after a failure");
        assert!(repeats(failed, 7, 4000, SOON), "musl and c-ares, after a failure");
        assert!(!repeats(failed, 8, 4000, REPEATED_AFTER_NS), "a new lookup");
        assert!(!repeats(failed, 7, 4000, 4 * TIMEOUT_NS), "no resolver waits so long");
        assert!(!repeats(LastQuestion::ANSWERED, 7, 4001, SOON), "it was answered");
    }

    #[test]
    fn a_hash_is_of_the_question_alone() {
        let query = |id: u8, name: &[u8], kind: u8, more: &[u8]| {
            let mut message = [id, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec();
            message.extend_from_slice(name);
            message.extend_from_slice(&[0, 0, kind, 0, 1]);
            message.extend_from_slice(more);
            question_hash(&message)
        };
        let hash = query(1, b"\x03www\x07example\x03com", 1, &[]);
        assert!(hash.is_some());
        assert_eq!(hash, query(2, b"\x03WWW\x07exAmple\x03com", 1, &[0, 0, 41]));
        assert_ne!(hash, query(1, b"\x03www\x07example\x03com", 28, &[]));
        assert_ne!(hash, query(1, b"\x03www\x07example\x03org", 1, &[]));
        // A name of exactly one word, and the root.
        assert_ne!(query(1, b"\x07sevenxx", 1, &[]), query(1, b"", 1, &[]));
        assert_eq!(question_hash(&[0; HEADER_BYTES]), None);
        assert_eq!(question_hash(&[1; 300]), None);
    }
}
