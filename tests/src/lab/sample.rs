//! Samples of an exposition, parsed from Prometheus text 0.0.4.
//!
//! A scrape of the shared agent has megabytes, of which a scenario looks at a few lines, and a VM is slow: labels stay text until
//! they are asked for.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt::{self, Debug, Display, Formatter},
    hash::{BuildHasher, RandomState},
    ops::{Deref, Range},
    rc::Rc,
};

use anyhow::{Context as _, Result, bail, ensure};

/// One line of an exposition.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: Text,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// A part of an exposition.
#[derive(Clone)]
pub(crate) struct Text {
    all: Rc<str>,
    part: Range<usize>,
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.all[self.part.clone()]
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

/// The labels of a sample.
#[derive(Clone)]
pub(crate) enum Labels {
    /// What is between its braces, without an escape.
    Plain(Text),
    /// Names and values.
    Escaped(Vec<(String, String)>),
}

impl Labels {
    /// The value of a label.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(label, _)| *label == name).map(|(_, value)| value)
    }

    /// Whether a label has this value.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.pairs().map(|(_, value)| value)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let (mut text, escaped) = match self {
            Self::Plain(text) => (&**text, &[][..]),
            Self::Escaped(pairs) => ("", &pairs[..]),
        };
        // `parse` has seen that each of them can be read and that none has an escape.
        let plain = std::iter::from_fn(move || match next_label(&mut text) {
            Ok(Some((name, Cow::Borrowed(value)))) => Some((name, value)),
            _ => None,
        });
        plain.chain(escaped.iter().map(|(name, value)| (&**name, &**value)))
    }

    fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.pairs().collect();
        pairs.sort_unstable();
        pairs
    }
}

impl Debug for Labels {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.sorted()).finish()
    }
}

/// Reads an exposition; an error if two of its samples have the same name and labels.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>> {
    let all = Rc::from(text);
    let mut seen = Seen::default();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let begin = line.as_ptr().addr() - text.as_ptr().addr();
        let (sample, mark) = parse_line(&all, begin, line, &seen.hasher)
            .with_context(|| format!("reading the sample {line:?}"))?;
        if !seen.marks.insert(mark) {
            expect_new(&samples, &sample)?;
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// Marks of the samples so far: hashes of their names and labels, whatever the order of those.
#[derive(Default)]
struct Seen {
    marks: HashSet<u64>,
    hasher: RandomState,
}

/// Fails if one of `samples` has the name and the labels of `sample`: Prometheus would keep one of them and drop the other.
fn expect_new(samples: &[Sample], sample: &Sample) -> Result<()> {
    let is_same =
        |other: &Sample| *other.name == *sample.name && other.labels.sorted() == sample.labels.sorted();
    ensure!(!samples.iter().any(is_same), "the exposition has this series twice: {sample:?}");
    Ok(())
}

/// The sample of a line that begins there, and the mark of its name and labels.
fn parse_line(all: &Rc<str>, begin: usize, line: &str, hasher: &RandomState) -> Result<(Sample, u64)> {
    let part = |range: Range<usize>| Text { all: all.clone(), part: begin + range.start..begin + range.end };
    let name = line.find(['{', ' ']).context("no value")?;
    let mut mark = hasher.hash_one(&line[..name]);
    let (mut labels, mut rest) = (Labels::Escaped(Vec::new()), &line[name..]);
    if let Some(mut text) = rest.strip_prefix('{') {
        let mut escaped = Vec::new();
        let is_escaped = text.contains('\\');
        while let Some((name, value)) = next_label(&mut text)? {
            mark = mark.wrapping_add(hasher.hash_one((name, &*value)));
            if is_escaped {
                escaped.push((name.to_owned(), value.into_owned()));
            }
        }
        labels = if is_escaped {
            Labels::Escaped(escaped)
        } else {
            Labels::Plain(part(name + 1..line.len() - text.len()))
        };
        rest = text.strip_prefix('}').context("labels without an end")?;
    }
    let value = rest.split_whitespace().next().context("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().context("not a number")?,
    };
    Ok((Sample { name: part(0..name), labels, value }, mark))
}

/// Takes one label from the front of the text; `None` at its end and at a closing brace.
fn next_label<'a>(text: &mut &'a str) -> Result<Option<(&'a str, Cow<'a, str>)>> {
    *text = text.trim_start_matches(',');
    if text.is_empty() || text.starts_with('}') {
        return Ok(None);
    }
    let (name, rest) = text.split_once('=').context("a label without a value")?;
    let (value, rest) = parse_value(rest.strip_prefix('"').context("a value without a quote")?)?;
    *text = rest;
    Ok(Some((name, value)))
}

/// A label's value up to its closing quote, and what follows it.
fn parse_value(text: &str) -> Result<(Cow<'_, str>, &str)> {
    let (plain, rest) = text.split_once('"').context("a label value without an end")?;
    let Some(end) = plain.find('\\') else { return Ok((plain.into(), rest)) };
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
