//! BTF as a list of types that can be cut down and written again. Format: `Documentation/bpf/btf.rst`, kernel v6.18.
//!
//! Not the agent's reader: that one answers questions without keeping a list, and is what the fixtures test.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: u32 = 24;
/// The bits of a type's second word that count its rows: 16 at first, the next 8 were free and 0.
const COUNT: u32 = 0x00ff_ffff;

/// Kinds that something is done about; the others are only copied.
pub(super) mod kind {
    pub(in crate::btf) const INT: u32 = 1;
    pub(in crate::btf) const PTR: u32 = 2;
    pub(in crate::btf) const ARRAY: u32 = 3;
    pub(in crate::btf) const STRUCT: u32 = 4;
    pub(in crate::btf) const UNION: u32 = 5;
    pub(in crate::btf) const ENUM: u32 = 6;
    pub(in crate::btf) const TYPEDEF: u32 = 8;
    pub(in crate::btf) const FUNC: u32 = 12;
    pub(in crate::btf) const FUNC_PROTO: u32 = 13;
    pub(in crate::btf) const ENUM64: u32 = 19;
}

/// One type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Type {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// The word that holds kind, flag and count.
    info: u32,
    /// Its size, or the number of the type it refers to.
    pub reference: u32,
    /// Members, parameters, values: what follows the fixed part, row after row.
    pub cells: Vec<Cell>,
}

/// One word of what follows a type's fixed part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    Name(String),
    Type(u32),
    Number(u32),
}

/// The columns of a row.
#[derive(Clone, Copy)]
enum Column {
    Name,
    Type,
    Number,
}

impl Type {
    /// Its kind.
    pub(super) fn kind(&self) -> u32 {
        kind_of(self.info)
    }

    /// Whether [`Type::reference`] is the number of a type.
    pub(super) fn refers(&self) -> bool {
        // PTR; TYPEDEF, VOLATILE, CONST, RESTRICT; FUNC, FUNC_PROTO, VAR; DECL_TAG, TYPE_TAG.
        matches!(self.kind(), 2 | 8..=11 | 12..=14 | 17 | 18)
    }

    /// Takes away members or values; the size stays.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.info &= !COUNT;
    }

    #[cfg(test)]
    pub(super) fn new(kind: u32, name: &str, reference: u32, cells: Vec<Cell>) -> Self {
        let count = rows(kind).map_or(0, |(columns, _)| cells.len() / columns.len());
        let info = kind << 24 | u32::try_from(count).unwrap();
        Self { name: name.to_owned(), info, reference, cells }
    }
}

fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x7f
}

/// The columns of a kind's rows, and whether the count is the number of rows (otherwise one); `None` for no rows.
fn rows(kind: u32) -> Option<(&'static [Column], bool)> {
    use Column::{Name, Number, Type};
    Some(match kind {
        kind::INT => (&[Number], false),
        kind::ARRAY => (&[Type, Type, Number], false),
        kind::STRUCT | kind::UNION => (&[Name, Type, Number], true),
        kind::ENUM => (&[Name, Number], true),
        kind::FUNC_PROTO => (&[Name, Type], true),
        // VAR, DATASEC, DECL_TAG
        14 | 17 => (&[Number], false),
        15 => (&[Type, Number, Number], true),
        kind::ENUM64 => (&[Name, Number, Number], true),
        _ => return None,
    })
}

