//! Details of answers: the message itself, for its names. Rare enough to be read, or left out and counted.

use netcause_common::dns::{AnswerDetail, DETAIL_WINDOW_NS, Outcome, ResponseCode};
use netcause_common::flow::FlowKey;
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;
use netcause_common::wire::EventHeader;

use super::{Head, Message, setting};
use crate::maps::{DNS_DETAILS, DNS_EVENTS, add, count, count_at};

/// The daemon looks four times in a second by itself, and is woken once in so many details of a window: a wake-up costs more
/// than all the rest.
const WAKE_EVERY: u64 = 128;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

#[repr(C)]
struct Detail<const OCTETS: usize> {
    head: AnswerDetail,
    message: [u8; OCTETS],
}

/// Hands an answer to the daemon, unless names stay in the kernel or there were too many of late.
#[inline(always)]
pub fn answered(message: Message, head: Head, flow: &FlowKey, client_port: u16, now: u64, duration_ns: u64) {
    if setting!(details) == 0 {
        return;
    }
    let outcome =
        if head.rcode() == ResponseCode::NoError as u8 { Outcome::Success } else { Outcome::Failure };
    let Some(number) = number(outcome, now) else { return count(Statistic::DnsDetailsLeftOut) };
    let flags = if number % WAKE_EVERY == WAKE_EVERY - 1 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let header = EventHeader {
        timestamp_ns: now,
        flow: *flow,
        client_port,
        probe: ProbeId::Dns as u8,
        reserved: [0; 5],
    };
    let head = AnswerDetail { header, duration_ns, length: message.length as u16, captured: 0, reserved: 0 };
    let is_kept = if message.available <= AnswerDetail::SHORT as u32 {
        output::<{ AnswerDetail::SHORT }>(message, head, flags)
    } else {
        output::<{ AnswerDetail::LONG }>(message, head, flags)
    };
    if !is_kept {
        count_at(Statistic::EventsLost as u32 + ProbeId::Dns as u32);
    }
}

/// Which one it is in its window of time; `None` when there were too many. CPUs that begin a window at once may let a few
/// more through.
#[inline(always)]
fn number(outcome: Outcome, now: u64) -> Option<u64> {
    let window = DNS_DETAILS.get_ptr_mut(outcome as u32)?;
    let (number, most) = (now / DETAIL_WINDOW_NS, u64::from(setting!(details)));
    // SAFETY: the pointer comes from the table's lookup.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        if (*window).number != number {
            (*window).number = number;
            (*window).count = 0;
        }
        let count = (*window).count;
        if count >= most {
            return None;
        }
        add(&raw mut (*window).count, 1);
        Some(count)
    }
}

/// False when the ring is full.
#[inline(always)]
fn output<const OCTETS: usize>(message: Message, head: AnswerDetail, flags: u64) -> bool {
    let Some(mut detail) = DNS_EVENTS.reserve::<Detail<OCTETS>>(0) else { return false };
    let to = detail.as_mut_ptr();
    // SAFETY: the ring has room for all of it.
    #[expect(unsafe_code, reason = "writing into the ring")]
    let captured = unsafe {
        let room = (&raw mut (*to).message).cast();
        let captured = message.packet.load_up_to::<OCTETS>(message.offset, room, message.available);
        (&raw mut (*to).head).write(AnswerDetail { captured: captured.unwrap_or(0) as u16, ..head });
        captured
    };
    if captured.is_none() {
        detail.discard(BPF_RB_NO_WAKEUP);
        return false;
    }
    detail.submit(flags);
    true
}
