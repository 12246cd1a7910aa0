//! Archives whose bytes depend on their content alone: entries in the order of their paths, one time, one owner, fixed modes.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file system that is not there yet, by relative path. Directories are made as files need them.
#[derive(Default, Clone)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// What is at a path.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Node {
    /// 0755.
    Directory,
    /// Its mode and content.
    File(u32, Vec<u8>),
    /// A symbolic link, by its target.
    Link(String),
}

impl Tree {
    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        self.add(path, Node::File(mode, content));
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Node::Link(target.to_owned()));
    }

    fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            self.nodes.entry(path[..end].to_owned()).or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// What there is, by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The contents of all files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().filter_map(|(path, node)| match node {
            Node::File(_, content) => Some((path, content.as_slice())),
            _ => None,
        })
    }

    /// As a tar archive, everything root's and of this time.
    pub(crate) fn tar(&self, epoch: u64) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, node) in self.iter() {
            let mut header = Header::new_gnu();
            header.set_mtime(epoch);
            header.set_uid(0);
            header.set_gid(0);
            header.set_username("root").and_then(|()| header.set_groupname("root")).context("root")?;
            let appended = match node {
                Node::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), &[][..])
                }
                Node::File(mode, content) => {
                    header.set_mode(*mode);
                    header.set_size(content.len().try_into()?);
                    archive.append_data(&mut header, path, content.as_slice())
                }
                Node::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)
                }
            };
            appended.with_context(|| format!("cannot put {path} into an archive"))?;
        }
        archive.into_inner().context("cannot end an archive")
    }
}

/// Compressed with gzip, which every reader of images and packages knows; without a time or a name in its header.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).context("cannot compress")
}

/// The hash in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time as in RFC 3339, in UTC, to the second.
pub(crate) fn rfc3339(epoch: u64) -> String {
    let (days, second) = (epoch / 86_400, epoch % 86_400);
    let (mut year, mut day) = (1970, days);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |year| if is_leap(year) { 366 } else { 365 };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let mut month = 1;
    for days in [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", day + 1, second % 60)
}

/// A size for people, rounded up in its first decimal: what is shown is never below a limit that was passed.
pub(crate) fn mebibytes(bytes: usize) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let mut one = Tree::default();
        one.file("/usr/bin/x", 0o755, b"x".to_vec());
        one.link("usr/bin/y", "x");
        let mut other = Tree::default();
        other.link("usr/bin/y", "x");
        other.file("usr/bin/x", 0o755, b"x".to_vec());
        let tar = one.tar(7).unwrap();
        assert_eq!(tar, other.tar(7).unwrap());
        assert_ne!(tar, other.tar(8).unwrap());
        let mut archive = tar::Archive::new(tar.as_slice());
        let listed: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path_bytes().into_owned();
                assert_eq!(
                    (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                    (0, 0, 7)
                );
                (String::from_utf8(path).unwrap(), header.mode().unwrap())
            })
            .collect();
        let wanted = [("usr/", 0o755), ("usr/bin/", 0o755), ("usr/bin/x", 0o755), ("usr/bin/y", 0o777)];
        assert_eq!(listed, wanted.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn compressed_bytes_carry_no_time() {
        let zipped = gzip(b"text").unwrap();
        // RFC 1952: MTIME is at offset 4.
        assert_eq!(zipped[4..8], [0; 4]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(zipped.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }

    /// As `date --utc` writes them.
    #[test]
    fn times_are_those_of_the_calendar() {
        let times = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_796_044_898, "2026-11-30T13:21:38Z"),
        ];
        for (epoch, text) in times {
            assert_eq!(rfc3339(epoch), text);
        }
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(mebibytes(20 << 20), "20.0 MiB");
        assert_eq!(mebibytes((20 << 20) + 1), "20.1 MiB");
    }

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
