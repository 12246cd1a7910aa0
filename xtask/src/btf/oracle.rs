//! Where members lie according to bpftool: read by another program, looked up in another way than the agent does.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use netcause_common::layout::{KernelLayout, Member};
use serde::Deserialize;

use crate::exec;

/// How deep anonymous members may nest; a kernel's own BTF stays far below.
const MAX_DEPTH: usize = 16;

#[derive(Deserialize)]
struct Dump {
    types: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: u32,
    kind: String,
    name: String,
    type_id: Option<u32>,
    #[serde(default)]
    members: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
    type_id: u32,
    bits_offset: u32,
    #[serde(default)]
    bitfield_size: u32,
}

/// What bpftool calls a type or member without a name.
const ANONYMOUS: &str = "(anon)";

struct Types(BTreeMap<u32, Entry>);

/// The named members of a struct, those of anonymous members included: offset, width as a bit field (else 0), type.
type Names<'a> = BTreeMap<&'a str, (u32, u32, u32)>;

/// One line for each member of [`KernelLayout`]: `struct.path = bit offset`, `:width` after it for a bit field.
pub(super) fn offsets(btf: &Path) -> Result<String> {
    let Some(bpftool) = exec::find_on_path("bpftool") else {
        bail!("bpftool is not installed (package bpftool)")
    };
    let json = exec::output(
        Command::new(bpftool).args(["-j", "btf", "dump", "file"]).arg(btf),
        "reading BTF with bpftool",
    )?;
    let dump: Dump = serde_json::from_str(&json).context("bpftool's output is not what we know")?;
    let types = Types(dump.types.into_iter().map(|entry| (entry.id, entry)).collect());
    let mut lines = String::new();
    for member in KernelLayout::MEMBERS {
        let place = types.place(member)?;
        lines.push_str(&format!("{}.{} = {place}\n", member.structure, member.path));
    }
    Ok(lines)
}

impl Types {
    fn place(&self, member: &Member) -> Result<String> {
        let named = |entry: &&Entry| entry.kind == "STRUCT" && entry.name == member.structure;
        let places: Vec<String> = self
            .0
            .values()
            .filter(named)
            .map(|entry| {
                Ok(match self.walk(entry.id, member.path)? {
                    None => "missing".to_owned(),
                    Some((offset, 0)) => offset.to_string(),
                    Some((offset, width)) => format!("{offset}:{width}"),
                })
            })
            .collect::<Result<_>>()?;
        match places.as_slice() {
            [] => Ok("missing".to_owned()),
            [place, rest @ ..] if rest.iter().all(|other| other == place) => Ok(place.clone()),
            // A pointer may lead to any of them, so the agent's choice of the first would be a guess.
            _ => bail!("{} structs are called {} and differ", places.len(), member.structure),
        }
    }

    /// Offset and width of a member: at each dot, all names of one struct are listed and one is picked.
    fn walk(&self, structure: u32, path: &str) -> Result<Option<(u32, u32)>> {
        let (mut id, mut base, mut width) = (structure, 0, 0);
        for segment in path.split('.') {
            let mut names = Names::new();
            self.names(id, 0, MAX_DEPTH, &mut names)?;
            let Some((offset, bits, of)) = names.get(segment).copied() else { return Ok(None) };
            (id, base, width) = (of, base + offset, bits);
        }
        Ok(Some((base, width)))
    }

    fn names<'a>(&'a self, id: u32, base: u32, depth: usize, names: &mut Names<'a>) -> Result<()> {
        let depth = depth.checked_sub(1).context("types nest too deep")?;
        let Some(entry) = self.0.get(&id) else { return Ok(()) };
        match entry.kind.as_str() {
            "TYPEDEF" | "CONST" | "VOLATILE" | "RESTRICT" | "TYPE_TAG" => {
                self.names(entry.type_id.unwrap_or(0), base, depth, names)
            }
            // Others have no members.
            _ => entry.members.iter().try_for_each(|part| {
                let offset = base + part.bits_offset;
                if part.name == ANONYMOUS {
                    return self.names(part.type_id, offset, depth, names);
                }
                names.insert(&part.name, (offset, part.bitfield_size, part.type_id));
                Ok(())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_members_and_bit_fields_are_found() {
        let json = r#"{"types":[
            {"id":1,"kind":"STRUCT","name":"s","members":[{"name":"(anon)","type_id":2,"bits_offset":64}]},
            {"id":2,"kind":"UNION","name":"(anon)","members":[{"name":"t","type_id":3,"bits_offset":0}]},
            {"id":3,"kind":"CONST","name":"(anon)","type_id":4},
            {"id":4,"kind":"STRUCT","name":"t","members":[
                {"name":"a","type_id":5,"bits_offset":3,"bitfield_size":5}]}]}"#;
        let dump: Dump = serde_json::from_str(json).unwrap();
        let types = Types(dump.types.into_iter().map(|entry| (entry.id, entry)).collect());
        assert_eq!(types.walk(1, "t.a").unwrap(), Some((67, 5)));
        assert_eq!(types.walk(1, "t").unwrap(), Some((64, 0)));
        assert_eq!(types.walk(1, "a").unwrap(), None);
    }
}
