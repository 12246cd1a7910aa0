//! Reading a query's question without following its labels.
//!
//! A name ends at its first zero octet, unless a label has one inside, which no name in use has: then type and hash are
//! wrong, and nothing else. So the question is read in words, with offsets that are constants.

use netcause_common::dns::{HEADER_OCTETS, QueryType, question_mix};

use super::{Head, Message};

/// Words that are loaded at once, less the one that the type may reach into.
const WORDS: usize = 8;
/// So often that the longest name ends: 255 octets (RFC 1035 §2.3.4).
const PARTS: u32 = 4;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// What a query asks.
#[derive(Clone, Copy)]
pub struct Question {
    /// As [`netcause_common::dns::question_hash`].
    pub hash: u64,
    /// The type.
    pub kind: QueryType,
}

/// The question's first octets, and zeros behind it.
pub type Words = [u64; WORDS + 1];

/// The question of a message; one that cannot be read has no type. `words` are those that were copied already, all of this
/// message.
#[inline(always)]
pub fn read(message: Message, head: Head, words: Option<&Words>) -> Question {
    let mut question = Question { hash: 0, kind: QueryType::Other };
    if !head.has_one_question() {
        return question;
    }
    let mut part = 0;
    if message.is_in_datagram() {
        // A copy costs more than all the rest.
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
        let skip = HEADER_OCTETS as u32 + part * (WORDS * 8) as u32;
        if message.available <= skip {
            break;
        }
        let mut words = Words::default();
        let (offset, available) = (message.offset + skip, message.available - skip);
        // SAFETY: the room is that of the array.
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

/// Reads a name of up to eight words where it lies; `None` when it is longer, or not in the packet's linear part.
#[inline(always)]
fn walk_packet(message: Message) -> Option<Question> {
    let begin = message.offset + HEADER_OCTETS as u32;
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

/// The word that reaches over the message's end: taken from the eight octets before that.
#[inline(always)]
fn last_word(message: Message, hash: u64, position: u32, end: u32) -> Option<Question> {
    let beyond = position + 8 - end;
    if beyond > 7 {
        return None;
    }
    let word = *message.packet.near::<u64>(end - 8)? >> (beyond * 8);
    whole(message, hash, word, zeros(word), position)
}

/// The word with the name's end; the type follows.
#[inline(always)]
fn whole(message: Message, hash: u64, word: u64, zeros: u64, position: u32) -> Option<Question> {
    let (name, octets) = before(word, zeros);
    let number = u16::from_be(*message.packet.near::<u16>(position + octets as u32 + 1)?);
    Some(Question {
        hash: question_mix(question_mix(hash, name), number.into()),
        kind: QueryType::of(number),
    })
}

/// Adds words to the hash until the name ends. Unrolled by hand, because older verifiers take no variable offset into the
/// stack.
#[inline(always)]
fn walk_part(words: &Words, hash: &mut u64) -> Option<Question> {
    macro_rules! steps {
        ($($index:literal)+) => { $(
            let word = words[$index];
            let zeros = self::zeros(word);
            if zeros != 0 {
                let (name, octets) = before(word, zeros);
                let behind = (word >> (octets * 8) >> 8) | (words[$index + 1] << (56 - octets * 8));
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

/// A flag in each octet that is zero. The lowest is right; those above it may be wrong.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

/// The octets before the first zero, and how many they are.
#[inline(always)]
fn before(word: u64, zeros: u64) -> (u64, u64) {
    let first = zeros & zeros.wrapping_neg();
    // `first` is 0x80 shifted left by whole octets; the product's highest octet is their number.
    (word & (first - 1), (first >> 7).wrapping_mul(0x0001_0203_0405_0607) >> 56)
}