/// Reads BTF of a little-endian kernel. Type `n` is at `n - 1`.
pub(super) fn parse(data: &[u8]) -> Result<Vec<Type>> {
    if data.get(..2) != Some(&MAGIC.to_le_bytes()) {
        bail!("no little-endian BTF");
    }
    let header = word(data, 4)?;
    let section = |offset: usize, length: usize| -> Result<&[u8]> {
        let start = header as usize + word(data, offset)? as usize;
        let end = start + word(data, length)? as usize;
        data.get(start..end).context("a section reaches beyond the end")
    };
    let (types, strings) = (section(8, 12)?, section(16, 20)?);
    let mut at = 0;
    let mut next = || -> Result<u32> {
        let word = word(types, at)?;
        at += 4;
        Ok(word)
    };
    let mut found = Vec::new();
    let words = types.len() / 4;
    let mut read = 0;
    while read < words {
        let (name, info, reference) = (string(strings, next()?)?, next()?, next()?);
        let mut cells = Vec::new();
        if kind_of(info) == 0 || kind_of(info) > kind::ENUM64 {
            bail!("type {} has the unknown kind {}", found.len() + 1, kind_of(info));
        }
        if let Some((columns, counted)) = rows(kind_of(info)) {
            for _ in 0..if counted { info & COUNT } else { 1 } {
                for column in columns {
                    let value = next()?;
                    cells.push(match column {
                        Column::Name => Cell::Name(string(strings, value)?),
                        Column::Type => Cell::Type(value),
                        Column::Number => Cell::Number(value),
                    });
                }
            }
        }
        read += 3 + cells.len();
        found.push(Type { name, info, reference, cells });
    }
    Ok(found)
}

/// Writes little-endian BTF; strings stand in the order of their first use, so that equal types give equal bytes.
pub(super) fn write(types: &[Type]) -> Result<Vec<u8>> {
    let mut strings = Strings { data: vec![0], offsets: BTreeMap::from([(String::new(), 0)]) };
    let mut body = Vec::new();
    for one in types {
        body.extend([strings.offset(&one.name)?, one.info, one.reference]);
        for cell in &one.cells {
            body.push(match cell {
                Cell::Name(name) => strings.offset(name)?,
                Cell::Type(value) | Cell::Number(value) => *value,
            });
        }
    }
    let types_bytes = u32::try_from(body.len() * 4).context("too many types")?;
    let strings_bytes = u32::try_from(strings.data.len()).context("too many strings")?;
    let mut data = MAGIC.to_le_bytes().to_vec();
    // Version 1, no flags.
    data.extend([1, 0]);
    let header = [HEADER_BYTES, 0, types_bytes, types_bytes, strings_bytes];
    data.extend(header.iter().chain(&body).flat_map(|word| word.to_le_bytes()));
    data.extend(strings.data);
    Ok(data)
}

struct Strings {
    data: Vec<u8>,
    offsets: BTreeMap<String, u32>,
}

impl Strings {
    fn offset(&mut self, string: &str) -> Result<u32> {
        if let Some(offset) = self.offsets.get(string) {
            return Ok(*offset);
        }
        let offset = u32::try_from(self.data.len()).context("too many strings")?;
        self.data.extend(string.as_bytes());
        self.data.push(0);
        self.offsets.insert(string.to_owned(), offset);
        Ok(offset)
    }
}

fn word(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).context("cut short")
}

fn string(strings: &[u8], offset: u32) -> Result<String> {
    let tail = strings.get(offset as usize..).context("a name lies outside the strings")?;
    let name = tail.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(name.to_vec()).context("a name is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let member = |name: &str, of, at| [Cell::Name(name.to_owned()), Cell::Type(of), Cell::Number(at)];
        let types = vec![
            Type::new(kind::INT, "int", 4, vec![Cell::Number(32)]),
            Type::new(kind::STRUCT, "s", 8, [member("a", 1, 0), member("s", 3, 32)].concat()),
            Type::new(kind::PTR, "", 2, Vec::new()),
            Type::new(kind::ENUM64, "e", 8, vec![Cell::Name("a".into()), Cell::Number(1), Cell::Number(2)]),
        ];
        let data = write(&types).unwrap();
        assert_eq!(parse(&data).unwrap(), types);
        assert!(parse(&data[..data.len() - 1]).is_err());
        assert!(parse(b"\x7fELF").is_err());
    }
}
