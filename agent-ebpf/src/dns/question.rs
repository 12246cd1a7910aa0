//! Reads a query's question without following its labels.
//!
//! A name ends at its first zero byte, unless a label contains one, which no name in use does: then only type and hash are
//! wrong. So the question is read in words at constant offsets.

use netcause_common::dns::{HEADER_BYTES, QueryType, question_mix};

use super::message::{Header, Message};

/// Words loaded at once, without the one that the type may extend into.
const WORDS: usize = 8;
/// Enough parts for the longest name: 255 bytes (RFC 1035 §2.3.4).
const PARTS: u32 = 4;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The question of a query.
#[derive(Clone, Copy)]
pub struct Question {
    /// The same as [`netcause_common::dns::question_hash`].
    pub hash: u64,
    /// The type.
    pub kind: QueryType,
}

/// The first bytes of a question, padded with zeros.
pub type Words = [u64; WORDS + 1];

/// The question of a message; one that cannot be read has the type `Other`. `words` is the start of this message's question,
/// if it was copied already.
#[inline(always)]
pub fn read(message: Message, header: Header, words: Option<&Words>) -> Question {
    let mut question = Question { hash: 0, kind: QueryType::Other };
    if !header.has_one_question() {
        return question;
    }
    let mut part = 0;
    if message.is_in_datagram() {
        // A copy costs more than everything else.
        if let Some(whole) = walk_packet(message) {
            return whole;
        }
    } else if let Some(words) = words {
        if let Some(whole) = walk_part(words, &mut question.hash) {
            return whole;
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
        if let Some(whole) = walk_part(&words, &mut question.hash) {
            return whole;
        }
        part += 1;
    }
    question
}

/// Reads a name of up to eight words in place; `None` when it is longer, or not in the packet's linear part.
#[inline(always)]
fn walk_packet(message: Message) -> Option<Question> {
    let begin = message.offset + HEADER_BYTES as u32;
    let end = message.offset + message.available;
    let mut hash = 0;
    macro_rules! steps {
        ($($index:literal)+) => { $(
            let position = begin + $index * 8;
            if position + 8 > end {
                return last_word(message, hash, position, end);
            }
            let word = *message.packet.near::<u64>(position)?;
            let zeros = self::zeros(word);
            if zeros != 0 {
                return whole(message, hash, word, zeros, position);
            }
            hash = question_mix(hash, word);
        )+ };
    }
    steps!(0 1 2 3 4 5 6 7);
    let _ = hash;
    None
}

/// The word that extends over the end of the message: taken from the last eight bytes of the message.
#[inline(always)]
fn last_word(message: Message, hash: u64, position: u32, end: u32) -> Option<Question> {
    let beyond = position + 8 - end;
    if beyond > 7 {
        return None;
    }
    let word = *message.packet.near::<u64>(end - 8)? >> (beyond * 8);
    whole(message, hash, word, zeros(word), position)
}

/// The word that contains the end of the name; the type follows.
#[inline(always)]
fn whole(message: Message, hash: u64, word: u64, zeros: u64, position: u32) -> Option<Question> {
    let (name, bytes) = before(word, zeros);
    let number = u16::from_be(*message.packet.near::<u16>(position + bytes as u32 + 1)?);
    Some(Question {
        hash: question_mix(question_mix(hash, name), number.into()),
        kind: QueryType::of(number),
    })
}

/// Mixes words into the hash until the name ends. Unrolled by hand, because older verifiers allow no variable offset into
/// the stack.
#[inline(always)]
fn walk_part(words: &Words, hash: &mut u64) -> Option<Question> {
    macro_rules! steps {
        ($($index:literal)+) => { $(
            let word = words[$index];
            let zeros = self::zeros(word);
            if zeros != 0 {
                let (name, bytes) = before(word, zeros);
                let behind = (word >> (bytes * 8) >> 8) | (words[$index + 1] << (56 - bytes * 8));
                let number = u16::from_be((behind & 0xffff) as u16);
                let hash = question_mix(question_mix(*hash, name), number.into());
                return Some(Question { hash, kind: QueryType::of(number) });
            }
            *hash = question_mix(*hash, word);
        )+ };
    }
    const { assert!(WORDS == 8) };
    steps!(0 1 2 3 4 5 6 7);
    None
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
