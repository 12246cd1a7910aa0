//! The server's end: queries received, and the responses to them.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{QueryKey, QueryType, Served};

use super::counters::Counters;
use super::message::{Header, Message};
use crate::maps::{DNS_SERVED, EEXIST, ENOENT};
use crate::packet::Direction;

/// A query was received.
#[inline(always)]
pub fn query(message: Message, kind: QueryType, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of(&key.flow()) else { return };
    counters.received(message.datagrams);
    counters.query(kind);
    let served = Served { since_ns: now, unanswered: 1 };
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
    let flow = key.flow();
    let Some(pending) = DNS_SERVED.get_ptr_mut(key) else {
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.sent(message.datagrams);
                counters.unmatched(header);
            }
            None => message.count_traffic(Direction::Sent),
        };
    };
    // SAFETY: the pointer comes from a map lookup.
    #[expect(unsafe_code, reason = "map value")]
    let (since_ns, unanswered) = unsafe { ((*pending).since_ns, (*pending).unanswered) };
    // Only the one that removes the entry counts it: the daemon may be expiring it at the same time.
    let removed = if unanswered <= 1 { DNS_SERVED.remove(key) } else { Ok(()) };
    if unanswered > 1 || matches!(removed, Err(error) if error != ENOENT) {
        // SAFETY: as above. Either more are pending, or the removal failed with -EBUSY.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            (*pending).unanswered = unanswered.saturating_sub(1);
        }
    }
    let Some(counters) = Counters::of(&flow) else { return };
    counters.sent(message.datagrams);
    if unanswered == 0 || removed == Err(ENOENT) {
        counters.unmatched(header);
    } else {
        counters.answered(header, now.saturating_sub(since_ns));
    }
}
