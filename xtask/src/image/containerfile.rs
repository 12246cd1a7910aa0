//! How the image is started: the instructions of deploy/Containerfile, which container engines read as well.

use anyhow::{Context as _, Result, bail, ensure};

/// The file.
pub(super) const PATH: &str = "deploy/Containerfile";

/// Who is started, and how.
#[derive(PartialEq, Debug)]
pub(super) struct Start {
    /// `UID:GID`.
    pub(super) user: String,
    /// TCP ports.
    pub(super) ports: Vec<u16>,
    pub(super) entrypoint: Vec<String>,
    /// Where no others are given.
    pub(super) args: Vec<String>,
}

/// Reads the instructions. One that is not carried out is an error.
pub(super) fn read(text: &str) -> Result<Start> {
    let mut start =
        Start { user: String::new(), ports: Vec::new(), entrypoint: Vec::new(), args: Vec::new() };
    let words = |text: &str| serde_json::from_str(text).with_context(|| format!("no list of words: {text}"));
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(' ') {
            Some(("FROM", "scratch")) | Some(("COPY", "rootfs/ /")) => {}
            Some(("USER", user)) => start.user = user.to_owned(),
            Some(("EXPOSE", port)) => start.ports.push(port.parse().context("EXPOSE")?),
            Some(("ENTRYPOINT", list)) => start.entrypoint = words(list)?,
            Some(("CMD", list)) => start.args = words(list)?,
            _ => bail!("`cargo xtask image` does not know how to carry out: {line}"),
        }
    }
    ensure!(!start.user.is_empty() && !start.entrypoint.is_empty(), "USER or ENTRYPOINT is missing");
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read() {
        let text = "# x\nFROM scratch\nCOPY rootfs/ /\n\nUSER 0:0\nEXPOSE 9779\nENTRYPOINT [\"/x\"]\nCMD [\"a\", \"b\"]\n";
        let start = read(text).unwrap();
        assert_eq!((start.user.as_str(), start.ports.as_slice()), ("0:0", &[9779][..]));
        assert_eq!(
            (start.entrypoint, start.args),
            (vec!["/x".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
        let error = read(&format!("{text}RUN x\n")).unwrap_err().to_string();
        assert!(error.contains("RUN x"), "{error}");
        assert!(read("FROM scratch\n").is_err());
    }
}
