//! The server's end: queries received, and the responses to them.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{QueryKey, Served};
use netcause_common::flow::ROLE_SERVER;

use super::counters::Counters;
use super::message::{Header, Message, Response};
use super::question::Question;
use crate::maps::{DNS_SERVED, EEXIST, ENOENT};
use crate::packet::Direction;

/// A query was received.
#[inline(always)]
pub fn query(message: Message, question: Question, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of_query(&key.flow_in(ROLE_SERVER), message, Direction::Received) else {
        return;
    };
    counters.received(message.datagrams);
    counters.query(question.kind);
    let served = &Served { since_ns: now, unanswered: 1, length: question.length };
    match DNS_SERVED.insert(key, served, u64::from(BPF_NOEXIST)) {
        Ok(()) => {}
        Err(EEXIST) => {
            let Some(earlier) = DNS_SERVED.get_ptr_mut(key) else { return counters.untracked() };
            // SAFETY: the pointer comes from a map lookup; the messages of one client arrive one after the other.
            #[expect(unsafe_code, reason = "map value")]
            unsafe {
                if (*earlier).unanswered == 0 {
                    (*earlier).since_ns = now;
                } else {
                    counters.retried();
                }
                (*earlier).unanswered += 1;
            }
        }
        Err(_) => counters.untracked(),
    }
}

/// A response was sent.
#[inline(always)]
pub fn response(message: Message, header: Header, key: &QueryKey, now: u64) {
    let flow = key.flow_in(ROLE_SERVER);
    let Some(pending) = DNS_SERVED.get_ptr_mut(key) else {
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.sent(message.datagrams);
                counters.unmatched(Response::of(message, header, 0));
            }
            None => message.count_traffic(Direction::Sent),
        };
    };
    // SAFETY: the pointer comes from a map lookup.
    #[expect(unsafe_code, reason = "map value")]
    let Served { since_ns, unanswered, length } = unsafe { *pending };
    // Only the one that removes the entry counts it: the daemon may be expiring it at the same time.
    // A number rather than a `Result`: the compiler may copy what an `Ok` does not have, which verifiers refuse.
    let error = if unanswered <= 1 { DNS_SERVED.remove(key).err().unwrap_or(0) } else { 0 };
    if unanswered > 1 || error != 0 && error != ENOENT {
        // SAFETY: as above. Either more are pending, or the removal failed with -EBUSY.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            (*pending).unanswered = unanswered.saturating_sub(1);
        }
    }
    let Some(counters) = Counters::of(&flow) else { return };
    let response = Response::of(message, header, length);
    counters.sent(message.datagrams);
    if unanswered == 0 || error == ENOENT {
        counters.unmatched(response);
    } else {
        counters.answered(response, now.saturating_sub(since_ns));
    }
}
