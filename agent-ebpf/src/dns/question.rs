//! Reads a query's question without following its labels.
//!
//! A name ends at its first zero byte, unless a label contains one, which no name in use does: then only type and hash are
//! wrong. So the question is read in words at constant offsets.

use netcause_common::dns::{HEADER_BYTES, question_mix};

use super::message::{Header, Message};

/// Words loaded at once, without the one that the type may extend into.
const WORDS: usize = 8;
/// Enough parts for the longest name: 255 bytes (RFC 1035 §2.3.4).
const PARTS: u32 = 4;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// Bits of the first byte of a name that no length of a label has (RFC 1035 §2.3.4).
const NO_LABEL: u64 = 0xc0;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The question of a query.
#[derive(Clone, Copy)]
pub struct Question {
    /// The same as [`netcause_common::dns::question_hash`]; 0 when the question cannot be read.
    pub hash: u64,
    /// The number of its type (RFC 1035 §3.2.2); 0 when it cannot be read.
    pub kind: u16,
    /// Its length: name, type and class; 0 when the name does not end where it was looked for.
    pub length: u32,
}

impl Question {
    // Values rather than an `Option`: the compiler may copy what an empty one does not have, which verifiers refuse.
    /// The name goes on.
    const LONGER: Self = Self { hash: 0, kind: 0, length: 0 };
    /// There is no name.
    const NONE: Self = Self { hash: 0, kind: 0, length: 1 };
}

/// Length of type and class.
const KIND_AND_CLASS: u32 = 4;

/// The first bytes of a question, padded with zeros.
pub type Words = [u64; WORDS + 1];

/// The question of a message; one that cannot be read has the type 0 and the hash 0. `words` is the start of this message's question,
/// if it was copied already.
#[inline(always)]
pub fn read(message: Message, header: Header, words: Option<&Words>) -> Question {
    if !header.has_one_question() {
        return Question::NONE;
    }
    let (mut part, mut hash) = (0, 0);
    if message.is_in_datagram() {
        // A copy costs more than everything else.
        let question = walk_packet(message);
        if question.length != 0 {
            return question;
        }
    } else if let Some(words) = words {
        let question = walk_part(words, &mut hash);
        if question.length != 0 {
            return question;
        }
        part = 1;
    }
    while part < PARTS {
        let skip = HEADER_BYTES as u32 + part * (WORDS * 8) as u32;
        if message.available <= skip {
            break;
        }
        let mut words = Words::default();
        let (offset, available) = (message.offset + skip, message.available - skip);
        // SAFETY: the size is that of the array.
        #[expect(unsafe_code, reason = "a length that varies")]
        let loaded = unsafe {
            message.packet.load_up_to::<{ size_of::<Words>() }>(offset, (&raw mut words).cast(), available)
        };
        if loaded.is_none() {
            break;
        }
        let question = walk_part(&words, &mut hash);
        if question.length != 0 {
            return Question { length: question.length + part * (WORDS * 8) as u32, ..question };
        }
        part += 1;
    }
    Question::NONE
}

/// The hash of the question of a response in a datagram, if its name is short enough to be read at once; else 0.
#[inline(always)]
pub fn hash_of_response(message: Message, header: Header) -> u64 {
    let is_readable = message.is_in_datagram() && header.has_one_question();
    if is_readable { walk_packet(message).hash } else { 0 }
}

/// Reads a name of up to eight words in place; longer ones, and what is not in the packet's linear part, go on.
#[inline(always)]
fn walk_packet(message: Message) -> Question {
    let begin = message.offset + HEADER_BYTES as u32;
    let Some(linear) = message.packet.linear_from(begin) else { return Question::LONGER };
    let mut hash = 0;
    macro_rules! steps {
        ($($index:literal)+) => { $(
            let position = begin + $index * 8;
            // A datagram ends where its packet does.
            let Some(word) = linear.word($index * 8) else {
                return last_word(message, hash, position, $index == 0);
            };
            let zeros = self::zeros(word);
            if $index == 0 && word & NO_LABEL != 0 {
                return Question::NONE;
            }
            if zeros != 0 {
                return whole(message, hash, word, zeros, position);
            }
            hash = question_mix(hash, word);
        )+ };
    }
    steps!(0 1 2 3 4 5 6 7);
    let _ = hash;
    Question::LONGER
}

/// The word that extends over the end of the message, taken from the last eight bytes of the message, or over that of the linear part.
#[inline(always)]
fn last_word(message: Message, hash: u64, position: u32, is_first: bool) -> Question {
    let end = message.offset + message.available;
    let beyond = (position + 8).wrapping_sub(end);
    if beyond > 7 {
        return Question::LONGER;
    }
    let Some(word) = message.packet.near::<u64>(end - 8).copied() else { return Question::LONGER };
    let word = word >> (beyond * 8);
    if is_first && word & NO_LABEL != 0 {
        return Question::NONE;
    }
    whole(message, hash, word, zeros(word), position)
}

/// The word that contains the end of the name; the type follows.
#[inline(always)]
fn whole(message: Message, hash: u64, word: u64, zeros: u64, position: u32) -> Question {
    let (name, bytes) = before(word, zeros);
    let Some(number) = message.packet.near::<u16>(position + bytes as u32 + 1) else {
        return Question::LONGER;
    };
    let number = u16::from_be(*number);
    let begin = message.offset + HEADER_BYTES as u32;
    Question {
        hash: question_mix(question_mix(hash, name), number.into()),
        kind: number,
        length: position - begin + bytes as u32 + 1 + KIND_AND_CLASS,
    }
}

/// Mixes words into the hash until the name ends. Unrolled by hand, because older verifiers allow no variable offset into
/// the stack.
#[inline(always)]
fn walk_part(words: &Words, hash: &mut u64) -> Question {
    macro_rules! steps {
        ($($index:literal)+) => { $(
            let word = words[$index];
            let zeros = self::zeros(word);
            if zeros != 0 {
                let (name, bytes) = before(word, zeros);
                let behind = (word >> (bytes * 8) >> 8) | (words[$index + 1] << (56 - bytes * 8));
                let number = u16::from_be((behind & 0xffff) as u16);
                let hash = question_mix(question_mix(*hash, name), number.into());
                let length = $index * 8 + bytes as u32 + 1 + KIND_AND_CLASS;
                return Question { hash, kind: number, length };
            }
            *hash = question_mix(*hash, word);
        )+ };
    }
    const { assert!(WORDS == 8) };
    steps!(0 1 2 3 4 5 6 7);
    Question::LONGER
}

/// A flag in each byte that is zero. The lowest flag is right; those above it may be wrong.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

/// The bytes before the first zero, and their number.
#[inline(always)]
fn before(word: u64, zeros: u64) -> (u64, u64) {
    let first = zeros & zeros.wrapping_neg();
    // `first` is 0x80 shifted left by whole bytes; the highest byte of the product is their number.
    (word & (first - 1), (first >> 7).wrapping_mul(0x0001_0203_0405_0607) >> 56)
}
