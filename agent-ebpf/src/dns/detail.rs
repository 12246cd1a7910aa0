//! Details of responses: the message itself, for its names. Limited in rate; what exceeds the limit is counted.

use netcause_common::dns::{AnswerDetail, DETAIL_WINDOW_NS, Outcome, QueryKey, ResponseCode};
use netcause_common::flow::FlowKey;
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;
use netcause_common::wire::EventHeader;

use super::message::{Message, Response};
use crate::maps::{DNS_DETAILS, DNS_EVENTS, add, count, count_at};
use crate::settings::setting;

/// The daemon polls the ring buffer four times a second, and is woken once per this many details of a window: a wake-up
/// costs more than everything else.
const WAKE_EVERY: u64 = 128;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

#[repr(C)]
struct Detail<const BYTES: usize> {
    header: AnswerDetail,
    message: [u8; BYTES],
}

/// Emits a response that a client received, unless details are switched off or exceed the rate limit.
#[inline(always)]
pub fn emit(
    message: Message,
    response: Response,
    flow: &FlowKey,
    asked: &QueryKey,
    question: u64,
    now: u64,
    duration_ns: u64,
) {
    if setting!(details) == 0 {
        return;
    }
    let is_success = matches!(response.code(), ResponseCode::NoError);
    let outcome = if is_success { Outcome::Success } else { Outcome::Failure };
    let Some(number) = number(outcome, now) else { return count(Statistic::DnsDetailsLeftOut) };
    let flags = if number % WAKE_EVERY == WAKE_EVERY - 1 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let event = EventHeader {
        timestamp_ns: now,
        flow: *flow,
        client_port: asked.local_port,
        probe: ProbeId::Dns as u8,
        reserved: [0; 5],
    };
    let detail = AnswerDetail {
        header: event,
        duration_ns,
        question,
        length: message.length as u16,
        captured: 0,
        reserved: 0,
    };
    let is_emitted = if message.available <= AnswerDetail::SHORT as u32 {
        output::<{ AnswerDetail::SHORT }>(message, detail, flags)
    } else {
        output::<{ AnswerDetail::LONG }>(message, detail, flags)
    };
    if !is_emitted {
        count_at(Statistic::EventsLost as u32 + ProbeId::Dns as u32);
    }
}

/// Its position in the current window; `None` when that is full. CPUs that start a window at the same time may emit a few
/// more.
#[inline(always)]
fn number(outcome: Outcome, now: u64) -> Option<u64> {
    let window = DNS_DETAILS.get_ptr_mut(outcome as u32)?;
    let (number, most) = (now / DETAIL_WINDOW_NS, u64::from(setting!(details)));
    // SAFETY: the pointer comes from a map lookup.
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

/// False when the ring buffer is full.
#[inline(always)]
fn output<const BYTES: usize>(message: Message, header: AnswerDetail, flags: u64) -> bool {
    let Some(mut detail) = DNS_EVENTS.reserve::<Detail<BYTES>>(0) else { return false };
    let to = detail.as_mut_ptr();
    // SAFETY: the reservation is as large as the struct.
    #[expect(unsafe_code, reason = "writing into the ring buffer")]
    let captured = unsafe {
        let room = (&raw mut (*to).message).cast();
        let captured = message.packet.load_up_to::<BYTES>(message.offset, room, message.available);
        (&raw mut (*to).header).write(AnswerDetail { captured: captured.unwrap_or(0) as u16, ..header });
        captured
    };
    if captured.is_none() {
        detail.discard(BPF_RB_NO_WAKEUP);
        return false;
    }
    detail.submit(flags);
    true
}
