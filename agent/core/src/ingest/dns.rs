//! Parses DNS messages (RFC 1035 §4): the question, the response code and the addresses in the answer.
//!
//! The input is untrusted: anyone who can send a packet to a pod can write it. So no length or count is taken on trust,
//! nothing panics, and the work is bounded whatever a message claims: at most [`MAX_RECORDS`] records, and for each name
//! 255 bytes and 128 compression pointers. `tests/fuzz` fuzzes this module.

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

/// Records of an answer section that are parsed. A message of 1232 bytes, the most that EDNS clients offer by default, holds
/// 74 at most.
pub const MAX_RECORDS: u16 = 64;

/// The question of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name as it is in the message: a search domain that the resolver appended is part of it.
    pub name: Name,
    /// The record type's number: 1 is A, 28 is AAAA (IANA, DNS parameters).
    pub kind: u16,
}

/// An address that the name in the question resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// From an A or AAAA record; an IPv4-mapped IPv6 address becomes IPv4, as in flows.
    pub address: IpAddr,
    /// The time to live of the A or AAAA record in seconds, whatever that of the CNAME records before it is. Zero when its
    /// top bit is set (RFC 2181 §8).
    pub ttl: u32,
}

/// The parts of a message that the agent uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The transaction id: an answer has its query's.
    pub id: u16,
    /// Whether this is an answer; otherwise it is a query.
    pub is_response: bool,
    /// The kind of query (RFC 1035 §4.1.1): 0 is a standard query.
    pub opcode: u8,
    /// The response code, with the bits that EDNS adds to it in errors of its own (RFC 6891 §6.1.3): 16 is BADVERS.
    pub rcode: u16,
    /// The TC flag: the server cut its answer short, and the client may ask again over TCP.
    pub is_truncated: bool,
    /// The first question. `None` without one, as in later messages of a zone transfer (RFC 5936 §2.2).
    pub question: Option<Question>,
    /// The addresses that the question's name resolves to, through its CNAME records if it has any; at most
    /// [`MAX_RECORDS`].
    ///
    /// They are taken only from the answer to a standard query with one question, and only from its answer section. CNAME
    /// records are followed in whatever order the records come. Records of other names are ignored, because a forged answer
    /// could name any address.
    pub addresses: Vec<Resolved>,
    /// Not all records of the answer section were parsed: the input ends before it does, one of its records is malformed,
    /// or there are more than [`MAX_RECORDS`] records.
    pub is_cut: bool,
}

/// Why the input is not a message, or has no question that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The input ends in the header or in the question.
    #[error("the message ends before its question does")]
    Short,
    /// A label that begins with the bits 01 or 10 (RFC 1035 §4.1.4, RFC 6891 §5), which includes lengths from 64 on.
    #[error("a label has the unknown type or length {0:#04x}")]
    Label(u8),
    /// A name of more than 255 bytes (RFC 1035 §2.3.4).
    #[error("a name is longer than 255 bytes")]
    NameLength,
    /// A compression pointer to itself, forward, or in a circle; RFC 1035 §4.1.4 allows only "a prior occurrence".
    #[error("a compression pointer does not lead back")]
    Pointer,
    /// A name with more compression pointers than a name can have labels.
    #[error("a name has more than {} compression pointers", reader::MAX_POINTERS)]
    Pointers,
    /// The header says that there is no question.
    #[error("the message has no question")]
    NoQuestion,
    /// The question's class is neither IN nor ANY (RFC 1035 §3.2.4), so its name is not a host's.
    #[error("the question is of class {0}")]
    Class(u16),
}

// Record types and classes: RFC 1035 §3.2.2 and §3.2.4, RFC 3596 §2.1.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const OPT: u16 = 41;
const IN: u16 = 1;
const ANY: u16 = 255;

