//! Whether a question was asked before and waits: by hints, which another question may have taken the place of.
//!
//! A query again from the same port with the same id needs no hint. Here are the others: glibc goes on to the next server
//! with the same id from another port; Go, dig and others take a new port and a new id. The first is told at once; the
//! second only after a time in which no resolver gives up, because threads of one workload ask the same at once.
//! (musl asks all servers at once, from one port with one id: that is no repetition.)

use netcause_common::dns::{
    LastQuestion, QueryKey, REPEATED_AFTER_NS, REPEATED_WITHIN_PATIENCES, ResponseCode,
};
use netcause_common::limits::DNS_QUESTIONS as SLOTS;

use super::{Head, setting};
use crate::maps::DNS_QUESTIONS;

#[inline(always)]
fn slot(local: u64, question: u64) -> Option<(*mut LastQuestion, u64)> {
    let tag = question ^ local.rotate_left(32);
    let last = DNS_QUESTIONS.get_ptr_mut((tag as u32) & (SLOTS - 1))?;
    Some((last, tag))
}

/// True when a query repeats one that waits; remembers it either way.
#[inline(always)]
pub fn is_repetition(key: &QueryKey, question: u64, now: u64) -> bool {
    let Some((last, tag)) = slot(key.local, question) else { return false };
    // SAFETY: the pointer comes from the table's lookup. Two CPUs may write at once, and what is mixed up then is a
    // hint.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    let mut repeats = false;
    if last.tag == tag {
        let age = now.saturating_sub(last.asked_ns);
        let goes_on = last.id == key.id && last.local_port != key.local_port;
        repeats = age <= setting!(patience_ns) * REPEATED_WITHIN_PATIENCES
            && (goes_on || (age >= REPEATED_AFTER_NS && last.has_failed == 0));
        // The first of several that were asked at once stays: all wait as long as it does.
        if !repeats && age < REPEATED_AFTER_NS && last.has_failed == 0 {
            return false;
        }
    }
    *last = LastQuestion { tag, asked_ns: now, id: key.id, local_port: key.local_port, has_failed: 0 };
    repeats
}

/// A question was answered.
#[inline(always)]
pub fn answered(local: u64, question: u64, head: Head) {
    let Some((last, tag)) = slot(local, question) else { return };
    // SAFETY: as in `is_repetition`.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    if last.tag == tag {
        match ResponseCode::of(head.rcode()) {
            ResponseCode::NoError | ResponseCode::NxDomain => last.tag = 0,
            _ => last.has_failed = 1,
        }
    }
}
