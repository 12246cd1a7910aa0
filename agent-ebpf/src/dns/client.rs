//! The client's end: queries that leave, and their answers.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{Asked, QUERY_OCTETS, QueryKey};

use super::counters::Counters;
use super::question::{self, Question};
use super::{Head, Message, detail, repeat, setting};
use crate::maps::{DNS_LATE, DNS_QUERIES, EEXIST};

/// What a new entry starts from: it belongs to nobody until it is filled in, and is too large for a program's stack.
static EMPTY: Asked = Asked {
    since_ns: u64::MAX,
    last_ns: u64::MAX,
    question: 0,
    unanswered: 1,
    length: 0,
    message: [0; QUERY_OCTETS],
};

/// A query leaves.
#[inline(always)]
pub fn asked(message: Message, head: Head, key: &QueryKey, now: u64) {
    let question = question::read(message, head);
    let Some(counters) = Counters::of(&key.flow()) else { return };
    counters.query(question.kind);
    match DNS_QUERIES.insert(key, &EMPTY, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if let Some(waiting) = DNS_QUERIES.get_ptr_mut(key) {
                fill(waiting, message, question, now);
            }
            if repeat::is_repetition(key, question.hash, now) {
                counters.retried();
            }
        }
        Err(EEXIST) => {
            if let Some(earlier) = DNS_QUERIES.get_ptr_mut(key) {
                asked_again(earlier, message, question, counters, now);
            } else {
                // Answered this very moment.
                counters.untracked();
            }
        }
        Err(_) => counters.untracked(),
    }
}

/// Writes down what was asked. Nobody answers before the query has left.
#[inline(always)]
fn fill(waiting: *mut Asked, message: Message, question: Question, now: u64) {
    let keeps_names = setting!(details) != 0;
    // SAFETY: the pointer comes from the table's lookup, and the room is that of its value's array.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        let mut length = None;
        if keeps_names {
            let to = (&raw mut (*waiting).message).cast();
            length = message.packet.load_up_to(message.offset, to, message.available, QUERY_OCTETS as u32);
        }
        (*waiting).length = length.unwrap_or(0) as u16;
        (*waiting).question = question.hash;
        (*waiting).unanswered = 1;
        (*waiting).last_ns = now;
        (*waiting).since_ns = now;
    }
}

/// A query with the id of one that waits, to the same server from the same port.
#[inline(always)]
fn asked_again(earlier: *mut Asked, message: Message, question: Question, counters: Counters, now: u64) {
    let patience = setting!(patience_ns);
    // SAFETY: the pointer comes from the table's lookup. Only the socket's own messages change the entry, one after the
    // other but for the rarest of cases, which cost one count.
    #[expect(unsafe_code, reason = "map value")]
    let (unanswered, is_same, age) = unsafe {
        let unanswered = (*earlier).unanswered;
        let is_same = unanswered != 0 && (*earlier).question == question.hash;
        (unanswered, is_same, now.saturating_sub((*earlier).since_ns))
    };
    if is_same {
        counters.retried();
        if age <= patience {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "map value")]
            unsafe {
                (*earlier).unanswered = unanswered.saturating_add(1);
                (*earlier).last_ns = now;
            }
            return;
        }
    }
    // Either the id is used for another question, so that an answer to the earlier one is not to be told any more, or
    // it has waited long enough. Or it was done with.
    counters.timed_out(unanswered.into());
    fill(earlier, message, question, now);
}

/// An answer comes.
#[inline(always)]
pub fn answered(message: Message, head: Head, key: &QueryKey, now: u64) {
    let flow = key.flow();
    let Some(waiting) = DNS_QUERIES.get_ptr_mut(key) else {
        return answered_late(message, head, key, now);
    };
    // SAFETY: the pointer comes from the table's lookup; the entry may be removed meanwhile, and then is still memory of
    // the table.
    #[expect(unsafe_code, reason = "map value")]
    let (since_ns, last_ns, question, unanswered) = unsafe {
        let waiting = &*waiting;
        (waiting.since_ns, waiting.last_ns, waiting.question, waiting.unanswered)
    };
    if unanswered == 0 {
        return answered_late(message, head, key, now);
    }
    if unanswered == 1 {
        match DNS_QUERIES.remove(key) {
            Ok(()) => {}
            Err(ENOENT) => return answered_late(message, head, key, now),
            // SAFETY: as above. The table is being changed on this very CPU; the daemon removes the entry.
            #[expect(unsafe_code, reason = "map value")]
            Err(_) => unsafe { (*waiting).unanswered = 0 },
        }
    } else {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            (*waiting).unanswered = unanswered - 1;
            (*waiting).since_ns = last_ns;
        }
    }
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.answered(head, duration);
        if duration > setting!(patience_ns) {
            counters.timed_out(1);
            counters.late();
        }
    }
    repeat::answered(key.local, question, head);
    detail::answered(message, head, &flow, key.local_port, now, duration);
}

/// An answer to nothing that waits: to what has timed out, or found no room, or was never asked.
#[inline(always)]
fn answered_late(message: Message, head: Head, key: &QueryKey, now: u64) {
    let flow = key.flow();
    let Some(late) = DNS_LATE.get_ptr_mut(key) else {
        if let Some(counters) = Counters::of_known(&flow) {
            counters.unmatched(head);
        }
        return;
    };
    // SAFETY: the pointer comes from the table's lookup.
    #[expect(unsafe_code, reason = "map value")]
    let since_ns = unsafe {
        (*late).unanswered = (*late).unanswered.saturating_sub(1);
        ((*late).unanswered == 0, (*late).since_ns)
    };
    let (is_last, since_ns) = since_ns;
    if is_last && DNS_LATE.remove(key).is_err() {
        return;
    }
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.answered(head, duration);
        counters.late();
    }
    detail::answered(message, head, &flow, key.local_port, now, duration);
}

/// include/uapi/asm-generic/errno-base.h, negated as helpers return it.
const ENOENT: i32 = -2;
