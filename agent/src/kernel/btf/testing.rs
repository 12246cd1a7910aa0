//! BTF for tests: of real kernels, cut down by `cargo xtask btf`, and made by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Location, MAGIC, kind};

/// The BTF of one kernel, and the offsets that bpftool finds in it.
pub struct Fixture {
    /// The kernel's version, as in the file's name.
    pub version: (u32, u32),
    /// The BTF of its types that the agent uses.
    pub data: Vec<u8>,
    /// Offsets found by bpftool, by `struct.path`; `None` if there is no such member.
    pub places: BTreeMap<String, Option<Location>>,
}

/// Every kernel in `tests/golden/btf`, oldest first.
pub fn fixtures() -> Vec<Fixture> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/btf");
    let paths = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<Fixture> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "btf"))
        .map(|path| fixture(&path))
        .collect();
    found.sort_by_key(|fixture| fixture.version);
    found
}

fn fixture(path: &Path) -> Fixture {
    let (major, minor) = path.file_stem().unwrap().to_str().unwrap().split_once('.').unwrap();
    let offsets = fs::read_to_string(path.with_extension("offsets")).unwrap();
    let lines = offsets.lines().filter(|line| !line.starts_with('#'));
    let place = |line: &str| {
        let (member, place) = line.split_once(" = ").unwrap();
        let (offset, width) = place.split_once(':').unwrap_or((place, "0"));
        let location = || Location { bit_offset: offset.parse().unwrap(), bit_width: width.parse().unwrap() };
        (member.to_owned(), (place != "missing").then(location))
    };
    Fixture {
        version: (major.parse().unwrap(), minor.parse().unwrap()),
        data: fs::read(path).unwrap(),
        places: lines.map(place).collect(),
    }
}

/// A member: name, type, place.
pub type Member<'a> = (&'a str, u32, Location);

/// A plain member.
pub fn at(name: &str, of: u32, bit_offset: u32) -> Member<'_> {
    (name, of, Location { bit_offset, bit_width: 0 })
}

/// Writes BTF type by type; each call returns the number of the type it adds.
pub struct Builder {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
}

impl Builder {
    /// Without types, except `void`.
    pub fn new() -> Self {
        Self { types: Vec::new(), count: 0, strings: vec![0] }
    }

    /// The number that the next type will have.
    pub fn next(&self) -> u32 {
        self.count + 1
    }

    /// Adds any type: the second word of its record, and the variable part.
    pub fn raw(&mut self, name: &str, info: u32, reference: u32, body: &[u32]) -> u32 {
        let name = self.name(name);
        self.types.extend([name, info, reference]);
        self.types.extend(body);
        self.count += 1;
        self.count
    }

    /// A number of 32 bits.
    pub fn int(&mut self) -> u32 {
        self.raw("int", kind::INT << 24, 4, &[32])
    }

    /// A struct; with the bit fields' form of members when one has a width.
    pub fn structure(&mut self, name: &str, members: &[Member<'_>]) -> u32 {
        self.compound(kind::STRUCT, name, members)
    }

    /// A union.
    pub fn union(&mut self, name: &str, members: &[Member<'_>]) -> u32 {
        self.compound(kind::UNION, name, members)
    }

    fn compound(&mut self, kind: u32, name: &str, members: &[Member<'_>]) -> u32 {
        let has_bit_fields = members.iter().any(|(_, _, location)| location.bit_width > 0);
        let mut body = Vec::new();
        for (name, of, location) in members {
            body.extend([self.name(name), *of, location.bit_width << 24 | location.bit_offset]);
        }
        let count = u32::try_from(members.len()).unwrap();
        self.raw(name, u32::from(has_bit_fields) << 31 | kind << 24 | count, 4, &body)
    }

    /// A typedef.
    pub fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.raw(name, kind::TYPEDEF << 24, of, &[])
    }

    /// `const`.
    pub fn constant(&mut self, of: u32) -> u32 {
        self.raw("", kind::CONST << 24, of, &[])
    }

    /// A pointer.
    pub fn pointer(&mut self, to: u32) -> u32 {
        self.raw("", kind::PTR << 24, to, &[])
    }

    /// A tracepoint's typedef; the hidden first argument is added.
    pub fn tracepoint(&mut self, name: &str, arguments: &[u32]) -> u32 {
        let hidden = self.pointer(0);
        let body: Vec<u32> = [&[hidden], arguments].concat().into_iter().flat_map(|of| [0, of]).collect();
        let count = u32::try_from(1 + arguments.len()).unwrap();
        let prototype = self.raw("", kind::FUNC_PROTO << 24 | count, 0, &body);
        let pointer = self.pointer(prototype);
        self.typedef(&format!("btf_trace_{name}"), pointer)
    }

    /// The finished BTF.
    pub fn build(self) -> Vec<u8> {
        self.build_with(&[])
    }

    /// The BTF with a header that is longer by some words, as later kernels may have it.
    pub fn build_with(self, more_header: &[u32]) -> Vec<u8> {
        let types = u32::try_from(self.types.len() * 4).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let header = 24 + u32::try_from(more_header.len() * 4).unwrap();
        let first = [[MAGIC.to_ne_bytes(), [1, 0]].concat(), header.to_ne_bytes().to_vec()].concat();
        let words = [&[0, types, types, strings], more_header, &self.types].concat();
        [first, words.into_iter().flat_map(u32::to_ne_bytes).collect(), self.strings].concat()
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        offset
    }
}
