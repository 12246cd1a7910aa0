//! Recognizes queries that repeat a pending question, by a direct-mapped table of recent questions whose slots may have
//! been reused.
//!
//! A repetition of a pending query from the same port with the same id is recognized without it; this is for the others. glibc
//! queries the next server, or the same one again after a failure, with the same id from another port, and dig does so after
//! REFUSED; musl and c-ares query the same server again after a failure from the same port: recognized at once. Go and others
//! use a new port and a new id: recognized only after a time in which no resolver retries, because threads of one workload
//! ask the same question at the same time. (musl queries all servers at once, from one port with one id: not a repetition.
//! Load generators that number their ids alike may look like one.)

use netcause_common::dns::{
    LastQuestion, QUERY_BYTES, QueryKey, REPEATED_AFTER_NS, ResponseCode, question_tag,
};
use netcause_common::limits::DNS_QUESTIONS as SLOTS;

use super::message::{Message, Response};
use crate::maps::DNS_QUESTIONS;
use crate::settings::setting;

#[inline(always)]
fn slot(local: u64, question: u64) -> Option<(*mut LastQuestion, u64)> {
    let tag = question_tag(local, question);
    let last = DNS_QUESTIONS.get_ptr_mut((tag as u32) & (SLOTS - 1))?;
    Some((last, tag))
}

/// True when a query repeats a pending question; stores the question and its name either way.
#[inline(always)]
pub fn is_repetition(message: Message, key: &QueryKey, question: u64, now: u64) -> bool {
    let Some((last, tag)) = slot(key.local, question) else { return false };
    // SAFETY: the pointer comes from a map lookup. Two CPUs may write at once; the result is a wrong hint at worst.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    let mut repeats = false;
    if last.tag != tag {
        last.tag = tag;
        last.length = copy(message, last);
    } else if last.state != LastQuestion::ANSWERED {
        let age = now.saturating_sub(last.asked_ns);
        let is_pending = last.state == LastQuestion::WAITS;
        repeats = last.is_repeated_by(key.id, key.local_port, age, setting!(timeout_ns));
        // Of several that were sent at the same time the first stays: all have been pending as long.
        if !repeats && is_pending && age < REPEATED_AFTER_NS {
            return false;
        }
    }
    last.asked_ns = now;
    last.id = key.id;
    last.local_port = key.local_port;
    last.remote = key.remote;
    last.remote_port = key.remote_port;
    last.state = LastQuestion::WAITS;
    repeats
}

/// The key of the pending query that a response from another address answers: the one with this id, question and local
/// port. Rules of the client's own network namespace translate the addresses of a socket that is not connected after it has
/// sent (`iptables -t nat -A OUTPUT`, as kube-proxy does), and translate the answer back before it arrives.
#[inline(always)]
pub fn translated(key: &QueryKey, question: u64) -> Option<QueryKey> {
    let (last, tag) = slot(key.local, question)?;
    // SAFETY: as in `is_repetition`.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &*last };
    let is_it = last.tag == tag
        && last.state == LastQuestion::WAITS
        && last.id == key.id
        && last.local_port == key.local_port;
    is_it.then_some(QueryKey { remote: last.remote, remote_port: last.remote_port, ..*key })
}

/// Copies the start of the message into the slot; returns the number of bytes.
#[inline(always)]
fn copy(message: Message, last: &mut LastQuestion) -> u16 {
    if setting!(details) == 0 {
        return 0;
    }
    let to = (&raw mut last.message).cast();
    // SAFETY: the size is that of the slot's array.
    #[expect(unsafe_code, reason = "map value")]
    let copied = unsafe { message.packet.load_up_to::<QUERY_BYTES>(message.offset, to, message.available) };
    copied.unwrap_or(0) as u16
}

/// A question got a response.
#[inline(always)]
pub fn response(local: u64, question: u64, response: Response) {
    let Some((last, tag)) = slot(local, question) else { return };
    // SAFETY: as in `is_repetition`.
    #[expect(unsafe_code, reason = "map value")]
    let last = unsafe { &mut *last };
    if last.tag == tag {
        last.state = match response.code() {
            ResponseCode::NoError | ResponseCode::NxDomain => LastQuestion::ANSWERED,
            _ => LastQuestion::FAILED,
        };
    }
}
