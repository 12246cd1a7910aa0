//! Whether a question was asked before and waits: by hints, which another question may have taken the place of.
//!
//! A query again from the same port with the same id needs no hint. Here are the others. glibc goes on to the next server,
//! or asks the same one again after a failure, with the same id from another port; dig does when it was refused: told at
//! once. Go and others take a new port and a new id: told only after a time in which no resolver gives up, because threads
//! of one workload ask the same at once. (musl asks all servers at once, from one port with one id: that is no
//! repetition. Load generators that begin their ids alike may look like one.)

use netcause_common::dns::{
    LastQuestion, QUERY_OCTETS, QueryKey, REPEATED_AFTER_NS, REPEATED_WITHIN_PATIENCES, ResponseCode,
    question_tag,
};
use netcause_common::limits::DNS_QUESTIONS as SLOTS;

use super::{Head, Message, setting};
use crate::maps::DNS_QUESTIONS;

#[inline(always)]
fn slot(local: u64, question: u64) -> Option<(*mut LastQuestion, u64)> {
    let tag = question_tag(local, question);
    let last = DNS_QUESTIONS.get_ptr_mut((tag as u32) & (SLOTS - 1))?;
    Some((last, tag))
}

/// True when a query repeats one that waits; remembers it either way, and its name.
#[inline(always)]
pub fn is_repetition(message: Message, key: &QueryKey, question: u64, now: u64) -> bool {
    let Some((last, tag)) = slot(key.local, question) else { return false };
    // SAFETY: the pointer comes from the table's lookup. Two CPUs may write at once, and what is mixed up then is a
    // hint.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    let mut repeats = false;
    if last.tag != tag {
        last.tag = tag;
        last.length = keep(message, last);
    } else if last.state != LastQuestion::ANSWERED {
        let age = now.saturating_sub(last.asked_ns);
        let waits = last.state == LastQuestion::WAITS;
        let goes_on = last.id == key.id && last.local_port != key.local_port;
        repeats = age <= setting!(patience_ns) * REPEATED_WITHIN_PATIENCES
            && (goes_on || (waits && age >= REPEATED_AFTER_NS));
        // The first of several that were asked at once stays: all wait as long as it does.
        if !repeats && waits && age < REPEATED_AFTER_NS {
            return false;
        }
    }
    last.asked_ns = now;
    last.id = key.id;
    last.local_port = key.local_port;
    last.state = LastQuestion::WAITS;
    repeats
}

/// Copies the message, as far as there is room; returns how far.
#[inline(always)]
fn keep(message: Message, last: &mut LastQuestion) -> u16 {
    if setting!(details) == 0 {
        return 0;
    }
    let to = (&raw mut last.message).cast();
    // SAFETY: the room is that of the slot's array.
    #[expect(unsafe_code, reason = "map value")]
    let kept = unsafe { message.packet.load_up_to::<QUERY_OCTETS>(message.offset, to, message.available) };
    kept.unwrap_or(0) as u16
}

/// A question was answered.
#[inline(always)]
pub fn answered(local: u64, question: u64, head: Head) {
    let Some((last, tag)) = slot(local, question) else { return };
    // SAFETY: as in `is_repetition`.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    if last.tag == tag {
        last.state = match ResponseCode::of(head.rcode()) {
            ResponseCode::NoError | ResponseCode::NxDomain => LastQuestion::ANSWERED,
            _ => LastQuestion::FAILED,
        };
    }
}
