//! Which end a message concerns: the client's or the server's, and whether it is a query or a response.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netcause_common::dns::QueryKey;
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::statistics::Statistic;

use super::message::{Header, Message};
use super::question::{self, Words};
use super::{client, server};
use crate::maps::count;
use crate::packet::Direction;
use crate::settings::is_dns_port;

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
    match (direction, is_client) {
        (Direction::Sent, true) => {
            client::query(message, question::read(message, header, question), &key, now);
        }
        (Direction::Received, true) => client::response(message, header, &key, now),
        (Direction::Received, false) => {
            server::query(message, question::read(message, header, question).kind, &key, now);
        }
        (Direction::Sent, false) => server::response(message, header, &key, now),
    }
}
