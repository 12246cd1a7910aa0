//! The kernel's own description of its types: where a member lies, what a tracepoint passes.
//!
//! A reader of our own, because it holds the file and one number per type and nothing else. Measured on 126 000 types:
//! the `btf` crate peaks at 85 MiB of resident memory and keeps 50 after it is dropped, `btf-rs` 47 and 15; this 6
//! and none, and the agent's budget is 20. Format: `Documentation/bpf/btf.rst`, kernel v6.18.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use thiserror::Error;

/// Why a question to the BTF has no answer.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read the kernel's BTF at {path}: {source} (the kernel needs CONFIG_DEBUG_INFO_BTF)")]
    Unreadable {
        /// Where it was looked for.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It is no BTF, or damaged.
    #[error("the kernel's BTF is malformed: {0}")]
    Malformed(&'static str),
    /// The kernel has no such struct.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("this kernel has no member {structure}.{path}")]
    NoMember {
        /// The struct.
        structure: String,
        /// The member.
        path: String,
    },
    /// The kernel has no such tracepoint.
    #[error("this kernel has no tracepoint {0}")]
    NoTracepoint(String),
    /// The kernel has no such enumerator.
    #[error("this kernel has no {enumerator} in enum {enumeration}")]
    NoEnumerator {
        /// The enum.
        enumeration: String,
        /// The name of the value.
        enumerator: String,
    },
}

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// From the start of the struct, in bits.
    pub bit_offset: u32,
    /// Width of a bit field; 0 when it is none.
    pub bit_width: u32,
}

/// What a tracepoint passes in one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to the named struct.
    Pointer(String),
    /// Anything else: a number, a pointer to something else.
    Other,
}

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
/// Nesting of anonymous members, and chains of modifiers, are cut here: damaged data must not loop.
const MAX_DEPTH: u32 = 32;
/// Members that one question looks at. Depth alone is no bound: damaged structs that contain each other branch at
/// every level. `net_device`, the largest that we read, has 206 on 7.2 with those of its anonymous members.
const MAX_MEMBERS: u32 = 1 << 16;
/// Octets of a name, as in the kernel (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 512;
/// Arguments of a tracepoint; the kernel passes at most 12 to BPF (`MAX_BPF_FUNC_ARGS`).
const MAX_ARGUMENTS: usize = 12;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
    pub(super) const LAST: u32 = 19;
}

/// Parsed BTF: the octets, and where each type begins in them.
pub struct Btf {
    data: Vec<u8>,
    /// Position of type `n + 1`; type 0 is `void`.
    types: Vec<u32>,
    /// The octets that hold the names.
    strings: Range<usize>,
}

/// The fixed part of a type's record, and where the variable part begins.
#[derive(Clone, Copy)]
struct Record {
    name: u32,
    kind: u32,
    /// Members, parameters or values.
    count: usize,
    /// True when members hold a bit field's width in the top octet of their offset.
    has_bit_fields: bool,
    /// The size of the type, or the type it refers to.
    reference: u32,
    body: usize,
}

