//! Questions: what is remembered of the last ones, and what tells one from another.

use bytemuck::{Pod, Zeroable};

use super::{HEADER_OCTETS, QUERY_OCTETS};

/// The question that was asked last among those that fall into one slot of a table: it tells repetitions, and the name of
/// what is not answered. A hint: another question may have taken the slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LastQuestion {
    /// Of the workload and the question: see [`question_tag`].
    pub tag: u64,
    /// When it was asked; CLOCK_MONOTONIC, nanoseconds.
    pub asked_ns: u64,
    /// The query's id.
    pub id: u16,
    /// The port here.
    pub local_port: u16,
    /// [`LastQuestion::ANSWERED`], [`LastQuestion::WAITS`] or [`LastQuestion::FAILED`].
    pub state: u16,
    /// Octets of the message that are kept.
    pub length: u16,
    /// The query's beginning, or nothing when names stay in the kernel.
    pub message: [u8; QUERY_OCTETS],
}

impl LastQuestion {
    /// It was answered.
    pub const ANSWERED: u16 = 0;
    /// It was not.
    pub const WAITS: u16 = 1;
    /// It was answered with a failure: whoever asks with the same id goes on to the next server.
    pub const FAILED: u16 = 2;
}

/// Stands for a question of a workload: its slot is the remainder by the number of slots.
#[inline(always)]
#[must_use]
pub const fn question_tag(local: u64, question: u64) -> u64 {
    question ^ local.wrapping_mul(MULTIPLIER)
}

/// Odd, and its bits look random: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Adds eight octets of a name, the first in the lowest bits, to the hash of a question.
#[inline(always)]
#[must_use]
pub const fn question_mix(hash: u64, word: u64) -> u64 {
    /// Makes capital letters small, and other octets something else that is as good for a hash.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let product = (hash ^ (word | SMALL)).wrapping_mul(MULTIPLIER);
    product ^ (product >> 32)
}

/// The hash of a message's question, as the programs make it: of the name without its final zero, in words of eight octets
/// that end with zeros, and then of the type. The same for the same question in any case of letters. `None` when the
/// name does not end in what is there.
#[must_use]
pub fn question_hash(message: &[u8]) -> Option<u64> {
    let question = message.get(HEADER_OCTETS..)?;
    let end = question.iter().position(|octet| *octet == 0)?;
    let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
    let mut hash = 0;
    // The last word is mixed in even if it is empty, as the programs find the end in a word of its own then.
    let mut rest = question.get(..end)?;
    loop {
        let (word, after) = rest.split_at(rest.len().min(8));
        let mut octets = [0; 8];
        octets[..word.len()].copy_from_slice(word);
        hash = question_mix(hash, u64::from_le_bytes(octets));
        if word.len() < 8 {
            return Some(question_mix(hash, kind.into()));
        }
        rest = after;
    }
}

/// A question with another id is a repetition when the first has waited for so long: before that no resolver gives up, and
/// it is more likely another thread's.
pub const REPEATED_AFTER_NS: u64 = 800_000_000;

/// Resolvers give up after so many patiences at most: who asks again after that asks anew.
pub const REPEATED_WITHIN_PATIENCES: u64 = 3;

const _: () = assert!(size_of::<LastQuestion>() == 24 + QUERY_OCTETS);

#[cfg(test)]
mod tests {
    use super::*;

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
        // As long as a word, and the root.
        assert_ne!(query(1, b"\x07sevenxx", 1, &[]), query(1, b"", 1, &[]));
        assert_eq!(question_hash(&[0; HEADER_OCTETS]), None);
        assert_eq!(question_hash(&[1; 300]), None);
    }
}