/// Parses a message, or as much of it as was captured.
///
/// # Errors
///
/// When the header or the first question cannot be read. Damage behind them is no error: see [`Message::is_cut`].
pub fn message(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    let [high, low] = header.flags.to_be_bytes();
    let mut message = Message {
        id: header.id,
        is_response: high & 0x80 != 0,
        opcode: high >> 3 & 0x0f,
        rcode: (low & 0x0f).into(),
        is_truncated: high & 0x02 != 0,
        question: None,
        addresses: Vec::new(),
        is_cut: false,
    };
    if header.questions == 0 {
        return Ok(message);
    }
    let (asked, kind) = read_question(&mut reader)?;
    message.question = Some(Question { name: Name::from(&asked), kind });
    // A standard query has one question (RFC 9619); with several it is unclear to which one an answer belongs.
    if message.is_response && message.opcode == 0 && header.questions == 1 {
        if (header.answers, header.authorities) == (0, 0) && header.additions > 0 {
            message.rcode |= read_extension(&mut reader).unwrap_or(0) << 4;
        }
        message.is_cut = read_answers(&mut reader, header.answers, asked, &mut message.addresses).is_none();
    }
    Ok(message)
}

/// Parses the first question of a message. The capture may end behind that question.
///
/// # Errors
///
/// When there is no question, or it or the header cannot be read.
pub fn question(bytes: &[u8]) -> Result<Question, Malformed> {
    let mut reader = Reader::new(bytes);
    if Header::read(&mut reader)?.questions == 0 {
        return Err(Malformed::NoQuestion);
    }
    let (name, kind) = read_question(&mut reader)?;
    Ok(Question { name: Name::from(&name), kind })
}

/// The header of a message (RFC 1035 §4.1.1).
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additions: u16,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
            authorities: reader.u16()?,
            additions: reader.u16()?,
        })
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

/// The bits that EDNS adds to the response code, if its record is the next one (RFC 6891 §6.1.3).
fn read_extension(reader: &mut Reader<'_>) -> Option<u16> {
    let is_root = reader.name().ok()? == Labels::ROOT;
    let is_opt = is_root && reader.u16().ok()? == OPT;
    let _size_of_buffers = reader.u16().ok()?;
    let [code] = reader.array().ok()?;
    is_opt.then_some(code.into())
}

/// Appends the addresses that `asked` resolves to; `None` when not all `records` were parsed.
fn read_answers(
    reader: &mut Reader<'_>,
    records: u16,
    asked: Labels,
    addresses: &mut Vec<Resolved>,
) -> Option<()> {
    let (mut aliases, mut found) = (Vec::new(), Vec::new());
    let is_whole = read_records(reader, records, &mut aliases, &mut found);
    // Each step uses up an alias, so that a circle ends.
    let mut target = asked;
    while let Some(alias) = aliases.iter().position(|(owner, _)| *owner == target) {
        target = aliases.swap_remove(alias).1;
    }
    addresses.extend(found.into_iter().filter(|(owner, _)| *owner == target).map(|(_, resolved)| resolved));
    is_whole
}

/// Appends the CNAME records, and the addresses with the names that they belong to; `None` when not all `records` were
/// parsed.
fn read_records(
    reader: &mut Reader<'_>,
    records: u16,
    aliases: &mut Vec<(Labels, Labels)>,
    found: &mut Vec<(Labels, Resolved)>,
) -> Option<()> {
    for _ in 0..records.min(MAX_RECORDS) {
        let owner = reader.name().ok()?;
        let kind = reader.u16().ok()?;
        let class = reader.u16().ok()?;
        let ttl = reader.u32().ok()?;
        let length = reader.u16().ok()?;
        let mut data = reader.part(length).ok()?;
        if class != IN {
            continue;
        }
        let (address, alias) = match kind {
            CNAME => (None, Some(data.name().ok()?)),
            A => (Some(IpAddr::from(data.array::<4>().ok()?)), None),
            AAAA => (Some(IpAddr::from(data.array::<16>().ok()?).to_canonical()), None),
            _ => continue,
        };
        if !data.is_at_end() {
            return None;
        }
        if let Some(alias) = alias {
            aliases.push((owner, alias));
        } else if let Some(address) = address {
            found.push((owner, Resolved { address, ttl: i32::try_from(ttl).map_or(0, |_| ttl) }));
        }
    }
    (records <= MAX_RECORDS).then_some(())
}
