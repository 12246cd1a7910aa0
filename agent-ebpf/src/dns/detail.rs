//! Details of responses: the message itself, for its names. Limited in rate; what exceeds the limit is counted.

use netcause_common::dns::{AnswerDetail, DETAIL_WINDOW_NS, Outcome, QueryKey, ResponseCode};
use netcause_common::flow::FlowKey;
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;

use super::message::{Message, Response};
use crate::maps::{DNS_DETAILS, DNS_EVENTS, add, count, count_at};
use crate::settings::setting;

/// The daemon polls the ring buffer four times a second, and is woken once per this many details of a window: a wake-up
/// costs more than everything else.
const WAKE_EVERY: u64 = 128;
/// Size of a flow's key in words.
const FLOW_WORDS: usize = size_of::<FlowKey>() / size_of::<u64>();
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
    let answer = Answer { flow, client_port: asked.local_port, question, now, duration_ns };
    let is_emitted = if message.available <= AnswerDetail::SHORT as u32 {
        output::<{ AnswerDetail::SHORT }>(message, &answer, flags)
    } else {
        output::<{ AnswerDetail::LONG }>(message, &answer, flags)
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

/// What a detail says beside the message.
struct Answer<'a> {
    flow: &'a FlowKey,
    client_port: u16,
    question: u64,
    now: u64,
    duration_ns: u64,
}

/// False when the ring buffer is full.
#[inline(always)]
fn output<const BYTES: usize>(message: Message, answer: &Answer<'_>, flags: u64) -> bool {
    let Some(mut detail) = DNS_EVENTS.reserve::<Detail<BYTES>>(0) else { return false };
    let to = detail.as_mut_ptr();
    // SAFETY: the reservation is as large as the struct, and every byte of the header is written, member by member: a copy of a
    // value costs twice.
    #[expect(unsafe_code, reason = "writing into the ring buffer")]
    let captured = unsafe {
        let room = (&raw mut (*to).message).cast();
        let captured = message.packet.load_up_to::<BYTES>(message.offset, room, message.available);
        let header = &raw mut (*to).header;
        let event = &raw mut (*header).header;
        (&raw mut (*event).timestamp_ns).write(answer.now);
        let (flow, words) = (&raw mut (*event).flow, (&raw const *answer.flow).cast::<[u64; FLOW_WORDS]>());
        let mut word = 0;
        while word < FLOW_WORDS {
            flow.cast::<u64>().add(word).write((*words)[word]);
            word += 1;
        }
        (&raw mut (*event).client_port).write(answer.client_port);
        (&raw mut (*event).probe).write(ProbeId::Dns as u8);
        (&raw mut (*event).reserved).write([0; 5]);
        (&raw mut (*header).duration_ns).write(answer.duration_ns);
        (&raw mut (*header).question).write(answer.question);
        (&raw mut (*header).length).write(message.length as u16);
        (&raw mut (*header).captured).write(captured.unwrap_or(0) as u16);
        (&raw mut (*header).reserved).write(0);
        captured
    };
    if captured.is_none() {
        detail.discard(BPF_RB_NO_WAKEUP);
        return false;
    }
    detail.submit(flags);
    true
}
