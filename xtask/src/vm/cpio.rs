//! A writer for the archives that Linux unpacks as its first root file system ("newc" cpio).
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` in the kernel's source. One file may
//! hold several archives, so an image is concatenated from parts that are made once.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
/// Parts are padded to this, so that the next one may follow.
const BLOCK: usize = 512;

/// An archive being written.
pub(super) struct Archive<W> {
    out: W,
    written: usize,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub(super) const fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory and those above it, once.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.parents(path)?;
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file with this content.
    pub(super) fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let path = path.trim_matches('/');
        self.parents(path)?;
        self.entry(path, FILE | mode, content)
    }

    /// Adds a copy of a file of this machine, with its permissions.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let mode = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, &content, mode.permissions().mode() & 0o777)
    }

    /// Adds a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, to: &str) -> Result<()> {
        let path = path.trim_matches('/');
        self.parents(path)?;
        self.entry(path, SYMLINK | 0o777, to.as_bytes())
    }

    /// Ends the archive and returns what it was written to.
    pub(super) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.pad(BLOCK)?;
        self.out.flush().context("cannot write the image")?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        path.rsplit_once('/').map_or(Ok(()), |(parent, _)| self.directory(parent))
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let (Ok(size), Ok(name_size)) = (u32::try_from(content.len()), u32::try_from(name.len() + 1)) else {
            bail!("{name} is too large for an image: the format ends at 4 GiB");
        };
        self.inode += 1;
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad(4)?;
        self.put(content)?;
        self.pad(4)
    }

    fn pad(&mut self, to: usize) -> Result<()> {
        let zeros = self.written.next_multiple_of(to) - self.written;
        self.put(&[0; BLOCK][..zeros])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes).map_err(write_error)
    }
}

fn write_error(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write the image (is the disk full?)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_named() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/file", b"hello", 0o644).unwrap();
        archive.symlink("a/link", "b/file").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let text = String::from_utf8_lossy(&bytes);
        // a, a/b, a/b/file, a/link, the trailer
        assert_eq!(text.matches("070701").count(), 5);
        assert!(text.find("a/b\0").unwrap() < text.find("a/b/file\0").unwrap());
        let header = text.find("a/b/file").unwrap() - 110;
        assert_eq!(header % 4, 0);
        assert_eq!(&text[header + 14..header + 22], "000081a4", "mode");
        assert_eq!(&text[header + 54..header + 62], "00000005", "size");
    }
}
