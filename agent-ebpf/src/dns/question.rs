//! Reading a query's question without following its labels.
//!
//! A name ends at its first zero octet, unless a label has one inside, which no name in use has: then type and hash are
//! wrong, and nothing else. So the question is read in words, with offsets that are constants.

use netcause_common::dns::{HEADER_OCTETS, QueryType, question_mix};

use super::{Head, Message};

/// Words of a short name.
const SHORT_WORDS: usize = 5;
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

/// The question of a message; one that cannot be read has no type.
#[inline(always)]
pub fn read(message: Message, head: Head) -> Question {
    let mut question = Question { hash: 0, kind: QueryType::Other };
    if !head.has_one_question() {
        return question;
    }
    // Most questions are short, and most messages go on behind them (EDNS): no copy is needed then. (Over TCP it would
    // make the verifier's work twice as long.)
    if message.datagrams.count != 0
        && message.available >= (HEADER_OCTETS + size_of::<[u64; SHORT_WORDS + 1]>()) as u32
        && let Some(words) =
            message.packet.near::<[u64; SHORT_WORDS + 1]>(message.offset + HEADER_OCTETS as u32)
        && let Some(whole) = walk_short(words)
    {
        return whole;
    }
    let mut part = 0;
    while part < PARTS {
        let skip = HEADER_OCTETS as u32 + part * (WORDS * 8) as u32;
        if message.available <= skip {
            break;
        }
        let mut words = [0_u64; WORDS + 1];
        let (offset, room) = (message.offset + skip, size_of_val(&words) as u32);
        // SAFETY: the room is that of the array.
        #[expect(unsafe_code, reason = "a length that varies")]
        let loaded = unsafe {
            message.packet.load_up_to(offset, (&raw mut words).cast(), message.available - skip, room)
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

/// Adds words to the hash until the name ends, which returns from the function around it. Unrolled by hand, because older
/// verifiers take no variable offset into the stack.
macro_rules! walk {
    ($words:expr, $hash:expr, $($index:literal)+) => { $(
        let word = $words[$index];
        let zeros = word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS;
        if zeros != 0 {
            return Some(end($hash, word, $words[$index + 1], zeros));
        }
        $hash = question_mix($hash, word);
    )+ };
}

#[inline(always)]
fn walk_short(words: &[u64; SHORT_WORDS + 1]) -> Option<Question> {
    const { assert!(SHORT_WORDS == 5) };
    let mut hash = 0;
    walk!(words, hash, 0 1 2 3 4);
    let _ = hash;
    None
}

#[inline(always)]
fn walk_part(words: &[u64; WORDS + 1], hash: &mut u64) -> Option<Question> {
    const { assert!(WORDS == 8) };
    walk!(words, *hash, 0 1 2 3 4 5 6 7);
    None
}

/// The word with the name's end, and the next: the type follows.
#[inline(always)]
fn end(hash: u64, word: u64, next: u64, zeros: u64) -> Question {
    // The lowest flag is that of the first zero octet; those above it may be wrong.
    let first = zeros & zeros.wrapping_neg();
    let name = word & (first - 1);
    // `first` is 0x80 shifted left by whole octets; the product's highest octet is their number.
    let octets = (first >> 7).wrapping_mul(0x0001_0203_0405_0607) >> 56;
    let behind = (word >> (octets * 8) >> 8) | (next << (56 - octets * 8));
    let number = u16::from_be((behind & 0xffff) as u16);
    Question { hash: question_mix(question_mix(hash, name), number.into()), kind: QueryType::of(number) }
}
