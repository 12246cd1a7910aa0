//! The client's end: queries that leave, and their answers.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{Asked, QueryKey};

use super::counters::Counters;
use super::question::Question;
use super::{Head, Message, detail, repeat, setting};
use crate::maps::{DNS_LATE, DNS_QUERIES, EEXIST, ENOENT};
use crate::packet::Direction;

/// A query leaves.
#[inline(always)]
pub fn asked(message: Message, question: Question, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of(&key.flow()) else { return };
    counters.sent(message.datagrams);
    counters.query(question.kind);
    let asked = Asked { since_ns: now, last_ns: now, question: question.hash, unanswered: 1 };
    match DNS_QUERIES.insert(key, asked, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if repeat::is_repetition(message, key, question.hash, now) {
                counters.retried();
            }
        }
        Err(EEXIST) => asked_again(key, &asked, counters),
        Err(_) => counters.untracked(),
    }
}

/// A query with the id of one that waits, to the same server from the same port.
#[inline(always)]
fn asked_again(key: &QueryKey, asked: &Asked, counters: Counters) {
    let Some(earlier) = DNS_QUERIES.get_ptr_mut(key) else {
        // Answered this very moment.
        return counters.untracked();
    };
    // SAFETY: the pointer comes from the table's lookup. Only the socket's own messages change the entry, one after the
    // other but for the rarest of cases, which cost one count.
    #[expect(unsafe_code, reason = "map value")]
    let earlier = unsafe { &mut *earlier };
    let unanswered = earlier.unanswered;
    let is_same = unanswered != 0 && earlier.question == asked.question;
    if is_same {
        counters.retried();
        if asked.last_ns.saturating_sub(earlier.since_ns) <= setting!(patience_ns) {
            earlier.unanswered = unanswered + 1;
            earlier.last_ns = asked.last_ns;
            return;
        }
    }
    // Either the id is used for another question, so that an answer to the earlier one is not to be told any more, or
    // it has waited long enough. Or it was done with.
    counters.timed_out(unanswered);
    *earlier = *asked;
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
        counters.received(message.datagrams);
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
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.received(message.datagrams);
                counters.unmatched(head);
            }
            None => message.count_traffic(Direction::Received),
        };
    };
    // SAFETY: the pointer comes from the table's lookup.
    #[expect(unsafe_code, reason = "map value")]
    let (is_last, since_ns) = unsafe {
        (*late).unanswered = (*late).unanswered.saturating_sub(1);
        ((*late).unanswered == 0, (*late).since_ns)
    };
    let is_mine = !is_last || DNS_LATE.remove(key).is_ok();
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.received(message.datagrams);
        if !is_mine {
            return;
        }
        counters.answered(head, duration);
        counters.late();
    }
    detail::answered(message, head, &flow, key.local_port, now, duration);
}
