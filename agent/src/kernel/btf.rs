//! Parses the kernel's BTF: offsets of struct members, arguments of tracepoints, values of enumerators.
//!
//! A parser of our own for its memory: it keeps only the file and one number per type. Measured on 126 000 types, the `btf`
//! crate peaks at 85 MiB of resident memory and keeps 50 after it is dropped, `btf-rs` 47 and 15, this parser 6 and none;
//! the agent's budget is 20. Format: `Documentation/bpf/btf.rst`, kernel v6.18.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use thiserror::Error;

/// Why a lookup in the BTF fails.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read the kernel's BTF at {path}: {source} (requires CONFIG_DEBUG_INFO_BTF)")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The data is not BTF, or damaged.
    #[error("the kernel's BTF is malformed: {0}")]
    Malformed(&'static str),
    /// The kernel has no such struct.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("this kernel has no member {structure}.{path}")]
    NoMember {
        /// The name of the struct.
        structure: String,
        /// The path of the member, as in [`Btf::member`].
        path: String,
    },
    /// The kernel has no such tracepoint.
    #[error("this kernel has no tracepoint {0}")]
    NoTracepoint(String),
    /// The kernel has no such function.
    #[error("this kernel has no function {0}")]
    NoFunction(String),
    /// The kernel has no such enumerator.
    #[error("this kernel has no {enumerator} in enum {enumeration}")]
    NoEnumerator {
        /// The name of the enum.
        enumeration: String,
        /// The name of the enumerator.
        enumerator: String,
    },
}

/// The position of a member in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Offset from the start of the struct in bits.
    pub bit_offset: u32,
    /// Width of a bit field in bits; 0 for other members.
    pub bit_width: u32,
}

/// The type of a tracepoint's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to the named struct.
    Pointer(String),
    /// Anything else, such as a number or a pointer to another type.
    Other,
}

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
/// Limit on the nesting of anonymous members and on chains of modifiers, so that damaged data cannot loop.
const MAX_DEPTH: u32 = 32;
/// Limit on members visited in one lookup. The limit on depth is not enough: damaged structs that contain each other branch
/// at every level. `net_device`, the largest struct we read, has 206 on 7.2, including those of its anonymous members.
const MAX_MEMBERS: u32 = 1 << 16;
/// Limit on the length of a name in bytes, as in the kernel (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 512;
/// Limit on arguments of a tracepoint: the kernel passes at most 12 to BPF (`MAX_BPF_FUNC_ARGS`).
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
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
    pub(super) const LAST: u32 = 19;
}

/// Parsed BTF: the bytes of the file, and the position of each type in them.
pub struct Btf {
    data: Vec<u8>,
    /// Position of type `n + 1`; type 0 is `void`.
    types: Vec<u32>,
    /// The range of the string section.
    strings: Range<usize>,
}

/// The fixed part of a type's record (`struct btf_type`), and the position of the variable part.
#[derive(Clone, Copy)]
struct Record {
    name: u32,
    kind: u32,
    /// Number of members, parameters or values (`vlen`).
    count: usize,
    /// True if the top byte of a member's offset is the width of a bit field (`kind_flag`).
    has_bit_fields: bool,
    /// The size of the type, or the type it refers to.
    reference: u32,
    body: usize,
}

impl Btf {
    /// Reads the running kernel's BTF, usually at `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not BTF.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let data = fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Parses raw BTF of this machine's byte order.
    ///
    /// # Errors
    ///
    /// When the data is not BTF, is truncated, or has an unknown kind of type.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let magic = data.get(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
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
                _ => Err(BtfError::Malformed("a section extends beyond the end of the data")),
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
                return Err(BtfError::Malformed("the last type is truncated"));
            }
        }
        Ok(Self { data, types, strings })
    }

    /// Looks up a member. `path` separates nested members by dots; anonymous members are searched implicitly.
    ///
    /// # Errors
    ///
    /// When the struct or the member does not exist.
    pub fn member(&self, structure: &str, path: &str) -> Result<Location, BtfError> {
        let mut known = false;
        // Shared by all structs of this name, of which there may be as many as types.
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

    /// The arguments of a raw tracepoint, from its `btf_trace_…` typedef, without the hidden first one.
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

    /// The number of arguments of a function.
    ///
    /// # Errors
    ///
    /// When the kernel has no such function, or it cannot be traced.
    pub fn arguments(&self, function: &str) -> Result<usize, BtfError> {
        let found = self.named(function, kind::FUNC).next();
        let prototype = found.and_then(|found| self.record(found.reference));
        let prototype = prototype.filter(|prototype| prototype.kind == kind::FUNC_PROTO);
        prototype.map(|prototype| prototype.count).ok_or_else(|| BtfError::NoFunction(function.to_owned()))
    }

    /// The value of an enumerator; it may differ between kernel releases.
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

    /// The names and values of an enum; empty if there is none of this name.
    pub fn enumerators(&self, enumeration: &str) -> impl Iterator<Item = (&str, u32)> {
        let records = self.named(enumeration, kind::ENUM).take(1);
        let places = records.flat_map(|record| (0..record.count).map(move |index| record.body + index * 8));
        places.filter_map(|at| {
            let name = self.string(word(&self.data, at).ok()?)?;
            Some((name, word(&self.data, at + 4).ok()?))
        })
    }

    /// True if there is a struct of this name. `bpf_iter__task_file`, for example, exists if the kernel has that iterator.
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

    /// All types of this name and kind; names are not unique.
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

    /// Follows typedefs and modifiers to the type itself.
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
        let length = tail.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
        str::from_utf8(&tail[..length]).ok()
    }

    /// The string section from an offset on; empty if the offset is outside.
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
        // In older kernels kind and count have 5 and 16 bits, and the other bits are 0.
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
            return Err(BtfError::Malformed("unknown kind of type"));
        }
        _ => 0,
    })
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(BtfError::Malformed("truncated"))
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
