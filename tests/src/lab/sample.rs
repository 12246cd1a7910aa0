//! Samples of an exposition, parsed from Prometheus text 0.0.4.

use std::{
    borrow::{Borrow, Cow},
    collections::HashSet,
    fmt::{self, Debug, Display, Formatter},
    ops::Deref,
    rc::Rc,
};

use anyhow::{Context as _, Result, bail, ensure};

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: Text,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// A text that many lines have; it is kept once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(Rc<str>);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl Debug for Text {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, formatter)
    }
}

impl Display for Text {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self, formatter)
    }
}

/// The labels of a sample, sorted by name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Labels(Box<[(Text, Text)]>);

impl Labels {
    /// The value of a label.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(label, _)| *label == name).map(|(_, value)| &**value)
    }

    /// Whether a label has this value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| &**value)
    }
}

impl Debug for Labels {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

/// Reads an exposition; an error if two of its samples have the same name and labels.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>> {
    let mut texts = Texts::default();
    let samples = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line, &mut texts).with_context(|| format!("reading the sample {line:?}")))
        .collect::<Result<Vec<_>>>()?;
    expect_unique(&samples)?;
    Ok(samples)
}

/// Fails if two samples have the same name and labels: Prometheus would keep one of them and drop the other.
fn expect_unique(samples: &[Sample]) -> Result<()> {
    let mut seen = HashSet::with_capacity(samples.len());
    for sample in samples {
        ensure!(
            seen.insert((&sample.name, &sample.labels)),
            "the exposition has this series twice: {sample:?}"
        );
    }
    Ok(())
}

/// The texts of an exposition, each kept once.
#[derive(Default)]
struct Texts(HashSet<Text>);

impl Texts {
    fn keep(&mut self, text: &str) -> Text {
        if let Some(kept) = self.0.get(text) {
            return kept.clone();
        }
        let kept = Text(text.into());
        self.0.insert(kept.clone());
        kept
    }
}

fn parse_line(line: &str, texts: &mut Texts) -> Result<Sample> {
    let (name, labels, rest) = match line.find('{') {
        Some(open) => {
            let (labels, rest) = parse_labels(&line[open + 1..], texts)?;
            (&line[..open], labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ').context("no value")?;
            (name, Labels(Box::default()), rest)
        }
    };
    let value = rest.split_whitespace().next().context("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().context("not a number")?,
    };
    Ok(Sample { name: texts.keep(name), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn parse_labels<'a>(mut text: &'a str, texts: &mut Texts) -> Result<(Labels, &'a str)> {
    let mut labels = Vec::with_capacity(text.bytes().filter(|byte| *byte == b'=').count());
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            labels.sort_unstable();
            return Ok((Labels(labels.into()), rest));
        }
        let (name, rest) = text.split_once("=\"").context("a label without a value")?;
        let (value, rest) = parse_value(rest)?;
        labels.push((texts.keep(name), texts.keep(&value)));
        text = rest;
    }
}

/// A label's value up to its closing quote, and what follows it.
fn parse_value(text: &str) -> Result<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\']).context("a label value without an end")?;
    if text[end..].starts_with('"') {
        return Ok((text[..end].into(), &text[end + 1..]));
    }
    let mut value = text[..end].to_owned();
    let mut chars = text[end..].char_indices();
    loop {
        match chars.next() {
            Some((at, '"')) => return Ok((value.into(), &text[end + at + 1..])),
            Some((_, '\\')) => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => bail!("an escape at the end"),
            },
            Some((_, char)) => value.push(char),
            None => bail!("a label value without an end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_is_there_twice_is_refused() {
        let twice = "a{x=\"1\",y=\"2\"} 1\nb 1\na{y=\"2\",x=\"1\"} 3\n";
        let error = parse(twice).unwrap_err().to_string();
        assert!(error.contains("twice") && error.contains("\"a\""), "{error}");
        assert!(parse("b 1\nb 1\n").is_err());
        assert!(parse("a{x=\"1\"} 1\na{x=\"2\"} 1\na 1\nb{x=\"1\"} 1\n").is_ok());
    }
}
