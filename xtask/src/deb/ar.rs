//! The outer archive of a Debian package (deb(5), ar(5)).

use anyhow::{Result, ensure};

/// Members in their order, everything root's.
pub(super) fn archive(members: &[(&str, Vec<u8>)], epoch: u64) -> Result<Vec<u8>> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let header = format!("{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, "100644", content.len());
        ensure!(header.len() == 60, "{name} does not fit into the header of an archive");
        archive.extend(header.as_bytes());
        archive.extend(content);
        // Members begin at even places.
        if content.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_begin_at_even_places() {
        let archive = archive(&[("a", b"x".to_vec()), ("b", b"yz".to_vec())], 7).unwrap();
        assert_eq!(archive.len(), 8 + 60 + 2 + 60 + 2);
        assert!(
            archive[8..].starts_with(b"a               7           0     0     100644  1         `\nx\nb ")
        );
        assert!(super::archive(&[("a name that is too long", Vec::new())], 7).is_err());
    }
}
