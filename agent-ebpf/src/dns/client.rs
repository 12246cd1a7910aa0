//! The client's end: queries sent, and the responses to them.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{Asked, QueryKey};
use netcause_common::flow::ROLE_CLIENT;

use super::counters::Counters;
use super::message::{Header, Message, Response};
use super::question::Question;
use super::{detail, question, repeat};
use crate::maps::{DNS_LATE, DNS_QUERIES, EEXIST, ENOENT};
use crate::packet::Direction;
use crate::settings::setting;

/// A query was sent.
#[inline(always)]
pub fn query(message: Message, question: Question, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of_query(&key.flow_in(ROLE_CLIENT), message, Direction::Sent) else {
        return;
    };
    counters.sent(message.datagrams);
    counters.query(question.kind);
    let socket = message.packet.socket_cookie();
    // References, here and below: a value that is passed on is copied.
    let query = &Asked {
        since_ns: now,
        last_ns: now,
        question: question.hash,
        socket,
        unanswered: 1,
        marks: 0,
        length: question.length as u16,
    };
    match DNS_QUERIES.insert(key, query, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if repeat::is_repetition(message, key, question.hash, now) {
                counters.retried();
            }
        }
        Err(EEXIST) => id_in_use(message, key, query, counters),
        Err(_) => counters.untracked(),
    }
}

/// A query with the id of a pending one, to the same server from the same port.
#[inline(always)]
fn id_in_use(message: Message, key: &QueryKey, query: &Asked, counters: Counters) {
    let Some(earlier) = DNS_QUERIES.get_ptr_mut(key) else {
        // The response came in between.
        return counters.untracked();
    };
    // SAFETY: the pointer comes from a map lookup. Only messages of the same socket change the entry, one after the other
    // except in rare races, which cost one count.
    #[expect(unsafe_code, reason = "map value")]
    let earlier = unsafe { &mut *earlier };
    let is_pending = earlier.unanswered != 0 || earlier.marks & Asked::SHARES_ID != 0;
    let is_other = earlier.question != query.question && earlier.question != 0 && query.question != 0;
    if !is_pending || !is_other || is_over(earlier, query) {
        return again(earlier, query, counters);
    }
    // Both wait for an answer each, which is recognized by its question.
    earlier.marks |= Asked::SHARES_ID;
    let key = key.with_question(query.question);
    match DNS_QUERIES.insert(key, query, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if repeat::is_repetition(message, &key, query.question, query.last_ns) {
                counters.retried();
            }
        }
        Err(EEXIST) => match DNS_QUERIES.get_ptr_mut(key) {
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "map value")]
            Some(earlier) => again(unsafe { &mut *earlier }, query, counters),
            None => counters.untracked(),
        },
        Err(_) => counters.untracked(),
    }
}

/// A query takes the entry of an earlier one, or repeats it.
#[inline(always)]
fn again(earlier: &mut Asked, query: &Asked, counters: Counters) {
    let (unanswered, shares_id) = (earlier.unanswered, earlier.marks & Asked::SHARES_ID);
    let is_same = unanswered != 0 && earlier.question == query.question;
    if is_same {
        counters.retried();
        if !is_over(earlier, query) {
            earlier.unanswered = unanswered + 1;
            earlier.marks |= Asked::REPEATED;
            earlier.last_ns = query.last_ns;
            return;
        }
    }
    // The earlier query has timed out, or it was complete (0 unanswered), or its question cannot be read, so that a response
    // to it cannot be recognized any more.
    counters.timed_out(unanswered.into());
    *earlier = Asked { marks: shares_id, ..*query };
}

/// True when the earlier of two queries has timed out.
#[inline(always)]
fn is_over(earlier: &Asked, query: &Asked) -> bool {
    query.last_ns.saturating_sub(earlier.since_ns) > setting!(timeout_ns)
}

/// A response was received.
#[inline(always)]
pub fn response(message: Message, header: Header, key: &QueryKey, now: u64) {
    let mut own = *key;
    let Some(pending) = find(message, header, &mut own) else {
        return late_response(message, header, key, now);
    };
    let key = &own;
    let flow = key.flow_in(ROLE_CLIENT);
    // SAFETY: the pointer comes from a map lookup; if the entry is removed meanwhile, it is still memory of the map.
    #[expect(unsafe_code, reason = "map value")]
    let Asked { since_ns, last_ns, question, unanswered, marks, length, .. } = unsafe { *pending };
    if unanswered == 0 {
        return late_response(message, header, key, now);
    }
    if unanswered == 1 && marks & Asked::SHARES_ID == 0 {
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
    let response = Response::of(message, header, length.into());
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.received(message.datagrams);
        counters.answered(response, duration);
        if duration > setting!(timeout_ns) {
            counters.timed_out(1);
            counters.late();
        }
    }
    repeat::response(key.local, question, response);
    detail::emit(message, response, &flow, key, question, now, duration);
}

/// The pending query that a response answers; the key becomes its own. Only where its id or its sender leave open which one that is,
/// its question is read.
#[inline(always)]
fn find(message: Message, header: Header, key: &mut QueryKey) -> Option<*mut Asked> {
    let asked: &QueryKey = key;
    let first = DNS_QUERIES.get_ptr_mut(asked);
    if let Some(pending) = first {
        // SAFETY: the pointer comes from a map lookup.
        #[expect(unsafe_code, reason = "map value")]
        let marks = unsafe { (*pending).marks };
        if marks & Asked::SHARES_ID == 0 {
            return Some(pending);
        }
    }
    let question = question::hash_of_response(message, header);
    let other = match first {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "map value")]
        Some(pending) if question == 0 || question == unsafe { (*pending).question } => {
            return Some(pending);
        }
        Some(_) => asked.with_question(question),
        None => repeat::translated(asked, question)?,
    };
    let pending = DNS_QUERIES.get_ptr_mut(other)?;
    *key = other;
    Some(pending)
}

/// A response without a pending query: that has timed out, was not tracked, or never existed.
#[inline(always)]
fn late_response(message: Message, header: Header, key: &QueryKey, now: u64) {
    let flow = key.flow_in(ROLE_CLIENT);
    let Some(late) = DNS_LATE.get_ptr_mut(key) else {
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.received(message.datagrams);
                counters.unmatched(Response::of(message, header, 0));
            }
            None => message.count_traffic(Direction::Received),
        };
    };
    // SAFETY: the pointer comes from a map lookup.
    #[expect(unsafe_code, reason = "map value")]
    let (is_last, since_ns, length) = unsafe {
        (*late).unanswered = (*late).unanswered.saturating_sub(1);
        ((*late).unanswered == 0, (*late).since_ns, (*late).length)
    };
    let response = Response::of(message, header, length);
    let is_mine = !is_last || DNS_LATE.remove(key).is_ok();
    let duration = now.saturating_sub(since_ns);
    if let Some(counters) = Counters::of(&flow) {
        counters.received(message.datagrams);
        if !is_mine {
            return;
        }
        counters.answered(response, duration);
        counters.late();
    }
    detail::emit(message, response, &flow, key, 0, now, duration);
}
