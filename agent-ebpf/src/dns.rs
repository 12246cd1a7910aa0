//! DNS messages: whose they are, and what they mean for the two ends.
#![expect(
    clippy::cast_possible_truncation,
    reason = "messages are shorter than 2^16, and parts of words are meant"
)]

mod client;
mod counters;
mod detail;
mod question;
mod repeat;
mod server;
pub mod stream;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use netcause_common::dns::{HEADER_OCTETS, MAX_PORTS, QueryKey, Settings};
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};
use netcause_common::statistics::Statistic;
use question::Words;

use crate::maps::count;
use crate::packet::{Datagrams, Direction, Ends, Packet};
use crate::probe::udp;

/// Set by the daemon. Read-only for the programs, so that the verifier removes what is switched off.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the daemon finds it by its name")]
static DNS: Settings = Settings::OFF;

/// One value of [`DNS`], read so that the compiler cannot replace it by the default it sees here.
macro_rules! setting {
    ($($field:tt)+) => {{
        // SAFETY: a static is valid and aligned; volatile because the daemon replaces the value before the load.
        #[expect(unsafe_code, reason = "a value from outside")]
        unsafe { (&raw const $crate::dns::DNS.$($field)+).read_volatile() }
    }};
}
use setting;

/// True when a port, in network order, is one of DNS.
#[inline(always)]
fn is_port(port: u16) -> bool {
    is_either(port, port)
}

/// True when one of two ports, in network order, is one of DNS. Every packet of TCP pays for this.
#[inline(always)]
pub fn is_either(one: u16, other: u16) -> bool {
    let mut index = 0;
    while index < MAX_PORTS {
        let known = setting!(ports[index]);
        if known == 0 {
            return false;
        }
        if known == one || known == other {
            return true;
        }
        index += 1;
    }
    false
}

/// Datagrams and their payload in octets; none when TCP carries the message.
#[derive(Clone, Copy)]
pub struct Carried {
    /// How many.
    pub count: u64,
    /// Octets.
    pub bytes: u64,
}

/// A message in a packet.
#[derive(Clone, Copy)]
pub struct Message {
    /// The packet.
    pub packet: Packet,
    /// The cgroup of the packet's socket.
    pub local: u64,
    /// Who it is from and for.
    pub ends: Ends,
    /// What is to be counted of UDP.
    pub datagrams: Carried,
    /// Where it begins in the packet.
    pub offset: u32,
    /// Its octets.
    pub length: u32,
    /// How many of them are in this packet.
    pub available: u32,
}

impl Message {
    /// True when UDP carries it.
    #[inline(always)]
    fn is_in_datagram(self) -> bool {
        self.datagrams.count != 0
    }

    /// Its head; `None` when it is shorter.
    #[inline(always)]
    pub fn head(self) -> Option<Head> {
        let mut head = Head::default();
        let is_there = self.available >= HEADER_OCTETS as u32 && self.packet.read(self.offset, &mut head.0);
        is_there.then_some(head)
    }

    /// Counts the datagram as any other.
    #[inline(always)]
    fn count_traffic(self, direction: Direction) {
        let Carried { count, bytes } = self.datagrams;
        if self.is_in_datagram() {
            udp::count(self.packet, self.local, &Datagrams { ends: self.ends, count, bytes }, direction);
        }
    }
}

/// The head of a message (RFC 1035 §4.1.1), as it stands there: id and flags, questions and answers, the rest. Words are
/// read at once where octets would be read one by one.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct Head([u32; HEADER_OCTETS / 4]);

impl Head {
    #[inline(always)]
    fn id(self) -> u16 {
        self.0[0] as u16
    }

    /// More or fewer questions than one: nobody asks so, and nobody answers (RFC 9619).
    #[inline(always)]
    fn has_one_question(self) -> bool {
        self.0[1] as u16 == 1_u16.to_be()
    }

    #[inline(always)]
    fn is_response(self) -> bool {
        u32::from_be(self.0[0]) & 0x8000 != 0
    }

    #[inline(always)]
    fn is_truncated(self) -> bool {
        u32::from_be(self.0[0]) & 0x0200 != 0
    }

    #[inline(always)]
    fn rcode(self) -> u8 {
        (u32::from_be(self.0[0]) & 0xf) as u8
    }
}

/// Counts a message that a socket sends or receives, with as much of its question as was copied already.
#[inline(always)]
pub fn message(message: Message, head: Option<Head>, question: Option<&Words>, direction: Direction) {
    let Some(head) = head else {
        count(Statistic::DnsMalformed);
        return message.count_traffic(direction);
    };
    // SAFETY: the helper takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "call of a kernel helper")]
    let now = unsafe { bpf_ktime_get_ns() };
    // Who asks is the client, whatever the ports: servers ask each other from port 53 to port 53.
    let is_client = head.is_response() == (direction == Direction::Received);
    let server_port = if is_client { message.ends.remote_port } else { message.ends.local_port };
    if !is_port(server_port.to_be()) {
        count(Statistic::DnsMalformed);
        return message.count_traffic(direction);
    }
    let key = QueryKey {
        local: message.local,
        remote: message.ends.remote,
        remote_port: message.ends.remote_port,
        local_port: message.ends.local_port,
        id: head.id(),
        protocol: if message.is_in_datagram() { PROTOCOL_UDP } else { PROTOCOL_TCP },
        role: if is_client { ROLE_CLIENT } else { ROLE_SERVER },
    };
    match (direction, is_client) {
        (Direction::Sent, true) => {
            client::asked(message, question::read(message, head, question), &key, now);
        }
        (Direction::Received, true) => client::answered(message, head, &key, now),
        (Direction::Received, false) => {
            server::asked(message, question::read(message, head, question).kind, &key, now);
        }
        (Direction::Sent, false) => server::answered(message, head, &key, now),
    }
}
