//! DNS messages (RFC 1035 §4): what was asked, how it was answered, to which addresses the name leads.
//!
//! Whoever can send a packet to a pod writes what is read here. So no octet is believed, nothing panics, and work is bounded
//! whatever a message claims: at most [`MAX_RECORDS`] records, and of each name 255 octets and 128 pointers.
//!
//! This module uses nothing of the agent's, because `tests/fuzz` compiles it by itself.

mod name;
mod reader;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use thiserror::Error;

use name::Labels;
pub use name::Name;
use reader::Reader;

/// Records of an answer that are looked at. 1232 octets, the most that EDNS clients offer by default, have room for 74.
pub const MAX_RECORDS: u16 = 64;

/// Addresses of an answer that are kept.
pub const MAX_ADDRESSES: usize = 16;

/// What a question asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, as it was asked: search domains are part of it.
    pub name: Name,
    /// Number of the record type: 1 is A, 28 is AAAA (IANA, DNS parameters).
    pub kind: u16,
}

/// An address that the asked name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// From an A or AAAA record; v4-mapped is IPv4, as in flows.
    pub address: IpAddr,
    /// Seconds for which the record may be kept; those of aliases on the way to it are not looked at. Zero when its top
    /// bit is set (RFC 2181 §8).
    pub ttl: u32,
}

/// What a message says, as far as we ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Ties an answer to its query.
    pub id: u16,
    /// An answer; else a query.
    pub is_response: bool,
    /// What kind of query: 0 is an ordinary one.
    pub opcode: u8,
    /// How it was answered, 0 to 15; what EDNS adds to it (RFC 6891 §6.1.3) is not looked at.
    pub rcode: u8,
    /// The answer is cut short by its server: the client may ask again over TCP.
    pub is_truncated: bool,
    /// The first question. `None` when there is none, as in later messages of a zone transfer (RFC 5936 §2.2).
    pub question: Option<Question>,
    /// Addresses of the name that was asked for, or of the last of its aliases; at most [`MAX_ADDRESSES`].
    ///
    /// Only from the answer section of the answer to an ordinary query with one question. An alias counts when it stands
    /// before what it leads to, as servers write it. Everything else in the section belongs to names that nobody
    /// asked for, and teaches nothing.
    pub addresses: Vec<Resolved>,
    /// Not all records of the answer section were looked at: the octets end before it does, one of its records is
    /// malformed, or it has more than we take.
    pub is_cut: bool,
}

/// Why octets are no message, or have no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The octets end in the head or in the question.
    #[error("the message ends before its question does")]
    Short,
    /// A label that begins with the bits 01 or 10 (RFC 1035 §4.1.4, RFC 6891 §5), which includes lengths from 64 on.
    #[error("a label has the unknown type or length {0:#04x}")]
    Label(u8),
    /// More than 255 octets (RFC 1035 §2.3.4).
    #[error("a name is longer than 255 octets")]
    NameLength,
    /// It points to itself, forward, or in a circle: RFC 1035 §4.1.4 speaks of a prior occurrence.
    #[error("a compression pointer does not lead back")]
    Pointer,
    /// More pointers than a name can have labels.
    #[error("a name has more than {} compression pointers", reader::MAX_POINTERS)]
    Pointers,
    /// The head announces none.
    #[error("the message has no question")]
    NoQuestion,
    /// The question's class is neither the internet's nor any (RFC 1035 §3.2.4): its name is no host's.
    #[error("the question is of class {0}")]
    Class(u16),
}

/// Numbers of RFC 1035 §3.2.2 and §3.2.4, and RFC 3596 §2.1.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;
const ANY: u16 = 255;

/// Reads a message, of which only the beginning may be there.
///
/// # Errors
///
/// When the head or the first question cannot be read. Whatever follows them is never an error: see [`Message::is_cut`].
pub fn message(octets: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(octets);
    let head = Head::read(&mut reader)?;
    let [high, low] = head.flags.to_be_bytes();
    let mut message = Message {
        id: head.id,
        is_response: high & 0x80 != 0,
        opcode: high >> 3 & 0x0f,
        rcode: low & 0x0f,
        is_truncated: high & 0x02 != 0,
        question: None,
        addresses: Vec::new(),
        is_cut: false,
    };
    if head.questions == 0 {
        return Ok(message);
    }
    let (asked, kind) = read_question(&mut reader)?;
    message.question = Some(Question { name: Name::from(&asked), kind });
    // An ordinary query has one question (RFC 9619); after several it is not clear what an answer answers.
    if message.is_response && message.opcode == 0 && head.questions == 1 {
        let looked_at = read_answers(&mut reader, head.answers, asked, &mut message.addresses);
        message.is_cut = looked_at.is_none();
    }
    Ok(message)
}

/// Reads the first question of a message, of which only the head and that question need be there.
///
/// # Errors
///
/// When there is none, or it or the head cannot be read.
pub fn question(octets: &[u8]) -> Result<Question, Malformed> {
    let mut reader = Reader::new(octets);
    if Head::read(&mut reader)?.questions == 0 {
        return Err(Malformed::NoQuestion);
    }
    let (name, kind) = read_question(&mut reader)?;
    Ok(Question { name: Name::from(&name), kind })
}

/// The head of a message (RFC 1035 §4.1.1), less the counts of sections that are not read.
struct Head {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let head = Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
        };
        let _authorities_and_additions = reader.u32()?;
        Ok(head)
    }
}

fn read_question(reader: &mut Reader<'_>) -> Result<(Labels, u16), Malformed> {
    let name = reader.name()?;
    let kind = reader.u16()?;
    match reader.u16()? {
        IN | ANY => Ok((name, kind)),
        class => Err(Malformed::Class(class)),
    }
}

/// Adds the addresses that `wanted` leads to; `None` when not all `records` were looked at.
fn read_answers(
    reader: &mut Reader<'_>,
    records: u16,
    mut wanted: Labels,
    addresses: &mut Vec<Resolved>,
) -> Option<()> {
    for _ in 0..records.min(MAX_RECORDS) {
        let owner = reader.name().ok()?;
        let kind = reader.u16().ok()?;
        let class = reader.u16().ok()?;
        let ttl = reader.u32().ok()?;
        let length = reader.u16().ok()?;
        let mut data = reader.part(length).ok()?;
        if class != IN || owner != wanted {
            continue;
        }
        let address = match kind {
            CNAME => {
                wanted = data.name().ok()?;
                None
            }
            A => Some(IpAddr::from(data.array::<4>().ok()?)),
            AAAA => Some(IpAddr::from(data.array::<16>().ok()?).to_canonical()),
            _ => continue,
        };
        if !data.is_at_end() {
            return None;
        }
        if let Some(address) = address {
            if addresses.len() == MAX_ADDRESSES {
                return None;
            }
            addresses.push(Resolved { address, ttl: i32::try_from(ttl).map_or(0, |_| ttl) });
        }
    }
    (records <= MAX_RECORDS).then_some(())
}
