//! The client's end: queries sent, and the responses to them.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{Asked, QueryKey};

use super::counters::Counters;
use super::message::{Header, Message};
use super::question::Question;
use super::{detail, repeat};
use crate::maps::{DNS_LATE, DNS_QUERIES, EEXIST, ENOENT};
use crate::packet::Direction;
use crate::settings::setting;

/// A query was sent.
#[inline(always)]
pub fn query(message: Message, question: Question, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of(&key.flow()) else { return };
    counters.sent(message.datagrams);
    counters.query(question.kind);
    let query = Asked { since_ns: now, last_ns: now, question: question.hash, unanswered: 1 };
    match DNS_QUERIES.insert(key, query, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if repeat::is_repetition(message, key, question.hash, now) {
                counters.retried();
            }
        }
        Err(EEXIST) => id_in_use(key, &query, counters),
        Err(_) => counters.untracked(),
    }
}

/// A query with the id of a pending one, to the same server from the same port.
#[inline(always)]
fn id_in_use(key: &QueryKey, query: &Asked, counters: Counters) {
    let Some(earlier) = DNS_QUERIES.get_ptr_mut(key) else {
        // The response came in between.
        return counters.untracked();
    };
    // SAFETY: the pointer comes from a map lookup. Only messages of the same socket change the entry, one after the other
    // except in rare races, which cost one count.
    #[expect(unsafe_code, reason = "map value")]
    let earlier = unsafe { &mut *earlier };
    let unanswered = earlier.unanswered;
    let is_same = unanswered != 0 && earlier.question == query.question;
    if is_same {
        counters.retried();
        if query.last_ns.saturating_sub(earlier.since_ns) <= setting!(timeout_ns) {
            earlier.unanswered = unanswered + 1;
            earlier.last_ns = query.last_ns;
            return;
        }
    }
    // The id was reused for another question, so that a response to the earlier one cannot be recognized any more, or the
    // earlier query has timed out, or it was complete (0 unanswered).
    counters.timed_out(unanswered);
    *earlier = *query;
}

/// A response was received.
#[inline(always)]
pub fn response(message: Message, header: Header, key: &QueryKey, now: u64) {
    let flow = key.flow();
    let Some(pending) = DNS_QUERIES.get_ptr_mut(key) else {
        return late_response(message, header, key, now);
    };
    // SAFETY: the pointer comes from a map lookup; if the entry is removed meanwhile, it is still memory of the map.
    #[expect(unsafe_code, reason = "map value")]
    let (since_ns, last_ns, question, unanswered) = unsafe {
        let pending = &*pending;
        (pending.since_ns, pending.last_ns, pending.question, pending.unanswered)
    };
    if unanswered == 0 {
        return late_response(message, header, key, now);
    }
    if unanswered == 1 {
        match DNS_QUERIES.remove(key) {
            Ok(()) => {}
            Err(ENOENT) => return late_response(message, header, key, now),
            // SAFETY: as above. The removal failed with -EBUSY; the daemon removes the entry.
            #[expect(unsafe_code, reason = "map value")]
            Err(_) => unsafe { (*pending).unanswered = 0 },
        }
    } else {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            (*pending).unanswered = unanswered - 1;
            (*pending).since_ns = last_ns;
        }
    }
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.received(message.datagrams);
        counters.answered(header, duration);
        if duration > setting!(timeout_ns) {
            counters.timed_out(1);
            counters.late();
        }
    }
    repeat::response(key.local, question, header);
    detail::emit(message, header, &flow, key.local_port, now, duration);
}

/// A response without a pending query: that has timed out, was not tracked, or never existed.
#[inline(always)]
fn late_response(message: Message, header: Header, key: &QueryKey, now: u64) {
    let flow = key.flow();
    let Some(late) = DNS_LATE.get_ptr_mut(key) else {
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.received(message.datagrams);
                counters.unmatched(header);
            }
            None => message.count_traffic(Direction::Received),
        };
    };
    // SAFETY: the pointer comes from a map lookup.
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
        counters.answered(header, duration);
        counters.late();
    }
    detail::emit(message, header, &flow, key.local_port, now, duration);
}