impl Btf {
    /// The running kernel's BTF, usually at `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no BTF.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let data = fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Finds the types in raw BTF of this machine's byte order.
    ///
    /// # Errors
    ///
    /// When the data is no BTF, is cut short, or has a kind of type that is not known here.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let magic = data.get(..2).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) || data.len() < HEADER_BYTES {
            return Err(BtfError::Malformed("no BTF header of this machine's byte order"));
        }
        let field = |at| word(&data, at).map(|value| value as usize);
        let header = field(4)?;
        let section = |offset, length| {
            let start = header.checked_add(field(offset)?);
            let end = start.zip(Some(field(length)?)).and_then(|(start, length)| start.checked_add(length));
            match start.zip(end) {
                Some((start, end)) if end <= data.len() => Ok(start..end),
                _ => Err(BtfError::Malformed("sections reach beyond the end")),
            }
        };
        let (section, strings) = (section(8, 12)?, section(16, 20)?);
        let mut types = Vec::with_capacity(section.len() / 16);
        let mut position = section.start;
        while position < section.end {
            let record = record_at(&data, position)?;
            types.push(u32::try_from(position).map_err(|_| BtfError::Malformed("larger than 4 GiB"))?);
            position = record.body + body_bytes(record)?;
            if position > section.end {
                return Err(BtfError::Malformed("the last type is cut short"));
            }
        }
        Ok(Self { data, types, strings })
    }

    /// Where a member lies: `path` leads through named members by dots, through anonymous ones by itself.
    ///
    /// # Errors
    ///
    /// When the struct or the member does not exist.
    pub fn member(&self, structure: &str, path: &str) -> Result<Location, BtfError> {
        let mut known = false;
        // One for all structs of the name: there may be as many as there are types.
        let members = Cell::new(MAX_MEMBERS);
        for record in self.named(structure, kind::STRUCT) {
            known = true;
            if let Some(location) = self.member_of(record, path, 0, MAX_DEPTH, &members) {
                return Ok(location);
            }
        }
        if known {
            Err(BtfError::NoMember { structure: structure.to_owned(), path: path.to_owned() })
        } else {
            Err(BtfError::NoStruct(structure.to_owned()))
        }
    }

    /// What a raw tracepoint passes, from its `btf_trace_…` typedef, without the hidden first argument.
    ///
    /// # Errors
    ///
    /// When the kernel has no such tracepoint.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<Argument>, BtfError> {
        let missing = || BtfError::NoTracepoint(name.to_owned());
        let typedef = self.named(&format!("btf_trace_{name}"), kind::TYPEDEF).next().ok_or_else(missing)?;
        let pointer = self.resolve(typedef.reference).ok_or_else(missing)?;
        let prototype = self.record(pointer.reference).ok_or_else(missing)?;
        if pointer.kind != kind::PTR || prototype.kind != kind::FUNC_PROTO {
            return Err(missing());
        }
        let argument = |index: usize| {
            let reference = word(&self.data, prototype.body + index * 8 + 4).ok()?;
            let pointer = self.resolve(reference).filter(|record| record.kind == kind::PTR)?;
            let target = self.resolve(pointer.reference).filter(|record| record.kind == kind::STRUCT)?;
            Some(Argument::Pointer(self.string(target.name)?.to_owned()))
        };
        let count = prototype.count.min(1 + MAX_ARGUMENTS);
        Ok((1..count).map(|index| argument(index).unwrap_or(Argument::Other)).collect())
    }

    /// The value of an enumerator: numbers change between releases.
    ///
    /// # Errors
    ///
    /// When the enum or the enumerator does not exist.
    pub fn enumerator(&self, enumeration: &str, enumerator: &str) -> Result<u32, BtfError> {
        for record in self.named(enumeration, kind::ENUM) {
            for index in 0..record.count {
                let at = record.body + index * 8;
                if self.string_is(word(&self.data, at)?, enumerator) {
                    return word(&self.data, at + 4);
                }
            }
        }
        Err(BtfError::NoEnumerator { enumeration: enumeration.to_owned(), enumerator: enumerator.to_owned() })
    }

    /// True when there is a struct of this name: `bpf_iter__task_file` tells that the kernel has that iterator.
    #[must_use]
    pub fn has_struct(&self, name: &str) -> bool {
        self.named(name, kind::STRUCT).next().is_some()
    }

    fn member_of(
        &self,
        record: Record,
        path: &str,
        base: u32,
        depth: u32,
        members: &Cell<u32>,
    ) -> Option<Location> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        for index in 0..record.count {
            members.set(members.get().checked_sub(1)?);
            let at = record.body + index * 12;
            let name = word(&self.data, at).ok()?;
            let inner = |path, bit_offset| {
                let inner =
                    self.resolve(word(&self.data, at + 4).ok()?).filter(|inner| inner.is_compound())?;
                self.member_of(inner, path, bit_offset, depth, members)
            };
            let packed = word(&self.data, at + 8).ok()?;
            let (offset, bit_width) =
                if record.has_bit_fields { (packed & 0x00ff_ffff, packed >> 24) } else { (packed, 0) };
            let Some(bit_offset) = base.checked_add(offset) else { continue };
            let found = match rest {
                _ if self.string_is(name, "") => inner(path, bit_offset),
                _ if !self.string_is(name, first) => None,
                None => Some(Location { bit_offset, bit_width }),
                Some(rest) => inner(rest, bit_offset),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Every type of this name and kind: a name can belong to several.
    fn named(&self, name: &str, kind: u32) -> impl Iterator<Item = Record> {
        self.types.iter().filter_map(move |position| {
            let record = record_at(&self.data, *position as usize).ok()?;
            (record.kind == kind && self.string_is(record.name, name)).then_some(record)
        })
    }

    fn record(&self, id: u32) -> Option<Record> {
        let position = *self.types.get((id as usize).checked_sub(1)?)?;
        record_at(&self.data, position as usize).ok()
    }

    /// The type itself, behind typedefs and modifiers.
    fn resolve(&self, mut id: u32) -> Option<Record> {
        for _ in 0..MAX_DEPTH {
            let record = self.record(id)?;
            match record.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = record.reference;
                }
                _ => return Some(record),
            }
        }
        None
    }

    fn string_is(&self, offset: u32, expected: &str) -> bool {
        let tail = self.tail(offset);
        tail.starts_with(expected.as_bytes()) && tail.get(expected.len()) == Some(&0)
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let tail = self.tail(offset);
        let length = tail.iter().take(MAX_NAME).position(|octet| *octet == 0)?;
        str::from_utf8(&tail[..length]).ok()
    }

    /// The strings from here on; none when the offset lies outside.
    fn tail(&self, offset: u32) -> &[u8] {
        let strings = self.data.get(self.strings.clone());
        strings.and_then(|strings| strings.get(offset as usize..)).unwrap_or_default()
    }
}

impl Record {
    fn is_compound(self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION)
    }
}

fn record_at(data: &[u8], position: usize) -> Result<Record, BtfError> {
    let info = word(data, position + 4)?;
    Ok(Record {
        name: word(data, position)?,
        // Kind and count are 5 and 16 bits in older kernels, whose other bits are 0.
        kind: info >> 24 & 0x7f,
        count: (info & 0x00ff_ffff) as usize,
        has_bit_fields: info >> 31 == 1,
        reference: word(data, position + 8)?,
        body: position + 12,
    })
}

fn body_bytes(record: Record) -> Result<usize, BtfError> {
    Ok(match record.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => record.count * 12,
        kind::ENUM | kind::FUNC_PROTO => record.count * 8,
        unknown if unknown == 0 || unknown > kind::LAST => {
            return Err(BtfError::Malformed("a kind of type that is not known here"));
        }
        _ => 0,
    })
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let octets = data.get(at..).and_then(<[u8]>::first_chunk);
    octets.map(|octets| u32::from_ne_bytes(*octets)).ok_or(BtfError::Malformed("cut short"))
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
