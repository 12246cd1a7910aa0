//! The server's end: queries that come, and the answers to them.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::dns::{QueryKey, QueryType, Served};

use super::counters::Counters;
use super::{Head, Message};
use crate::maps::{DNS_SERVED, EEXIST, ENOENT};
use crate::packet::Direction;

/// A query comes.
#[inline(always)]
pub fn asked(message: Message, kind: QueryType, key: &QueryKey, now: u64) {
    let Some(counters) = Counters::of(&key.flow()) else { return };
    counters.received(message.datagrams);
    counters.query(kind);
    let served = Served { since_ns: now, unanswered: 1 };
    match DNS_SERVED.insert(key, served, u64::from(BPF_NOEXIST)) {
        Ok(()) => {}
        Err(EEXIST) => {
            let Some(earlier) = DNS_SERVED.get_ptr_mut(key) else { return counters.untracked() };
            // SAFETY: the pointer comes from the table's lookup; one client's messages come one after the other.
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

/// An answer leaves.
#[inline(always)]
pub fn answered(message: Message, head: Head, key: &QueryKey, now: u64) {
    let flow = key.flow();
    let Some(waiting) = DNS_SERVED.get_ptr_mut(key) else {
        return match Counters::of_known(&flow) {
            Some(counters) => {
                counters.sent(message.datagrams);
                counters.unmatched(head);
            }
            None => message.count_traffic(Direction::Sent),
        };
    };
    // SAFETY: the pointer comes from the table's lookup.
    #[expect(unsafe_code, reason = "map value")]
    let (since_ns, unanswered) = unsafe { ((*waiting).since_ns, (*waiting).unanswered) };
    // Whoever removes it has it: the daemon may have given it up this very moment.
    let removed = if unanswered <= 1 { DNS_SERVED.remove(key) } else { Ok(()) };
    if unanswered > 1 || matches!(removed, Err(error) if error != ENOENT) {
        // SAFETY: as above. Either more of them wait, or the table is being changed on this very CPU.
        #[expect(unsafe_code, reason = "map value")]
        unsafe {
            (*waiting).unanswered = unanswered.saturating_sub(1);
        }
    }
    let Some(counters) = Counters::of(&flow) else { return };
    counters.sent(message.datagrams);
    if unanswered == 0 || removed == Err(ENOENT) {
        counters.unmatched(head);
    } else {
        counters.answered(head, now.saturating_sub(since_ns));
    }
}
