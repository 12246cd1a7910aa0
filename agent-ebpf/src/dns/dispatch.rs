//! Which end a message concerns: the client's or the server's, and whether it is a query or a response.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netcause_common::dns::{HEADER_BYTES, QueryKey};
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::statistics::Statistic;

use super::message::{Header, Message};
use super::question::{self, Question, Words};
use super::{client, server};
use crate::maps::count;
use crate::packet::Direction;
use crate::settings::is_dns_port;
use crate::verifier::forget;

/// Counts a message that a socket sends or receives. `question` is the start of its question, if it was copied already.
#[inline(always)]
pub fn count_message(
    message: Message,
    header: Option<Header>,
    question: Option<&Words>,
    direction: Direction,
) {
    let Some(header) = header else {
        count(Statistic::DnsMalformed);
        return message.count_traffic(direction);
    };
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    let now = unsafe { bpf_ktime_get_ns() };
    // The sender of the query is the client, whatever the ports: servers query each other from port 53 to port 53.
    let is_client = header.is_response() == (direction == Direction::Received);
    if !header.is_response() && !header.is_query(message.length) {
        return foreign(message, direction);
    }
    // The socket knows whom it asked, whatever the rules of its namespace have made of the packet.
    let is_asked = is_client && direction == Direction::Sent;
    let message = if is_asked {
        Message { ends: message.packet.socket_ends(message.ends), ..message }
    } else {
        message
    };
    let server_port = if is_client { message.ends.remote_port } else { message.ends.local_port };
    if !is_dns_port(server_port.to_be()) {
        count(Statistic::DnsMalformed);
        return message.count_traffic(direction);
    }
    let key = QueryKey {
        local: message.local,
        remote: message.ends.remote,
        remote_port: message.ends.remote_port,
        local_port: message.ends.local_port,
        id: header.id(),
        protocol: if message.is_in_datagram() { PROTOCOL_UDP } else { PROTOCOL_TCP },
        role: if is_client { ROLE_CLIENT } else { ROLE_SERVER },
    };
    if !header.is_response() {
        let question = question::read(message, header, question);
        let question = Question {
            length: forget(question.length.into(), now) as u32,
            kind: forget(question.kind.into(), now) as u16,
            ..question
        };
        // What is cut off reads as zeros, which end a name.
        let is_question = question.hash != 0 && HEADER_BYTES as u32 + question.length <= message.available;
        if header.has_one_question() && !is_question && message.is_whole() {
            return foreign(message, direction);
        }
        return match direction {
            Direction::Sent => client::query(message, question, &key, now),
            Direction::Received => server::query(message, question, &key, now),
        };
    }
    match direction {
        Direction::Received => client::response(message, header, &key, now),
        Direction::Sent => server::response(message, header, &key, now),
    }
}

/// A packet of another protocol at a port of DNS.
#[inline(always)]
fn foreign(message: Message, direction: Direction) {
    count(Statistic::DnsForeign);
    message.count_traffic(direction);
}
